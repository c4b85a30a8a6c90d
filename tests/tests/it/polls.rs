//! Many polls over HTTP against two replicas, replies lost and polls repeated
//! on the other one. The clients are written from docs/protocol.md.

use bytes::BytesMut;
use rand::Rng;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidemill_model::wire::{
    self, BATCH_CONTENT_TYPE, BatchHead, Claim, Event, Frame, Held, Hello, HelloReply, Poll, PollReply,
};
use tidemill_model::{BuilderId, BuildsetId, Results};
use tidemill_schema::requests::requests_insert_bulk;
use tidemill_schema::{run_tx, workers};
use tidemill_tests::{Cluster, invariants, wait_until};

const POLLERS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_built_once_by_fifty_polls_on_two_replicas_with_replies_lost() {
    // Ten thousand with `./check --full`; the same by SQL alone is always run in schema/tests/claims.rs.
    let n = if std::env::var_os("TIDEMILL_TEST_FULL").is_some() { 10_000 } else { 1_000 };
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &crate::project::shell("true")).await;
    let urls = Arc::new([t.master_url(a), t.master_url(b)]);
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..POLLERS {
        let token = workers::worker_enrol(&t.db, &format!("w{i}")).await.unwrap();
        let poller = Poller { name: format!("w{i}"), token, urls: urls.clone(), client: reqwest::Client::new() };
        tasks.spawn(poller.run(done.clone()));
    }
    let builder = BuilderId(sqlx::query_scalar("select id from builders").fetch_one(t.db.pool()).await.unwrap());
    for part in (0..n).step_by(100) {
        let set = sqlx::query_scalar("insert into buildsets (reason) values ('many') returning id")
            .fetch_one(t.db.pool())
            .await
            .unwrap();
        let count = (n - part).min(100);
        run_tx!(t.db, "test", |c| requests_insert_bulk(c, BuildsetId(set), builder, count).await).unwrap();
    }
    wait_until("all requests to be complete", || async {
        let open: i64 = sqlx::query_scalar("select count(*) from build_requests where complete_at is null")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await;
    done.store(true, Ordering::Relaxed);
    let mut built = Vec::new();
    while let Some(claims) = tasks.join_next().await {
        built.extend(claims.unwrap());
    }
    let distinct: HashSet<i64> = built.iter().copied().collect();
    assert_eq!((built.len(), distinct.len()), (n, n), "each request went to one worker, once");
    let builds: i64 = sqlx::query_scalar("select count(*) from builds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(builds, n as i64);
    invariants::check(&t.db).await;
}

struct Poller {
    name: String,
    token: String,
    urls: Arc<[String; 2]>,
    client: reqwest::Client,
}

impl Poller {
    /// Polls and finishes what it gets, until told; returns the requests it built.
    async fn run(self, done: Arc<AtomicBool>) -> Vec<i64> {
        let hello = Hello {
            protocol_min: 1,
            protocol_max: 1,
            name: self.name.clone(),
            instance: self.name.clone(),
            release: "test".into(),
            vocabulary: tidemill_model::wire::VOCABULARY,
            slots: 2,
            info: BTreeMap::new(),
        };
        let reply: HelloReply = self.post(0, "hello", &hello).await.unwrap();
        let mut built = Vec::new();
        let (mut poll, mut newest) = (1, 0);
        while !done.load(Ordering::Relaxed) {
            let body = Poll { session: reply.session, poll, free: 2, newest, held: vec![], wait_us: 300_000 };
            let replica = rand::rng().random_range(0..2);
            // A third of the polls is abandoned: the answer, if there was one, is lost.
            let patience = if rand::rng().random_bool(0.33) { rand::rng().random_range(1..30) } else { 5_000 };
            let answer = tokio::time::timeout(
                Duration::from_millis(patience),
                self.post::<_, PollReply>(replica, "poll", &body),
            )
            .await;
            let Ok(Ok(answer)) = answer else { continue };
            poll += 1;
            let mut held: Vec<Held> = Vec::new();
            for claim in answer.claims.iter().filter(|c| c.build > newest) {
                held.push(Held { build: claim.build, token: claim.token.clone() });
                built.push(claim.request);
                self.finish(reply.session, claim).await;
            }
            newest = answer.claims.iter().map(|c| c.build).max().unwrap_or(newest).max(newest);
        }
        built
    }

    /// One batch with the build's end, sent until it is acknowledged, on either replica.
    async fn finish(&self, session: i64, claim: &Claim) {
        let head = BatchHead { session, build: claim.build, token: claim.token.clone(), batch: 1, sent_at_us: 1 };
        let mut body = BytesMut::new();
        wire::encode_head(&mut body, &head);
        let end = Event::BuildFinished { results: Results::Success, summary: "ok".into(), at_us: 1 };
        wire::encode_frame(&mut body, &Frame::Event(end));
        let body = body.freeze();
        loop {
            let replica = rand::rng().random_range(0..2);
            let patience = if rand::rng().random_bool(0.2) { 2 } else { 5_000 };
            let sent = self
                .client
                .post(format!("{}/worker/v1/batches", self.urls[replica]))
                .bearer_auth(&self.token)
                .header("content-type", BATCH_CONTENT_TYPE)
                .body(body.clone())
                .timeout(Duration::from_millis(patience))
                .send()
                .await;
            if sent.is_ok_and(|r| r.status().is_success()) {
                return;
            }
        }
    }

    async fn post<T: serde::Serialize, R: serde::de::DeserializeOwned>(
        &self,
        replica: usize,
        path: &str,
        body: &T,
    ) -> Result<R, reqwest::Error> {
        let request = self.client.post(format!("{}/worker/v1/{path}", self.urls[replica])).bearer_auth(&self.token);
        request.json(body).send().await?.error_for_status()?.json().await
    }
}
