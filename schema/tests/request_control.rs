//! What people do with requests that wait, and why they wait.

mod common;

use common::*;
use std::time::Duration;
use tidemill_model::{BuildId, BuilderId, RequestId, Results, SourceStamp};
use tidemill_schema::cancellers::{Ending, requests_end_all};
use tidemill_schema::config::{Wanted, WantedBuilder};
use tidemill_schema::read::requests::{by_id, one};
use tidemill_schema::read::waiting::{Waiting, Why, waiting};
use tidemill_schema::request_control::*;
use tidemill_schema::requests::{NewBuildset, Submitted, requests_insert_bulk};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

async fn why(t: &TestDb, request: RequestId) -> Vec<Waiting> {
    waiting(&mut t.db.pool().acquire().await.unwrap(), request.0).await.unwrap().expect("the request is there")
}

async fn reasons(t: &TestDb, request: RequestId) -> Vec<Why> {
    why(t, request).await.into_iter().map(|w| w.why).collect()
}

async fn pause(t: &TestDb, paused: bool) -> bool {
    let builder: i64 = scalar(t, "select id from builders where name = 'linux'").await;
    run_tx!(t.db, "test", |c| builder_pause(c, BuilderId(builder), paused, "me").await).unwrap().is_some()
}

async fn prioritize(t: &TestDb, request: RequestId, priority: i32) -> Vec<RequestId> {
    run_tx!(t.db, "test", |c| requests_prioritize(c, &[request], priority).await).unwrap().0
}

async fn submit_on(t: &TestDb, builder: &str, branch: &str) -> Submitted {
    let stamp = SourceStamp { repository: "r".into(), branch: Some(branch.into()), ..SourceStamp::default() };
    let set = NewBuildset { builders: vec![builder.into()], sourcestamps: vec![stamp], ..NewBuildset::default() };
    submit_set(&t.db, &set).await
}

#[tokio::test]
async fn each_reason_to_wait_is_said_in_words_with_what_belongs_to_it() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let first = submit(&t.db, "linux").await.requests[0];
    let second = submit(&t.db, "linux").await.requests[0];
    assert_eq!(reasons(&t, first).await, [Why::NoWorker]);
    let session = worker(&t.db, "w").await;
    assert_eq!(reasons(&t, first).await, [Why::Free]);
    assert_eq!(reasons(&t, second).await, [Why::Free, Why::Queue]);
    assert_eq!(why(&t, second).await[1].text, "1 request of its builder that goes first");
    sql(&t, "update workers set paused = true").await;
    assert_eq!(reasons(&t, first).await, [Why::WorkersPaused]);
    sql(&t, "update workers set paused = false; update worker_sessions set seen_at = tidemill_now() - interval '46 seconds'")
        .await;
    assert_eq!(reasons(&t, first).await, [Why::NoWorker], "it fell silent without a goodbye");
    sql(&t, "update worker_sessions set seen_at = tidemill_now()").await;

    let build = claim(&t.db, session, 1, 1, 0).await.remove(0);
    assert_eq!(reasons(&t, first).await, []);
    sql(&t, "update worker_sessions set slots = 1").await;
    let busy = why(&t, second).await;
    assert_eq!((busy[0].why, busy.len()), (Why::Busy, 1));
    assert_eq!(busy[0].text, "a free worker: the one that may build it is busy");
    finish(&t.db, &build, Results::Success).await;
    sql(&t, "update builds set complete_at = started_at + interval '10 minutes'").await;
    let build = claim(&t.db, session, 2, 1, build.build).await.remove(0);
    let third = submit(&t.db, "linux").await.requests[0];
    let busy = &why(&t, third).await[0];
    assert!(busy.text.ends_with("the next is expected to be free in about 10 min"), "{}", busy.text);
    assert!(busy.facts["seconds"].as_f64().unwrap() > 500.0);

    finish(&t.db, &build, Results::Retry).await;
    let later = &why(&t, second).await[0];
    assert_eq!((later.why, &later.facts["attempt"], &later.facts["of"]), (Why::BackOff, &2.into(), &5.into()));
    assert!(later.text.starts_with("another attempt, after a back-off: number 2 of 5, not before "), "{}", later.text);

    assert!(pause(&t, true).await);
    assert_eq!(reasons(&t, third).await, [Why::Paused]);
    project(&t.db, &["mac"]).await;
    assert_eq!(reasons(&t, third).await, [Why::Inactive, Why::Paused]);
    sql(&t, "update build_requests set collapsed_into = 1 where id = 3").await;
    assert_eq!(reasons(&t, third).await, [Why::Collapsed]);
    let nobody = waiting(&mut t.db.pool().acquire().await.unwrap(), 99).await.unwrap();
    assert!(nobody.is_none());
    t.drop().await;
}

