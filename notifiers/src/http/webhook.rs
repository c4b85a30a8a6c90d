//! Signed JSON, by the rules of Standard Webhooks: a receiver proves with a
//! shared secret that a document is ours, unchanged and fresh, and knows a
//! repeated one by its id. docs/webhooks.md says how to check it.

use super::client::{Client, Request};
use crate::Outcome;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::Value;
use time::OffsetDateTime;

/// Bytes of a key; the rules' own bounds.
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret shared with a receiver.
pub struct Secret(hmac::Key);

impl Secret {
    /// `whsec_` and base64.
    ///
    /// # Errors
    /// If it is none; how to make one.
    pub fn parse(text: &str) -> Result<Secret, String> {
        let remedy = "a secret is `whsec_` and base64 of 24 to 64 random bytes: \
                      echo whsec_$(head -c 32 /dev/urandom | base64)";
        let coded = text.trim();
        let coded = coded.strip_prefix("whsec_").unwrap_or(coded);
        let key =
            BASE64_STANDARD.decode(coded).map_err(|_| format!("the secret of the webhook is no base64; {remedy}"))?;
        if !KEY.contains(&key.len()) {
            return Err(format!("the secret of the webhook has {} bytes; {remedy}", key.len()));
        }
        Ok(Secret(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }
}

/// The signature of a document, `v1,BASE64`.
pub fn sign(secret: &Secret, id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut signed = hmac::Context::with_key(&secret.0);
    signed.update(format!("{id}.{timestamp}.").as_bytes());
    signed.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
}

pub struct Webhook {
    pub client: Client,
    /// All but the body.
    pub to: Request,
    /// While one replaces another there are two, and each signs. Without any nothing is signed.
    pub secrets: Vec<Secret>,
}

impl Webhook {
    /// Sends it under an id that stays the same however often it is sent; the
    /// time is that of this sending, by which a receiver refuses old ones.
    pub async fn send(&self, id: &str, at: OffsetDateTime, body: &Value) -> Outcome {
        let Some(request) = self.request(id, at, body) else {
            return Outcome::Refused { why: "the delivery has no id of plain words".into() };
        };
        self.client.send(&request).await
    }

    fn request(&self, id: &str, at: OffsetDateTime, body: &Value) -> Option<Request> {
        let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if !plain {
            return None;
        }
        let body = body.to_string().into_bytes();
        let timestamp = at.unix_timestamp();
        let signatures: Vec<String> = self.secrets.iter().map(|s| sign(s, id, timestamp, &body)).collect();
        let mut headers = self.to.headers.clone();
        headers.retain(|name, _| !name.to_ascii_lowercase().starts_with("webhook-"));
        headers.insert("webhook-id".into(), id.to_owned());
        headers.insert("webhook-timestamp".into(), timestamp.to_string());
        if !signatures.is_empty() {
            headers.insert("webhook-signature".into(), signatures.join(" "));
        }
        Some(Request { headers, body, ..self.to.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_published_example() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_weak_or_broken_secret_is_refused_with_the_way_to_make_one() {
        for wrong in ["", "whsec_", "geheim!", "whsec_Z2VoZWlt"] {
            let why = Secret::parse(wrong).err().unwrap();
            assert!(why.contains("/dev/urandom") && !why.contains("geheim"), "{why}");
        }
    }
}
