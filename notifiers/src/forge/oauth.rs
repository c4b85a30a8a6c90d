//! Tokens that are asked for with a key and a secret (OAuth 2, client
//! credentials), and used until shortly before they end.

use crate::Outcome;
use crate::http::client::{Auth, Client, Request, named};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Used no more so long before its end.
const EARLY: Duration = Duration::from_secs(60);

pub struct OAuth {
    url: String,
    key: String,
    secret: String,
    token: Mutex<Option<(String, Instant)>>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default = "hour")]
    expires_in: u64,
}

fn hour() -> u64 {
    3600
}

impl OAuth {
    pub fn new(url: impl Into<String>, key: impl Into<String>, secret: impl Into<String>) -> OAuth {
        OAuth { url: url.into(), key: key.into(), secret: secret.into(), token: Mutex::default() }
    }

    /// A token that is good now; asked for once, whoever waits for it.
    pub(super) async fn token(&self, client: &Client) -> Result<String, Outcome> {
        let mut kept = self.token.lock().await;
        if let Some((token, until)) = kept.as_ref()
            && *until > Instant::now()
        {
            return Ok(token.clone());
        }
        let request = Request {
            url: self.url.clone(),
            auth: Auth::Basic { user: self.key.clone(), password: self.secret.clone() },
            headers: BTreeMap::from([("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())]),
            body: b"grant_type=client_credentials".to_vec(),
            ..Request::default()
        };
        let answer = client.ask_raw(&request).await?;
        let named = named(&self.url);
        if !(200..300).contains(&answer.status) {
            // Without a token nothing gets through, of whatever delivery.
            return Err(match request.masked(answer).judge(&named) {
                Outcome::Refused { why } => {
                    Outcome::Down { why: format!("{why}; check the key and secret of the reporter") }
                }
                outcome => outcome,
            });
        }
        let granted: Granted = serde_json::from_str(&answer.body)
            .map_err(|_| Outcome::Down { why: format!("{named}: the answer holds no access_token") })?;
        let lasts = Duration::from_secs(granted.expires_in.min(86_400)).saturating_sub(EARLY);
        *kept = Some((granted.access_token.clone(), Instant::now() + lasts));
        Ok(granted.access_token)
    }

    /// It was not believed.
    pub(super) async fn forget(&self) {
        *self.token.lock().await = None;
    }
}
