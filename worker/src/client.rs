//! Calls to a master over HTTP.
//!
//! Every call may be repeated without harm, on the same replica or another, so
//! callers try again after any [`CallError`] that is not an answer they must
//! obey. Nothing here waits or repeats by itself.

use crate::heard::{Heard, heard};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tidemill_model::problem::Problem;
use tidemill_model::wire::{
    BATCH_CONTENT_TYPE, BatchReply, Goodbye, Hello, HelloReply, LocksAsk, LocksReply, PatchRequest, Poll,
    RevisionReply, SecretReply, SecretRequest, TriggerCall, TriggerReply, TriggerState, TriggerWatch,
};

/// Most bytes read of an answer: a project's files are the largest.
const ANSWER_MAX: usize = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// A master answered, and said no.
    #[error("{0}")]
    Problem(Problem),
    /// No master answered, or not in the protocol.
    #[error("{0}")]
    Transport(String),
}

impl CallError {
    /// The stable name of the problem, if a master answered with one.
    pub fn kind(&self) -> Option<&str> {
        match self {
            CallError::Problem(p) => Some(&p.kind),
            CallError::Transport(_) => None,
        }
    }
}

pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub fn new(master: &str, token: &str) -> Result<Client, CallError> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| CallError::Transport("the worker's token holds characters that no token has".into()))?;
        bearer.set_sensitive(true);
        let mut builder = reqwest::Client::builder()
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .user_agent(concat!("tidemill-worker/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10))
            // Below the idle time-out of common load balancers, so that it is us who closes.
            .pool_idle_timeout(Duration::from_secs(25))
            .redirect(reqwest::redirect::Policy::none())
            .http1_only();
        if master.starts_with("http://") {
            // No need for the machine to have root certificates.
            builder = builder.tls_certs_only([]);
        }
        if is_this_machine(master) {
            // A proxy is never the way to where we are.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| CallError::Transport(text_of(&e)))?;
        Ok(Client { http, base: master.trim_end_matches('/').to_owned() })
    }

    pub async fn hello(&self, hello: &Hello) -> Result<HelloReply, CallError> {
        self.post_json("/worker/v1/hello", hello, Duration::from_secs(30)).await
    }

    pub async fn goodbye(&self, goodbye: &Goodbye, patience: Duration) -> Result<(), CallError> {
        self.post_json::<_, serde_json::Value>("/worker/v1/goodbye", goodbye, patience).await.map(|_| ())
    }

    /// Waits as long as the poll says, and some more for the network.
    pub async fn poll(&self, poll: &Poll) -> Result<Heard, CallError> {
        let patience = Duration::from_micros(poll.wait_us) + Duration::from_secs(15);
        let request = self.http.post(self.url("/worker/v1/poll")).json(poll).timeout(patience);
        heard(&body(request).await?).map_err(not_ours)
    }

    /// Waits as long as it says, and some more for the network.
    pub async fn locks(&self, ask: &LocksAsk) -> Result<LocksReply, CallError> {
        let patience = Duration::from_micros(ask.wait_us) + Duration::from_secs(15);
        self.post_json("/worker/v1/locks", ask, patience).await
    }

    pub async fn batch(&self, body: Bytes) -> Result<BatchReply, CallError> {
        // A batch is fixed once it was sent, so even the slowest line must be able to carry it.
        let patience = Duration::from_secs(30 + body.len() as u64 / (16 << 10));
        let request = self.http.post(self.url("/worker/v1/batches")).header(CONTENT_TYPE, BATCH_CONTENT_TYPE);
        answer(request.timeout(patience).body(body)).await
    }

    /// Starts other builds.
    pub async fn trigger(&self, call: &TriggerCall) -> Result<TriggerReply, CallError> {
        self.post_json("/worker/v1/triggers", call, Duration::from_secs(60)).await
    }

    /// Waits for them as long as the watch says, and some more for the network.
    pub async fn trigger_wait(&self, watch: &TriggerWatch) -> Result<TriggerState, CallError> {
        let patience = Duration::from_micros(watch.wait_us) + Duration::from_secs(15);
        self.post_json("/worker/v1/triggers/wait", watch, patience).await
    }

    pub async fn revision(&self, hash: &str) -> Result<RevisionReply, CallError> {
        let mut url = url::Url::parse(&self.base).map_err(|e| CallError::Transport(e.to_string()))?;
        url.path_segments_mut()
            .map_err(|_| CallError::Transport("the master's address cannot hold a path".into()))?
            .pop_if_empty()
            .extend(["worker", "v1", "revisions", hash]);
        answer(self.http.get(url).timeout(Duration::from_secs(60))).await
    }

    /// The body of a patch.
    pub async fn patch(&self, wanted: &PatchRequest) -> Result<Vec<u8>, CallError> {
        let request = self.http.post(self.url("/worker/v1/patch")).json(wanted);
        body(request.timeout(Duration::from_secs(300))).await
    }

    /// The value of a secret.
    pub async fn secret(&self, wanted: &SecretRequest) -> Result<SecretReply, CallError> {
        self.post_json("/worker/v1/secret", wanted, Duration::from_secs(30)).await
    }

    async fn post_json<T: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &T,
        patience: Duration,
    ) -> Result<R, CallError> {
        answer(self.http.post(self.url(path)).json(body).timeout(patience)).await
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

fn is_this_machine(master: &str) -> bool {
    match url::Url::parse(master).as_ref().map(url::Url::host) {
        Ok(Some(url::Host::Ipv4(address))) => address.is_loopback(),
        Ok(Some(url::Host::Ipv6(address))) => address.is_loopback(),
        Ok(Some(url::Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

async fn answer<R: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<R, CallError> {
    serde_json::from_slice(&body(request).await?).map_err(not_ours)
}

fn not_ours(error: serde_json::Error) -> CallError {
    CallError::Transport(format!("the answer is not of this protocol: {error}"))
}

/// The body of an answer of success.
async fn body(request: reqwest::RequestBuilder) -> Result<Vec<u8>, CallError> {
    let failed = |e: reqwest::Error| CallError::Transport(text_of(&e));
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(failed)? {
        if body.len() + part.len() > ANSWER_MAX {
            return Err(CallError::Transport(format!("the answer is longer than {ANSWER_MAX} bytes")));
        }
        body.extend_from_slice(&part);
    }
    if status.is_success() {
        return Ok(body);
    }
    // A proxy in between answers with pages of its own; those are never obeyed.
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(CallError::Problem(problem)),
        Err(_) => Err(CallError::Transport(format!("the answer is HTTP {status} without a reason"))),
    }
}

/// The whole chain of causes: the first alone says only «error sending request».
fn text_of(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(c) = cause {
        let part = c.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = c.source();
    }
    text
}
