//! What leases, ingest and finish promise.

mod common;
use common::*;
use tidemill_model::Results::{self, *};
use tidemill_model::log::{Channel, ChunkWriter};
use tidemill_model::wire::{Claim, Event, Frame, Held, LogKind};
use tidemill_model::{BuildId, LogId};
use tidemill_schema::ingest::{Batch, Outcome, batches_store};
use tidemill_schema::leases::{leases_expired, leases_renew};
use tidemill_schema::log_chunks::{chunk_of_line, chunks_from_byte};
use tidemill_schema::requests::{NewBuildset, requests_cancel, waits_release};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;
use tidemill_schema::{beats, builds};

async fn claimed(t: &TestDb) -> Claim {
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    claim(&t.db, session, 1, 1, 0).await.remove(0)
}

/// Moves the database's clock forward.
async fn later(t: &TestDb, seconds: i64) {
    let sql = format!(
        "create or replace function tidemill_now() returns timestamptz language sql volatile
         as $$ select clock_timestamp() + interval '{seconds} seconds' $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(t.db.pool()).await.unwrap();
}

/// Beats as a replica would while `seconds` pass on the moved clock.
async fn beating(t: &TestDb, from: i64, to: i64) {
    let mut c = t.db.pool().acquire().await.unwrap();
    let master = beats::master_insert(&mut c, "m", "").await.unwrap();
    for s in (from..=to).step_by(2) {
        later(t, s).await;
        beats::beat(&mut c, master).await.unwrap();
    }
}

async fn reap(t: &TestDb) -> usize {
    run_tx!(t.db, "test", |c| {
        let expired = leases_expired(c, TERM, 100).await?;
        builds::builds_lost(c, &expired).await.map(|_| expired.len())
    })
    .unwrap()
}

#[tokio::test]
async fn a_finished_build_completes_its_request_and_the_buildset_with_the_worst_result() {
    let t = TestDb::new().await;
    project(&t.db, &["a", "b", "c"]).await;
    let session = worker(&t.db, "w").await;
    let names = ["a", "b", "c"].map(String::from).to_vec();
    submit_set(&t.db, &NewBuildset { builders: names, ..NewBuildset::default() }).await;
    let claims = claim(&t.db, session, 1, 3, 0).await;
    for (c, results) in claims.iter().zip([Warnings, Failure, Success]) {
        assert!(scalar::<bool>(&t, "select complete_at is null from buildsets").await);
        assert_eq!(finish(&t.db, c, results).await, Outcome::Stored { stop: None });
    }
    assert_eq!(scalar::<i16>(&t, "select results from buildsets").await, Failure.code());
    assert_eq!(scalar::<i64>(&t, "select count(*) from leases").await, 0);
    t.drop().await;
}

#[tokio::test]
async fn the_last_two_builds_of_a_buildset_finished_at_once_complete_it() {
    let t = TestDb::new().await;
    project(&t.db, &["a", "b"]).await;
    let session = worker(&t.db, "w").await;
    for round in 0..20 {
        let names = ["a", "b"].map(String::from).to_vec();
        submit_set(&t.db, &NewBuildset { builders: names, ..NewBuildset::default() }).await;
        let claims = claim(&t.db, session, round + 1, 2, i64::MAX - 1).await;
        let (x, y) = tokio::join!(finish(&t.db, &claims[0], Success), finish(&t.db, &claims[1], Success));
        assert_eq!((x, y), (Outcome::Stored { stop: None }, Outcome::Stored { stop: None }));
    }
    assert_eq!(scalar::<i64>(&t, "select count(*) from buildsets where complete_at is null").await, 0);
    t.drop().await;
}

#[tokio::test]
async fn a_batch_sent_twice_counts_once_and_so_does_the_last_one() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let first = batch(
        &c,
        1,
        vec![
            Event::StepStarted { step: 1, name: "make".into(), at_us: 0 },
            Event::PropertySet { name: "x".into(), value: 1.into(), source: "make".into() },
        ],
    );
    for _ in 0..2 {
        assert_eq!(store(&t.db, first.clone()).await, Outcome::Stored { stop: None });
    }
    assert_eq!(scalar::<i64>(&t, "select count(*) from steps").await, 1);
    let last = batch(
        &c,
        2,
        vec![
            Event::StepFinished {
                step: 1,
                results: Success,
                summary: "ok".into(),
                hidden: false,
                lock_wait_us: None,
                at_us: 1_000,
            },
            finished(Success),
        ],
    );
    for _ in 0..3 {
        assert_eq!(store(&t.db, last.clone()).await, Outcome::Stored { stop: None });
    }
    assert_eq!(scalar::<i64>(&t, "select count(*) from events where kind = 'builds.finished'").await, 1);
    assert_eq!(scalar::<i16>(&t, "select results from steps").await, Success.code());
    t.drop().await;
}