/// One reason more in SQL than in the enum would be an error at the one who asks.
#[test]
fn the_database_and_the_enum_know_the_same_reasons() {
    let sql = include_str!("../migrations/0008_requests.sql");
    let mut said: Vec<&str> = sql.split("'why', '").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    said.sort_unstable();
    said.dedup();
    for why in &said {
        assert!(serde_json::from_value::<Why>((*why).into()).is_ok(), "{why}");
    }
    assert_eq!(said.len(), 14, "{said:?}");
}

#[tokio::test]
async fn at_a_hundred_thousand_pending_a_reason_is_found_by_indexes() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let made = submit(&t.db, "linux").await;
    let builder: i64 = scalar(&t, "select id from builders").await;
    let all = run_tx!(t.db, "test", |c| requests_insert_bulk(c, made.buildset, BuilderId(builder), 100_000).await);
    let last = *all.unwrap().0.last().unwrap();
    worker(&t.db, "w").await;
    for analyzed in [false, true] {
        if analyzed {
            sql(&t, "analyze").await;
        }
        let mut c = t.db.pool().acquire().await.unwrap();
        let read = "select coalesce(sum(seq_tup_read), 0)::bigint from pg_stat_xact_user_tables
                     where relname in ('request_queue', 'build_requests', 'request_waits')";
        let mut tx = sqlx::Acquire::begin(&mut *c).await.unwrap();
        let found = waiting(&mut tx, last.0).await.unwrap().unwrap();
        assert_eq!(found[1].text, "1000 requests or more of its builder that go first");
        let rows: i64 = sqlx::query_scalar(read).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(rows, 0, "no table of requests is walked through");
    }
    t.drop().await;
}

