//! A worker that runs nothing: it takes builds and ends them as its test says.
//! Written from docs/protocol.md alone, so that this page is tested too.

use bytes::BytesMut;
use rand::seq::IndexedRandom;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::Results;
use tidemill_model::wire::{
    self, BATCH_CONTENT_TYPE, BatchHead, Claim, Event, Frame, Hello, HelloReply, Poll, PollReply, VOCABULARY,
};
use tidemill_schema::{Db, workers};

/// An enrolled worker; each of its requests goes to any of the masters.
pub struct PlayedWorker {
    pub name: String,
    token: String,
    masters: Arc<Vec<String>>,
    client: reqwest::Client,
}

impl PlayedWorker {
    pub async fn enrol(db: &Db, name: &str, masters: &Arc<Vec<String>>) -> PlayedWorker {
        let token = workers::worker_enrol(db, name).await.expect("the worker can be enrolled");
        PlayedWorker { name: name.into(), token, masters: masters.clone(), client: reqwest::Client::new() }
    }

    /// Opens a session, at whichever master answers first.
    pub async fn hello(&self, slots: u32) -> i64 {
        let hello = Hello {
            protocol_min: 1,
            protocol_max: 1,
            name: self.name.clone(),
            instance: self.name.clone(),
            release: "test".into(),
            vocabulary: VOCABULARY,
            slots,
            info: BTreeMap::new(),
            labels: Default::default(),
        };
        crate::wait_until("a session", || async { self.post::<_, HelloReply>("hello", &hello).await }).await.session
    }

    /// One try of a poll. None if no answer came while it had patience.
    pub async fn poll(&self, poll: &Poll, patience: Duration) -> Option<PollReply> {
        tokio::time::timeout(patience, self.post("poll", poll)).await.ok()?.ok()
    }

    /// One batch with the build's end, sent until it is acknowledged or refused for good.
    /// Each try waits as long as `patience` says. False if the lease was lost.
    pub async fn finish(
        &self,
        session: i64,
        claim: &Claim,
        results: Results,
        mut patience: impl FnMut() -> Duration,
    ) -> bool {
        let head = BatchHead { session, build: claim.build, token: claim.token.clone(), batch: 1, sent_at_us: 1 };
        let mut body = BytesMut::new();
        wire::encode_head(&mut body, &head);
        wire::encode_frame(
            &mut body,
            &Frame::Event(Event::BuildFinished { results, summary: String::new(), at_us: 1 }),
        );
        let body = body.freeze();
        loop {
            let request = self.request("batches").header("content-type", BATCH_CONTENT_TYPE).body(body.clone());
            match request.timeout(patience()).send().await {
                Ok(answer) if answer.status().is_success() => return true,
                Ok(answer) if answer.status() == reqwest::StatusCode::CONFLICT => return false,
                Ok(answer) if answer.status().is_client_error() => panic!("a batch was refused: {answer:?}"),
                // A master may be dead, or the answer was not waited for.
                _ => tokio::task::yield_now().await,
            }
        }
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        let master = self.masters.choose(&mut rand::rng()).expect("there is a master");
        self.client.post(format!("{master}/worker/v1/{path}")).bearer_auth(&self.token)
    }

    async fn post<T: Serialize, R: DeserializeOwned>(&self, path: &str, body: &T) -> Result<R, String> {
        let answer = self.request(path).json(body).send().await.map_err(|e| e.to_string())?;
        let answer = answer.error_for_status().map_err(|e| e.to_string())?;
        answer.json().await.map_err(|e| e.to_string())
    }
}