#[tokio::test]
async fn a_lost_lease_refuses_its_writer_and_never_fails_the_others_of_a_group() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    submit(&t.db, "linux").await;
    let claims = claim(&t.db, session, 1, 2, 0).await;
    let mut stolen = batch(&claims[0], 1, vec![finished(Failure)]);
    stolen.head.token = "wrong".into();
    let good = batch(&claims[1], 1, vec![finished(Success)]);
    let report = batches_store(&t.db, &[stolen, good]).await.unwrap();
    assert_eq!(report.outcomes, [Outcome::LeaseLost, Outcome::Stored { stop: None }]);
    assert_eq!(scalar::<i64>(&t, "select count(*) from builds where state = 'finished'").await, 1);
    t.drop().await;
}

#[tokio::test]
async fn a_silent_worker_loses_the_build_which_is_tried_again_and_then_its_writes_are_refused() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    store(&t.db, batch(&c, 1, vec![Event::StepStarted { step: 1, name: "make".into(), at_us: 0 }])).await;
    beating(&t, 0, 62).await;
    assert_eq!(reap(&t).await, 1);
    assert_eq!(scalar::<i16>(&t, "select results from builds").await, Retry.code());
    assert_eq!(scalar::<i16>(&t, "select results from steps").await, Retry.code());
    assert_eq!(finish(&t.db, &c, Success).await, Outcome::LeaseLost);
    assert!(scalar::<bool>(&t, "select complete_at is null from build_requests").await);
    // After the back-off the request waits again, as its second attempt.
    later(&t, 70).await;
    run_tx!(t.db, "test", |c| waits_release(c).await).unwrap();
    let session = worker(&t.db, "w2").await;
    let again = claim(&t.db, session, 1, 1, 0).await.remove(0);
    assert_eq!((again.request, again.attempt, again.number), (c.request, 2, 2));
    t.drop().await;
}

#[tokio::test]
async fn a_build_that_was_never_taken_up_is_tried_again_without_counting_an_attempt() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    beating(&t, 0, 62).await;
    assert_eq!(reap(&t).await, 1);
    run_tx!(t.db, "test", |c| waits_release(c).await).unwrap();
    let session = worker(&t.db, "w2").await;
    let again = claim(&t.db, session, 1, 1, 0).await.remove(0);
    assert_eq!((again.request, again.attempt), (c.request, 1));
    t.drop().await;
}

#[tokio::test]
async fn nothing_is_reaped_until_a_full_term_after_an_outage() {
    let t = TestDb::new().await;
    claimed(&t).await;
    beating(&t, 0, 10).await;
    // Nobody beat for an hour: every lease is past its time, and nobody's fault.
    beating(&t, 3600, 3650).await;
    assert_eq!(reap(&t).await, 0);
    beating(&t, 3652, 3664).await;
    assert_eq!(reap(&t).await, 1);
    t.drop().await;
}

