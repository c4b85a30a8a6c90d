//! JSON to an address, at each event (RP-12): what Buildbot's HttpStatusPush
//! sends, and unlike there an answer that is no success is tried again.

use super::client::{Auth, Client, Request};
use crate::Outcome;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

pub struct HttpPush {
    pub client: Client,
    pub url: String,
    pub auth: Auth,
    pub headers: BTreeMap<String, String>,
}

impl HttpPush {
    pub async fn send(&self, body: &Value) -> Outcome {
        let request = Request {
            url: self.url.clone(),
            auth: self.auth.clone(),
            headers: self.headers.clone(),
            body: body.to_string().into_bytes(),
        };
        self.client.send(&request).await
    }
}

impl fmt::Debug for HttpPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpPush({})", super::client::named(&self.url))
    }
}