#[tokio::test]
async fn a_paused_builder_keeps_its_requests_and_a_revision_does_not_change_that() {
    let t = TestDb::new().await;
    project(&t.db, &["linux", "mac"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    let other = submit(&t.db, "mac").await.requests[0];
    assert!(pause(&t, true).await);
    assert!(!pause(&t, true).await, "it was so");
    let claims = claim(&t.db, session, 1, 5, 0).await;
    assert_eq!(claims.iter().map(|c| c.request).collect::<Vec<_>>(), [other.0], "the worker goes on with others");
    project(&t.db, &["linux"]).await;
    assert!(claim(&t.db, session, 2, 5, claims[0].build).await.is_empty());
    assert!(pause(&t, false).await);
    assert_eq!(claim(&t.db, session, 3, 5, claims[0].build).await.len(), 1);
    t.drop().await;
}

#[tokio::test]
async fn a_priority_changes_while_a_request_waits_and_not_after() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let first = submit(&t.db, "linux").await.requests[0];
    let second = submit(&t.db, "linux").await.requests[0];
    assert_eq!(prioritize(&t, second, 7).await, [second]);
    let build = claim(&t.db, session, 1, 1, 0).await.remove(0);
    assert_eq!(build.request, second.0, "the higher priority goes first");
    assert_eq!(prioritize(&t, second, 9).await, [], "it has begun");
    // Its next attempt waits at the priority that it has.
    finish(&t.db, &build, Results::Retry).await;
    assert_eq!(prioritize(&t, second, -1).await, [second]);
    sql(&t, "update request_waits set until = tidemill_now()").await;
    run_tx!(t.db, "test", |c| tidemill_schema::requests::waits_release(c).await).unwrap();
    let builds = claim(&t.db, session, 2, 1, build.build).await;
    assert_eq!(builds[0].request, first.0);
    let priority: i32 = scalar(&t, "select priority from build_requests where id = 2").await;
    assert_eq!(priority, -1);
    t.drop().await;
}

#[tokio::test]
async fn all_of_a_branch_are_cancelled_the_waiting_at_once_and_the_running_by_their_workers() {
    let t = TestDb::new().await;
    project(&t.db, &["linux", "mac"]).await;
    let session = worker(&t.db, "w").await;
    let runs = submit_on(&t, "linux", "topic").await.requests[0];
    let build = claim(&t.db, session, 1, 1, 0).await.remove(0);
    let waits = submit_on(&t, "linux", "topic").await;
    let other = submit_on(&t, "linux", "main").await.requests[0];
    let mac = submit_on(&t, "mac", "topic").await.requests[0];
    let linux: i64 = scalar(&t, "select id from builders where name = 'linux'").await;
    let all = async |selection: &Selection| {
        cancel_all(&t.db, selection, false, "superseded", Duration::from_secs(60)).await.unwrap()
    };
    let nothing = all(&Selection::default()).await;
    assert_eq!((nothing.requests, nothing.builds.len()), (0, 0), "who says nothing means nothing");
    let selection = Selection { branch: Some("topic".into()), builders: vec![linux], ..Selection::default() };
    let done = all(&selection).await;
    assert_eq!((done.requests, done.builds, done.more), (1, vec![BuildId(build.build)], false));
    let again = all(&selection).await;
    assert_eq!(again.requests, 0);
    let ended = one(&mut t.db.pool().acquire().await.unwrap(), &[by_id(waits.requests[0].0)]).await.unwrap().unwrap();
    assert_eq!((ended.results, ended.complete_reason.as_deref()), (Some(Results::Cancelled), Some("superseded")));
    finish(&t.db, &build, Results::Success).await;
    let left: Vec<i64> = sqlx::query_scalar("select id from build_requests where complete_at is null order by id")
        .fetch_all(t.db.pool())
        .await
        .unwrap();
    assert_eq!(left, [other.0, mac.0]);
    assert_eq!(runs.0, 1);
    let done = all(&Selection { buildsets: vec![4], ..Selection::default() }).await;
    assert_eq!(done.requests, 1);
    let done = all(&Selection { all: true, ..Selection::default() }).await;
    assert_eq!(done.requests, 1);
    t.drop().await;
}

#[tokio::test]
async fn a_cancel_of_thousands_goes_in_batches_and_completes_their_buildsets() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let made = submit_on(&t, "linux", "topic").await;
    let builder: i64 = scalar(&t, "select id from builders").await;
    run_tx!(t.db, "test", |c| requests_insert_bulk(c, made.buildset, BuilderId(builder), 12_000).await).unwrap();
    let selection = Selection { branch: Some("topic".into()), ..Selection::default() };
    let begun = cancel_all(&t.db, &selection, false, "x", Duration::ZERO).await.unwrap();
    assert!(begun.more && begun.requests == 0, "no time, nothing done, and said so");
    let done = cancel_all(&t.db, &selection, false, "x", Duration::from_secs(600)).await.unwrap();
    assert_eq!((done.requests, done.more), (12_001, false));
    let open: i64 = scalar(&t, "select count(*) from buildsets where complete_at is null").await;
    assert_eq!(open, 0);
    t.drop().await;
}