#[tokio::test]
async fn a_renewed_lease_stands_and_a_wrong_token_renews_nothing() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    beating(&t, 0, 50).await;
    let mut conn = t.db.pool().acquire().await.unwrap();
    let held = |token: &str| vec![Held { build: c.build, token: token.into() }];
    assert!(leases_renew(&mut conn, &held("wrong"), TERM).await.unwrap().alive.is_empty());
    assert!(leases_renew(&mut conn, &held(&c.token), TERM).await.unwrap().alive.contains(&c.build));
    drop(conn);
    beating(&t, 52, 90).await;
    assert_eq!(reap(&t).await, 0);
    t.drop().await;
}

#[tokio::test]
async fn a_request_is_given_up_with_exception_after_its_last_attempt() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    sql(&t, "update builders set max_attempts = 2").await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    let first = claim(&t.db, session, 1, 1, 0).await.remove(0);
    finish(&t.db, &first, Retry).await;
    sql(&t, "update request_waits set until = '-infinity'").await;
    run_tx!(t.db, "test", |c| waits_release(c).await).unwrap();
    let second = claim(&t.db, session, 2, 1, first.build).await.remove(0);
    assert_eq!(second.attempt, 2);
    finish(&t.db, &second, Retry).await;
    assert_eq!(scalar::<i16>(&t, "select results from build_requests").await, Exception.code());
    assert_eq!(scalar::<i16>(&t, "select results from buildsets").await, Exception.code());
    t.drop().await;
}

#[tokio::test]
async fn a_wish_to_stop_comes_with_the_next_answer_and_the_first_reason_stays() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let mut conn = t.db.pool().acquire().await.unwrap();
    assert!(builds::build_stop(&mut conn, BuildId(c.build), "mine", Cancelled).await.unwrap());
    assert!(builds::build_stop(&mut conn, BuildId(c.build), "later", Cancelled).await.unwrap());
    let Outcome::Stored { stop: Some(stop) } = store(&t.db, batch(&c, 1, vec![])).await else { panic!("no stop") };
    assert_eq!((stop.reason.as_str(), stop.results), ("mine", Cancelled));
    let held = [Held { build: c.build, token: c.token.clone() }];
    assert_eq!(leases_renew(&mut conn, &held, TERM).await.unwrap().stop[&c.build].reason, "mine");
    assert_eq!(scalar::<i64>(&t, "select count(*) from events where kind = 'builds.stop'").await, 1, "told once");
    finish(&t.db, &c, Success).await;
    assert!(!builds::build_stop(&mut conn, BuildId(c.build), "late", Cancelled).await.unwrap(), "it is over");
    drop(conn);
    t.drop().await;
}

#[tokio::test]
async fn a_pending_request_is_cancelled_and_a_claimed_one_is_not() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let pending = submit(&t.db, "linux").await.requests[0];
    let both = [pending, tidemill_model::RequestId(c.request)];
    let done = run_tx!(t.db, "test", |conn| requests_cancel(conn, &both, "no need").await).unwrap();
    assert_eq!(done, [pending]);
    assert_eq!(
        scalar::<i16>(&t, "select results from build_requests where complete_at is not null").await,
        Cancelled.code()
    );
    t.drop().await;
}

fn log_batches(c: &Claim, parts: &[&[u8]]) -> (Vec<Batch>, u64) {
    let mut writer = ChunkWriter::new();
    let mut frames = vec![
        Frame::Event(Event::StepStarted { step: 1, name: "s".into(), at_us: 0 }),
        Frame::Event(Event::LogOpened {
            log: 1,
            step: 1,
            name: "stdio".into(),
            slug: "stdio".into(),
            kind: LogKind::Stdio,
        }),
    ];
    for part in parts {
        writer.write(Channel::Stdout, part, |chunk| frames.push(Frame::Log { log: 1, chunk }));
        frames.extend(writer.cut().map(|chunk| Frame::Log { log: 1, chunk }));
    }
    frames.push(Frame::Event(Event::LogFinished { log: 1, sum: writer.sum() }));
    let total = writer.sum().bytes;
    let mut b = batch(c, 1, vec![]);
    b.frames = frames;
    (vec![b], total)
}

