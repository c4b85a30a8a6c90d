//! Many polls over HTTP against two replicas, replies lost and polls repeated
//! on the other one.

use rand::Rng;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidemill_model::wire::Poll;
use tidemill_model::{BuilderId, BuildsetId, Results};
use tidemill_schema::requests::requests_insert_bulk;
use tidemill_schema::run_tx;
use tidemill_tests::{Cluster, PlayedWorker, invariants, wait_until};

const POLLERS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_built_once_by_fifty_polls_on_two_replicas_with_replies_lost() {
    // Ten thousand with `./check --full`; the same by SQL alone is always run in schema/tests/claims.rs.
    let n = if std::env::var_os("TIDEMILL_TEST_FULL").is_some() { 10_000 } else { 1_000 };
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &crate::project::shell("true")).await;
    let urls = Arc::new(vec![t.master_url(a), t.master_url(b)]);
    let done = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..POLLERS {
        let worker = PlayedWorker::enrol(&t.db, &format!("w{i}"), &urls).await;
        tasks.spawn(play(worker, done.clone()));
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

/// Polls and finishes what it gets, until told; returns the requests it built.
async fn play(worker: PlayedWorker, done: Arc<AtomicBool>) -> Vec<i64> {
    let session = worker.hello(2).await;
    let mut built = Vec::new();
    let (mut number, mut newest) = (1, 0);
    while !done.load(Ordering::Relaxed) {
        let poll = Poll { session, poll: number, free: 2, newest, held: vec![], wait_us: 300_000 };
        // A third of the polls is abandoned: the answer, if there was one, is lost.
        let patience = if rand::rng().random_bool(0.33) { rand::rng().random_range(1..30) } else { 5_000 };
        let Some(answer) = worker.poll(&poll, Duration::from_millis(patience)).await else { continue };
        number += 1;
        for claim in answer.claims.iter().filter(|c| c.build > newest) {
            built.push(claim.request);
            let patience = || Duration::from_millis(if rand::rng().random_bool(0.2) { 2 } else { 5_000 });
            worker.finish(session, claim, Results::Success, patience).await;
        }
        newest = answer.claims.iter().map(|c| c.build).max().unwrap_or(newest).max(newest);
    }
    built
}