#[tokio::test]
async fn a_request_that_no_worker_can_serve_ends_after_its_time_and_says_why() {
    let t = TestDb::new().await;
    let builder = WantedBuilder {
        name: "linux".into(),
        workernames: vec!["w1".into(), "w2".into()],
        expires_after: Some(Duration::from_secs(3600)),
        ..WantedBuilder::default()
    };
    activate(&t.db, &Wanted { builders: vec![builder], ..Wanted::default() }).await;
    let request = submit(&t.db, "linux").await.requests[0];
    let expire = async || run_tx!(t.db, "test", |c| requests_expire(c).await).unwrap();
    sql(&t, "insert into masters (name, release) values ('m', '1');
             insert into beats (master_id, at, resumed_at) values (1, tidemill_now(), tidemill_now() - interval '2 hours')").await;
    assert_eq!(expire().await, 0, "its time is not over");
    sql(&t, "update build_requests set submitted_at = submitted_at - interval '61 minutes'").await;
    worker(&t.db, "w2").await;
    assert_eq!(expire().await, 0, "one is there");
    sql(&t, "update worker_sessions set state = 'closed', seen_at = seen_at - interval '59 minutes'").await;
    assert_eq!(expire().await, 0, "one was there");
    sql(&t, "update worker_sessions set seen_at = seen_at - interval '59 minutes'").await;
    sql(&t, "update beats set resumed_at = tidemill_now()").await;
    assert_eq!(expire().await, 0, "no master could have heard one");
    sql(&t, "update beats set resumed_at = tidemill_now() - interval '2 hours'").await;
    assert_eq!(expire().await, 1);
    let ended = one(&mut t.db.pool().acquire().await.unwrap(), &[by_id(request.0)]).await.unwrap().unwrap();
    assert_eq!(ended.results, Some(Results::Exception));
    let reason = "no worker that may build it (w1, w2) was connected for 60 min";
    assert_eq!(ended.complete_reason.as_deref(), Some(reason));
    t.drop().await;
}

#[tokio::test]
async fn asked_again_with_the_same_key_the_first_buildset_is_the_answer() {
    let t = TestDb::new().await;
    project(&t.db, &["linux", "mac"]).await;
    let set = NewBuildset {
        builders: vec!["linux".into(), "mac".into()],
        dedupe_key: Some("nightly 2026-11-23".into()),
        ..NewBuildset::default()
    };
    let first = submit_set(&t.db, &set).await;
    let again = submit_set(&t.db, &set).await;
    assert_eq!((again.buildset, &again.requests), (first.buildset, &first.requests));
    assert!(again.lanes.is_empty());
    assert_eq!(scalar::<i64>(&t, "select count(*) from build_requests").await, 2);
    let other = submit_set(&t.db, &NewBuildset { dedupe_key: Some("other".into()), ..set }).await;
    assert_ne!(other.buildset, first.buildset);
    t.drop().await;
}

/// Ingest holds leases when it comes to buildsets: who ends several requests for several reasons must not hold a
/// buildset when it comes to a lease.
#[tokio::test]
async fn a_cancel_for_several_reasons_locks_every_lease_before_the_first_buildset() {
    let t = TestDb::new().await;
    project(&t.db, &["linux", "mac"]).await;
    let session = worker(&t.db, "w").await;
    let names = ["linux", "mac"].map(String::from).to_vec();
    let made = submit_set(&t.db, &NewBuildset { builders: names, ..NewBuildset::default() }).await;
    let build = claim(&t.db, session, 1, 1, 0).await.remove(0);
    assert_eq!(build.request, made.requests[0].0);
    let endings = [(made.requests[1], "one"), (made.requests[0], "other")]
        .map(|(request, reason)| Ending { requests: vec![request], reason: reason.into() });
    let mut ingest = t.db.pool().begin().await.unwrap();
    sqlx::query("select from leases for update").execute(&mut *ingest).await.unwrap();
    let ending = {
        let db = t.db.clone();
        tokio::spawn(async move { run_tx!(db, "test", |c| requests_end_all(c, &endings).await) })
    };
    waits_for_a_lock(&t).await;
    sqlx::query("select from buildsets for update nowait").execute(&mut *ingest).await.expect("nobody holds it");
    ingest.commit().await.unwrap();
    assert_eq!(ending.await.unwrap().unwrap(), [BuildId(build.build)]);
    let why: Vec<String> = sqlx::query_scalar(
        "select complete_reason from build_requests where complete_at is not null
          union all select stop_reason from builds",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    assert_eq!(why, ["one", "other"]);
    t.drop().await;
}