#[tokio::test]
async fn a_log_is_whole_when_its_totals_agree_and_marked_when_they_do_not() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let (mut batches, total) = log_batches(&c, &[b"one\ntwo\n", b"three\n\xff\0\n"]);
    // The same batch with its second chunk lost on the way to the rows.
    let frames = &mut batches[0].frames;
    let chunk = frames.remove(3);
    store(&t.db, batches[0].clone()).await;
    assert!(scalar::<bool>(&t, "select complete and incomplete from logs").await);
    sql(&t, "update logs set complete = false, incomplete = false").await;
    batches[0].frames.insert(3, chunk);
    batches[0].head.batch = 2;
    store(&t.db, batches[0].clone()).await;
    assert!(scalar::<bool>(&t, "select complete and not incomplete from logs").await);
    assert_eq!(scalar::<i64>(&t, "select bytes from logs").await, total as i64);
    assert_eq!(scalar::<i64>(&t, "select lines from logs").await, 4);
    t.drop().await;
}

#[tokio::test]
async fn any_byte_and_any_line_of_a_log_is_found() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let lines: Vec<String> = (0..3_000).map(|i| format!("line {i} {}\n", "x".repeat(i % 90))).collect();
    let parts: Vec<Vec<u8>> = lines.chunks(37).map(|l| l.concat().into_bytes()).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let (batches, total) = log_batches(&c, &slices);
    store(&t.db, batches[0].clone()).await;
    let mut conn = t.db.pool().acquire().await.unwrap();
    let log = LogId(scalar(&t, "select id from logs").await);
    for from in [0, 1, 1000, total as i64 / 2, total as i64 - 1] {
        let got = chunks_from_byte(&mut conn, log, from, 1).await.unwrap();
        let chunk = &got[0];
        assert!(chunk.first_byte <= from && from < chunk.first_byte + chunk.bytes as i64, "{from}");
    }
    assert!(chunks_from_byte(&mut conn, log, total as i64, 1).await.unwrap().is_empty());
    for line in [0, 1, 36, 37, 38, 1500, 2999] {
        let at = chunk_of_line(&mut conn, log, line).await.unwrap();
        let chunk = &chunks_from_byte(&mut conn, log, at, 1).await.unwrap()[0];
        let range = chunk.first_line..=chunk.first_line + chunk.lines as i64;
        assert!(range.contains(&line), "line {line} in {range:?}");
    }
    drop(conn);
    t.drop().await;
}

#[tokio::test]
async fn another_process_may_not_take_a_live_workers_name_but_the_same_instance_may_restart() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let first = worker_instance(&t.db, "w", "one").await.unwrap();
    let error = worker_instance(&t.db, "w", "two").await.unwrap_err();
    assert!(error.to_string().contains("in use by another live process"), "{error}");
    let second = worker_instance(&t.db, "w", "one").await.unwrap();
    assert_ne!(first, second);
    submit(&t.db, "linux").await;
    assert!(claim(&t.db, first, 1, 1, 0).await.is_empty(), "a superseded session gets nothing");
    later(&t, 61).await;
    worker_instance(&t.db, "w", "two").await.unwrap();
    t.drop().await;
}

#[tokio::test]
async fn hostile_text_is_stored_as_data() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let nasty = "'; drop table builds; --\0<script>\u{202e}";
    let events = vec![
        Event::StepStarted { step: 1, name: nasty.into(), at_us: 0 },
        Event::PropertySet { name: nasty.into(), value: serde_json::json!({ nasty: [nasty] }), source: nasty.into() },
        Event::StepUrl { step: 1, name: nasty.into(), url: nasty.into() },
        finished(Success),
    ];
    assert_eq!(store(&t.db, batch(&c, 1, events)).await, Outcome::Stored { stop: None });
    assert_eq!(scalar::<String>(&t, "select name from steps").await, nasty.replace('\0', "\u{fffd}"));
    t.drop().await;
}

