//! JSON to an address, at each event (RP-12): what Buildbot's HttpStatusPush
//! sends, and unlike there an answer that is no success is tried again.

use super::client::{Client, Request};
use crate::Outcome;
use serde_json::Value;
use std::fmt;

pub struct HttpPush {
    pub client: Client,
    /// All but the body.
    pub to: Request,
}

impl HttpPush {
    /// Sends it with an id by which the receiver knows one that comes twice.
    pub async fn send(&self, id: &str, body: &Value) -> Outcome {
        let mut request = Request { body: body.to_string().into_bytes(), ..self.to.clone() };
        if !request.headers.keys().any(|name| name.eq_ignore_ascii_case("webhook-id")) {
            request.headers.insert("webhook-id".into(), id.to_owned());
        }
        self.client.send(&request).await
    }
}

impl fmt::Debug for HttpPush {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpPush({})", self.to.named())
    }
}