#[tokio::test]
async fn a_result_code_travels_into_its_column() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let mut newest = 0;
    for (i, r) in Results::ALL.into_iter().filter(|r| *r != Retry).enumerate() {
        submit(&t.db, "linux").await;
        let c = claim(&t.db, session, i as u64 + 1, 1, newest).await.remove(0);
        newest = c.build;
        finish(&t.db, &c, r).await;
        assert_eq!(scalar::<i16>(&t, "select results from builds order by id desc limit 1").await, r.code());
    }
    t.drop().await;
}

#[tokio::test]
async fn a_build_whose_end_was_asked_for_is_not_built_again_when_its_worker_dies() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let mut conn = t.db.pool().acquire().await.unwrap();
    builds::build_stop(&mut conn, BuildId(c.build), "enough", Cancelled).await.unwrap();
    drop(conn);
    finish(&t.db, &c, Retry).await;
    assert_eq!(scalar::<i16>(&t, "select results from build_requests").await, Cancelled.code());
    assert_eq!(scalar::<i64>(&t, "select count(*) from request_waits").await, 0);
    t.drop().await;
}

/// Counted so far: each connection says what it saw of them when it is asked to, or ends.
async fn deadlocks(t: &TestDb) -> i64 {
    let mut all = Vec::new();
    for _ in 0..t.db.pool().size() {
        all.push(t.db.pool().acquire().await.unwrap());
    }
    for c in &mut all {
        sqlx::raw_sql("select pg_stat_force_next_flush()").execute(&mut **c).await.unwrap();
        sqlx::raw_sql("select 1").execute(&mut **c).await.unwrap();
    }
    drop(all);
    scalar(t, "select deadlocks from pg_stat_database where datname = current_database()").await
}

#[tokio::test]
async fn the_last_batch_at_two_replicas_at_once_is_stored_once_and_acknowledged_twice() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let mut newest = 0;
    for poll in 1..=20 {
        submit(&t.db, "linux").await;
        let c = claim(&t.db, session, poll, 1, newest).await.remove(0);
        newest = c.build;
        let (a, b) = tokio::join!(finish(&t.db, &c, Success), finish(&t.db, &c, Success));
        assert_eq!((a, b), (Outcome::Stored { stop: None }, Outcome::Stored { stop: None }));
    }
    assert_eq!(scalar::<i64>(&t, "select count(*) from events where kind = 'builds.finished'").await, 20);
    assert_eq!(deadlocks(&t).await, 0);
    t.drop().await;
}

#[tokio::test]
async fn what_no_column_can_hold_is_told_apart_from_a_database_in_trouble() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    // Not compressible, and longer than an index entry may be.
    let long = tidemill_service::token::random_hex(4_000);
    let event = Event::PropertySet { name: long, value: 1.into(), source: "s".into() };
    let error = batches_store(&t.db, &[batch(&c, 1, vec![event])]).await.unwrap_err();
    assert!(error.is_data() && !error.is_unavailable(), "{error}");
    t.drop().await;
}

/// A poll that is repeated at another replica renews while the first renewal has not committed.
#[tokio::test]
async fn two_renewals_of_one_lease_at_once_both_find_it_alive() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let held = [Held { build: c.build, token: c.token.clone() }];
    let mut first = t.db.pool().begin().await.unwrap();
    assert!(leases_renew(&mut first, &held, TERM).await.unwrap().alive.contains(&c.build));
    let second = {
        let (db, held) = (t.db.clone(), held.clone());
        tokio::spawn(async move {
            let mut conn = db.pool().acquire().await.unwrap();
            leases_renew(&mut conn, &held, TERM).await.unwrap()
        })
    };
    waits_for_a_lock(&t).await;
    first.commit().await.unwrap();
    assert!(second.await.unwrap().alive.contains(&c.build));
    t.drop().await;
}

#[tokio::test]
async fn a_build_that_ends_while_its_stop_is_asked_for_ends_once_and_without_an_error() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let mut stop = t.db.pool().begin().await.unwrap();
    assert!(builds::build_stop(&mut stop, BuildId(c.build), "enough", Cancelled).await.unwrap());
    let end = {
        let (db, c) = (t.db.clone(), c.clone());
        tokio::spawn(async move { finish(&db, &c, Success).await })
    };
    waits_for_a_lock(&t).await;
    stop.commit().await.unwrap();
    assert!(matches!(end.await.unwrap(), Outcome::Stored { .. }));
    assert_eq!(scalar::<Option<i16>>(&t, "select results from builds").await, Some(0));
    t.drop().await;
}

/// As a hostile worker of an older release may have left them.
#[tokio::test]
async fn a_chunk_at_the_end_of_all_numbers_does_not_keep_its_build_from_being_lost() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let opened = Event::LogOpened { log: 1, step: 1, name: "stdio".into(), slug: "stdio".into(), kind: LogKind::Stdio };
    store(&t.db, batch(&c, 1, vec![opened])).await;
    sql(&t, "insert into log_chunks select id, 9223372036854775807, 5, 9223372036854775807, 5, 1, '' from logs").await;
    beating(&t, 0, 70).await;
    assert_eq!(reap(&t).await, 1);
    assert_eq!(scalar::<i64>(&t, "select bytes from logs where incomplete").await, i64::MAX);
    t.drop().await;
}

#[tokio::test]
async fn a_build_that_no_worker_ever_takes_up_is_given_up_in_the_end() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    beating(&t, 0, 70).await;
    let mut newest = 0;
    let mut builds = 0;
    while scalar::<bool>(&t, "select complete_at is null from build_requests").await {
        builds += 1;
        assert!(builds <= 25, "it is claimed for ever");
        newest = claim(&t.db, session, builds, 1, newest).await.remove(0).build;
        // Its back-off passes too.
        sql(&t, "update leases set expires_at = '-infinity'").await;
        assert_eq!(reap(&t).await, 1);
        sql(&t, "update request_waits set until = '-infinity'").await;
        let mut c = t.db.pool().acquire().await.unwrap();
        waits_release(&mut c).await.unwrap();
    }
    assert_eq!(builds, 25);
    assert_eq!(scalar::<i16>(&t, "select results from build_requests").await, Exception.code());
    t.drop().await;
}

/// Who waits for buildsets hears of this one like of any other (D-30).
#[tokio::test]
async fn a_buildset_without_builders_is_told_as_made_and_then_as_complete() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    submit_set(&t.db, &NewBuildset::default()).await;
    submit(&t.db, "linux").await;
    let told: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
        "select kind, (data ->> 'bsid')::bigint, (data ->> 'results')::bigint from events
          where kind like 'buildsets.%' order by xid, id",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    let (new, complete) = ("buildsets.new".to_owned(), "buildsets.complete".to_owned());
    assert_eq!(told, [(new.clone(), 1, None), (complete, 1, Some(0)), (new, 2, None)]);
    t.drop().await;
}

/// A worker's defect must not keep its build open for ever.
#[tokio::test]
async fn what_a_worker_says_after_the_end_of_its_build_is_not_heard() {
    let t = TestDb::new().await;
    let c = claimed(&t).await;
    let step = Event::StepStarted { step: 1, name: "late".into(), at_us: 1_000 };
    let outcome = store(&t.db, batch(&c, 1, vec![finished(Failure), step, finished(Success)])).await;
    assert_eq!(outcome, Outcome::Stored { stop: None });
    assert_eq!(scalar::<i16>(&t, "select results from builds").await, Failure.code());
    assert_eq!(scalar::<i64>(&t, "select count(*) from steps").await, 0);
    t.drop().await;
}
