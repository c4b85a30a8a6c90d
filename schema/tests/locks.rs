//! What locks promise.

mod common;
use common::locks::*;
use common::*;
use tidemill_model::wire::Claim;
use tidemill_model::{BuilderId, LockAccess, Results, SessionId};
use tidemill_schema::claims::{Payloads, Pick, Picked, Waiting, claim_builds, claim_picked};
use tidemill_schema::config::Wanted;
use tidemill_schema::leases::leases_expired;
use tidemill_schema::locks::{Asked, locks_turns};
use tidemill_schema::requests::{requests_cancel, requests_insert_bulk};
use tidemill_schema::testing::TestDb;
use tidemill_schema::{Db, beats, builds, run_tx};

const COUNT_HOLDS: &str = "select count(*) from lock_holds";
const COUNT_WAITERS: &str = "select count(*) from lock_waiters";

/// A24.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_claimers_racing_for_an_exclusive_lock_one_gets_it() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 5)], &[("b", &[exclusive("db")])])).await;
    let db = Db::connect(&t.url, 100).await.unwrap();
    let mut sessions = Vec::new();
    for i in 0..100 {
        sessions.push(worker(&t.db, &format!("w{i}")).await);
        submit(&t.db, "b").await;
    }
    let lanes = lanes(&t.db).await;
    for round in 1..=5 {
        let mut tasks = tokio::task::JoinSet::new();
        for session in sessions.clone() {
            let (db, lanes) = (db.clone(), lanes.clone());
            tasks.spawn(async move {
                let mut c = db.pool().acquire().await.unwrap();
                let waiting = [Waiting { session, poll: round, free: 2, newest: i64::MAX - 1 }];
                let mut claimed = claim_builds(&mut c, &mut Payloads::default(), &waiting, &lanes, TERM).await.unwrap();
                claimed.by_session.remove(&session).unwrap_or_default()
            });
        }
        let mut claims: Vec<Claim> = Vec::new();
        while let Some(got) = tasks.join_next().await {
            claims.extend(got.unwrap());
        }
        assert_eq!(claims.len(), 1, "round {round}");
        assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 1);
        never_passed(&t).await;
        finish(&t.db, &claims[0], Results::Success).await;
        assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 0);
    }
    // A backlog of any length is one waiter.
    assert_eq!(scalar::<i64>(&t, COUNT_WAITERS).await, 1);
    db.pool().close().await;
    t.drop().await;
}

#[tokio::test]
async fn a_counting_lock_is_held_up_to_its_capacity_by_units() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("memory", 10)], &[("b", &[counting("memory", 4)]), ("free", &[counting("memory", 0)])]))
        .await;
    let s = worker(&t.db, "w").await;
    for _ in 0..4 {
        submit(&t.db, "b").await;
        submit(&t.db, "free").await;
    }
    let got = claim_of(&t, "b", s, 1, 4).await;
    assert_eq!(got.len(), 2, "4 + 4 of 10");
    never_passed(&t).await;
    assert_eq!(claim_of(&t, "free", s, 2, 4).await.len(), 4, "a count of 0 needs no room (D-45)");
    finish(&t.db, &got[0], Results::Success).await;
    assert_eq!(claim_of(&t, "b", s, 3, 4).await.len(), 1);
    never_passed(&t).await;
    t.drop().await;
}

#[tokio::test]
async fn all_locks_of_a_build_are_taken_together_or_none() {
    let t = TestDb::new().await;
    let both = [exclusive("a"), exclusive("b")];
    activate(
        &t.db,
        &wanted(&[("a", 1), ("b", 1)], &[("both", &both), ("b", &[exclusive("b")]), ("a", &[exclusive("a")])]),
    )
    .await;
    let s = worker(&t.db, "w").await;
    for name in ["both", "a", "b"] {
        submit(&t.db, name).await;
    }
    let b = claim_of(&t, "b", s, 1, 1).await;
    assert!(claim_of(&t, "both", s, 2, 1).await.is_empty());
    assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 1);
    // What waits for `b` does not hold up who wants `a` only, ...
    let a = claim_of(&t, "a", s, 3, 1).await;
    assert_eq!(a.len(), 1);
    finish(&t.db, &b[0], Results::Success).await;
    assert!(claim_of(&t, "both", s, 4, 1).await.is_empty());
    finish(&t.db, &a[0], Results::Success).await;
    // ... but is not passed when it could have both.
    submit(&t.db, "a").await;
    assert!(claim_of(&t, "a", s, 5, 1).await.is_empty());
    assert_eq!(claim_of(&t, "both", s, 6, 1).await.len(), 1);
    assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 2);
    never_passed(&t).await;
    t.drop().await;
}

/// D-45: an exclusive waiter does not starve.
#[tokio::test]
async fn no_counting_comer_passes_an_earlier_exclusive_waiter() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 3)], &[("many", &[counting("db", 1)]), ("alone", &[exclusive("db")])])).await;
    let s = worker(&t.db, "w").await;
    for _ in 0..5 {
        submit(&t.db, "many").await;
    }
    let first = claim_of(&t, "many", s, 1, 2).await;
    assert_eq!(first.len(), 2);
    submit(&t.db, "alone").await;
    assert!(claim_of(&t, "alone", s, 2, 1).await.is_empty());
    // There is room for one more, and it would never end.
    assert!(claim_of(&t, "many", s, 3, 1).await.is_empty());
    finish(&t.db, &first[0], Results::Success).await;
    assert!(claim_of(&t, "many", s, 4, 1).await.is_empty());
    finish(&t.db, &first[1], Results::Success).await;
    assert!(claim_of(&t, "many", s, 5, 1).await.is_empty());
    let alone = claim_of(&t, "alone", s, 6, 1).await;
    assert_eq!(alone.len(), 1);
    assert!(claim_of(&t, "many", s, 7, 1).await.is_empty());
    finish(&t.db, &alone[0], Results::Success).await;
    assert_eq!(claim_of(&t, "many", s, 8, 5).await.len(), 3);
    never_passed(&t).await;
    t.drop().await;
}

#[tokio::test]
async fn a_waiter_that_ended_does_not_block() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 3)], &[("many", &[counting("db", 1)]), ("alone", &[exclusive("db")])])).await;
    let s = worker(&t.db, "w").await;
    for _ in 0..3 {
        submit(&t.db, "many").await;
    }
    claim_of(&t, "many", s, 1, 1).await;
    let alone = submit(&t.db, "alone").await;
    assert!(claim_of(&t, "alone", s, 2, 1).await.is_empty());
    assert!(claim_of(&t, "many", s, 3, 1).await.is_empty());
    run_tx!(t.db, "test", |c| requests_cancel(c, &alone.requests, "").await).unwrap();
    assert_eq!(claim_of(&t, "many", s, 4, 1).await.len(), 1);
    t.drop().await;
}

#[tokio::test]
async fn a_waiter_that_no_connected_worker_can_serve_does_not_block() {
    let t = TestDb::new().await;
    let mut w = wanted(&[("db", 1)], &[("here", &[exclusive("db")]), ("there", &[exclusive("db")])]);
    w.builders[1].any_worker = false;
    w.builders[1].workernames = vec!["far".into()];
    activate(&t.db, &w).await;
    let (s, far) = (worker(&t.db, "w").await, worker(&t.db, "far").await);
    for _ in 0..3 {
        submit(&t.db, "here").await;
        submit(&t.db, "there").await;
    }
    let first = claim_of(&t, "here", s, 1, 1).await;
    assert!(claim_of(&t, "there", far, 1, 1).await.is_empty());
    finish(&t.db, &first[0], Results::Success).await;
    assert!(claim_of(&t, "here", s, 2, 1).await.is_empty(), "the other one comes first");
    sql(&t, "update worker_sessions set seen_at = seen_at - interval '1 hour' where id = (select max(id) from worker_sessions)").await;
    let second = claim_of(&t, "here", s, 3, 1).await;
    assert_eq!(second.len(), 1, "its only worker is away");
    assert!(claim_of(&t, "there", far, 2, 1).await.is_empty());
    sql(&t, "update worker_sessions set seen_at = tidemill_now(), slots = 1").await;
    sql(&t, "insert into leases select 1000, max(id), '', tidemill_now(), 1 from worker_sessions").await;
    finish(&t.db, &second[0], Results::Success).await;
    assert_eq!(claim_of(&t, "here", s, 4, 1).await.len(), 1, "its only worker has no free slot");
    t.drop().await;
}

/// A function of the project may say no for hours, a worker may be drained.
#[tokio::test]
async fn a_waiter_that_could_run_and_does_not_holds_others_up_for_a_moment_only() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 1)], &[("a", &[exclusive("db")]), ("b", &[exclusive("db")])])).await;
    let s = worker(&t.db, "w").await;
    for name in ["a", "a", "b"] {
        submit(&t.db, name).await;
    }
    let first = claim_of(&t, "a", s, 1, 1).await;
    assert!(claim_of(&t, "b", s, 2, 1).await.is_empty());
    finish(&t.db, &first[0], Results::Success).await;
    assert!(claim_of(&t, "a", s, 3, 1).await.is_empty());
    // Of fifteen seconds; the others are for a slow machine.
    later(&t, 2).await;
    assert!(claim_of(&t, "a", s, 4, 1).await.is_empty());
    later(&t, 20).await;
    assert_eq!(claim_of(&t, "a", s, 5, 1).await.len(), 1);
    t.drop().await;
}

#[tokio::test]
async fn a_waiter_for_several_locks_gets_them_in_the_end() {
    let t = TestDb::new().await;
    let both = [exclusive("a"), exclusive("b")];
    activate(
        &t.db,
        &wanted(&[("a", 1), ("b", 1)], &[("both", &both), ("a", &[exclusive("a")]), ("b", &[exclusive("b")])]),
    )
    .await;
    let s = worker(&t.db, "w").await;
    for name in ["both", "a", "a", "a", "b", "b"] {
        submit(&t.db, name).await;
    }
    let a = claim_of(&t, "a", s, 1, 1).await;
    let b = claim_of(&t, "b", s, 2, 1).await;
    assert!(claim_of(&t, "both", s, 3, 1).await.is_empty());
    finish(&t.db, &a[0], Results::Success).await;
    let a = claim_of(&t, "a", s, 4, 1).await;
    assert_eq!(a.len(), 1, "`b` is held: what `both` cannot use others may");
    later(&t, 700).await;
    sql(&t, "update worker_sessions set seen_at = tidemill_now()").await;
    finish(&t.db, &a[0], Results::Success).await;
    assert!(claim_of(&t, "a", s, 5, 1).await.is_empty(), "after ten minutes it keeps what it could have");
    finish(&t.db, &b[0], Results::Success).await;
    assert_eq!(claim_of(&t, "both", s, 6, 1).await.len(), 1);
    never_passed(&t).await;
    t.drop().await;
}

#[tokio::test]
async fn a_lost_build_gives_its_locks_and_its_place_back() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 1), ("cpu", 1)], &[("b", &[exclusive("db")])])).await;
    let s = worker(&t.db, "w").await;
    submit(&t.db, "b").await;
    submit(&t.db, "b").await;
    let first = claim_of(&t, "b", s, 1, 2).await;
    assert_eq!(first.len(), 1);
    assert_eq!(ask(&t, &first[0], 1, &[exclusive("cpu")]).await, Asked::Granted);
    assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 2);
    beating(&t, 0, 200).await;
    let freed = run_tx!(t.db, "test", |c| {
        let expired = leases_expired(c, TERM, 100).await?;
        builds::builds_lost(c, &expired).await
    })
    .unwrap();
    assert_eq!(freed.len(), 2);
    assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 0);
    sql(&t, "update worker_sessions set seen_at = tidemill_now()").await;
    let turns = run_tx!(t.db, "test", |c| locks_turns(c, &freed).await).unwrap();
    assert_eq!(turns.lanes, [lane(&t, "b").await]);
    assert_eq!(claim_of(&t, "b", s, 2, 1).await.len(), 1);
    assert_eq!(ask(&t, &first[0], 2, &[exclusive("cpu")]).await, Asked::LeaseLost);
    t.drop().await;
}

#[tokio::test]
async fn steps_and_builds_stand_in_one_line() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 1)], &[("locked", &[exclusive("db")]), ("plain", &[])])).await;
    let s = worker(&t.db, "w").await;
    for name in ["locked", "locked", "plain", "plain"] {
        submit(&t.db, name).await;
    }
    let holder = claim_of(&t, "locked", s, 1, 1).await.remove(0);
    let plain = claim_of(&t, "plain", s, 2, 2).await;
    let db = [exclusive("db")];
    let Asked::Waits(says) = ask(&t, &plain[0], 1, &db).await else { panic!("it is held") };
    assert_eq!(says, "lock db held by build locked #1");
    assert!(claim_of(&t, "locked", s, 3, 1).await.is_empty());
    assert!(matches!(ask(&t, &plain[1], 1, &db).await, Asked::Waits(_)));
    let waits: String = scalar(&t, "select lock_waits_of(request_id) from request_queue").await;
    assert_eq!(waits, "lock db held by build locked #1");

    store(&t.db, batch(&holder, 1, vec![finished(Results::Success)])).await;
    let turns = turns(&t).await;
    assert_eq!((turns.builds, turns.lanes.len()), (vec![plain[0].build], 0));
    assert!(claim_of(&t, "locked", s, 4, 1).await.is_empty(), "the step came first");
    assert!(matches!(ask(&t, &plain[1], 1, &db).await, Asked::Waits(_)));
    assert_eq!(ask(&t, &plain[0], 1, &db).await, Asked::Granted);
    assert_eq!(ask(&t, &plain[0], 1, &db).await, Asked::Granted, "asked twice is once");
    assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 1);
    store(&t.db, batch(&plain[0], 1, step_finished(1))).await;
    assert_eq!(scalar::<i64>(&t, COUNT_HOLDS).await, 0);
    assert_eq!(scalar::<f64>(&t, "select extract(epoch from lock_wait)::float8 from steps").await, 2.0);
    assert!(matches!(ask(&t, &plain[0], 1, &db).await, Asked::Refused(_)), "a step that ended gets nothing");
    assert!(matches!(ask(&t, &plain[1], 1, &db).await, Asked::Waits(_)));
    let locked = claim_of(&t, "locked", s, 5, 1).await;
    assert_eq!(locked.len(), 1);
    // Stopped while it waits: the step ends, and leaves the line.
    store(&t.db, batch(&plain[1], 1, step_finished(1))).await;
    assert_eq!(scalar::<i64>(&t, COUNT_WAITERS).await, 0);
    t.drop().await;
}

#[tokio::test]
async fn a_step_cannot_have_a_lock_that_its_build_holds_or_that_nobody_knows() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 3)], &[("b", &[counting("db", 1)])])).await;
    let s = worker(&t.db, "w").await;
    submit(&t.db, "b").await;
    let build = claim_of(&t, "b", s, 1, 1).await.remove(0);
    let Asked::Refused(why) = ask(&t, &build, 1, &[counting("db", 1)]).await else { panic!("D-11") };
    assert!(why.contains("`db`"), "{why}");
    let Asked::Refused(why) = ask(&t, &build, 1, &[counting("dc", 1)]).await else { panic!("unknown") };
    assert!(why.contains("`dc`"), "{why}");
    let stranger = Claim { token: "x".into(), ..build.clone() };
    assert_eq!(ask(&t, &stranger, 1, &[]).await, Asked::LeaseLost);
    t.drop().await;
}

#[tokio::test]
async fn a_worker_lock_counts_on_each_worker_and_definitions_of_workers_hold_for_all_their_builds() {
    let t = TestDb::new().await;
    let mut w = wanted(&[("@cpu", 1), ("licence", 1)], &[("b", &[counting("cpu", 1)]), ("c", &[])]);
    w.locks[0].capacities.insert("big".into(), 3);
    w.workers = vec![definition("lab", &[exclusive("licence")], None), definition("big", &[], Some(2))];
    activate(&t.db, &w).await;
    let (small, big, lab) = (worker(&t.db, "small").await, worker(&t.db, "big").await, worker(&t.db, "lab").await);
    for _ in 0..10 {
        submit(&t.db, "b").await;
        submit(&t.db, "c").await;
    }
    assert_eq!(claim_of(&t, "b", small, 1, 5).await.len(), 1);
    let two = claim_of(&t, "b", big, 1, 5).await;
    assert_eq!(two.len(), 2, "three of the lock, and max_builds of the worker");
    finish(&t.db, &two[0], Results::Success).await;
    assert_eq!(claim_of(&t, "c", big, 2, 5).await.len(), 1, "max_builds counts builds of any builder");
    let one = claim_of(&t, "c", lab, 1, 5).await;
    assert_eq!(one.len(), 1, "LK-06");
    assert!(claim_of(&t, "b", lab, 2, 5).await.is_empty());
    assert_eq!(claim_of(&t, "c", small, 2, 2).await.len(), 2, "another worker has no such lock");
    finish(&t.db, &one[0], Results::Success).await;
    assert_eq!(claim_of(&t, "b", lab, 3, 5).await.len(), 1);
    // Slots of both in one claim.
    let waiting = |session, poll| Waiting { session, poll, free: 3, newest: i64::MAX - 1 };
    let claimed = claim_all(&t.db, &[waiting(lab, 4), waiting(small, 3)]).await;
    assert!(!claimed.by_session.contains_key(&lab));
    assert_eq!(claimed.by_session[&small].len(), 3);
    assert!(claimed.by_session[&small].iter().all(|c| c.builder == "c"));
    t.drop().await;
}

#[tokio::test]
async fn what_functions_decide_comes_with_the_pick_and_without_it_nothing_starts() {
    let t = TestDb::new().await;
    let mut w = wanted(&[("a", 1), ("b", 1)], &[("f", &[])]);
    w.builders[0].lock_rule = true;
    activate(&t.db, &w).await;
    let s = worker(&t.db, "w").await;
    let mut requests = Vec::new();
    for _ in 0..4 {
        requests.push(submit(&t.db, "f").await.requests[0].0);
    }
    assert!(claim_of(&t, "f", s, 1, 4).await.is_empty());
    let got = pick(&t, s, 2, &[None, None]).await;
    assert!(got.is_empty());
    let a = || Some(vec![exclusive("a")]);
    let got = pick(&t, s, 3, &[a(), a(), Some(vec![]), Some(vec![exclusive("b")])]).await;
    let mut started: Vec<i64> = got.iter().map(|c| c.request).collect();
    started.sort_unstable();
    assert_eq!(started, [requests[0], requests[2], requests[3]]);
    // The second waits by itself.
    assert_eq!(scalar::<i64>(&t, "select request_id from lock_waiters").await, requests[1]);
    assert_eq!(
        scalar::<String>(&t, "select lock_waits_of(request_id) from lock_waiters").await,
        "lock a held by build f #1"
    );
    assert!(pick(&t, s, 4, &[a()]).await.is_empty());
    finish(&t.db, got.iter().find(|c| c.request == requests[0]).unwrap(), Results::Success).await;
    assert_eq!(pick(&t, s, 5, &[a()]).await.len(), 1);
    assert_eq!(scalar::<i64>(&t, COUNT_WAITERS).await, 0);
    never_passed(&t).await;
    t.drop().await;
}

/// Picks the first of the queue with these locks.
async fn pick(t: &TestDb, session: SessionId, poll: u64, locks: &[Option<Vec<LockAccess>>]) -> Vec<Claim> {
    let queue: Vec<(i64, i64)> =
        sqlx::query_as("select lane, ticket from request_queue order by ticket").fetch_all(t.db.pool()).await.unwrap();
    let picks = queue
        .into_iter()
        .zip(locks)
        .map(|((lane, ticket), locks)| Pick { lane, ticket, session, locks: locks.clone() })
        .collect();
    let revision = scalar(t, "select revision_id from active_revision").await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let waiting = [Waiting { session, poll, free: 10, newest: i64::MAX - 1 }];
    let picked = Picked { revision, picks };
    let mut claimed = claim_picked(&mut c, &mut Payloads::default(), &waiting, &picked, TERM).await.unwrap();
    claimed.by_session.remove(&session).unwrap_or_default()
}

#[tokio::test]
async fn another_capacity_counts_at_once_and_leaves_no_waiter_stuck() {
    let t = TestDb::new().await;
    let with = |capacity, builders: &[(&str, &[LockAccess])]| -> Wanted { wanted(&[("db", capacity)], builders) };
    let five = [counting("db", 5)];
    activate(&t.db, &with(5, &[("b", &five)])).await;
    let s = worker(&t.db, "w").await;
    for _ in 0..5 {
        submit(&t.db, "b").await;
    }
    let first = claim_of(&t, "b", s, 1, 5).await;
    assert_eq!(first.len(), 1);
    activate(&t.db, &with(10, &[("b", &five)])).await;
    assert_eq!(claim_of(&t, "b", s, 2, 5).await.len(), 1);
    // Less than its units: they are all there are.
    activate(&t.db, &with(3, &[("b", &five)])).await;
    assert!(claim_of(&t, "b", s, 3, 5).await.is_empty());
    let claims = "select build_id from lock_holds";
    let left: Vec<i64> = sqlx::query_scalar(claims).fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(left.len(), 2);
    sql(&t, "delete from lock_holds").await;
    assert_eq!(claim_of(&t, "b", s, 4, 5).await.len(), 1);
    assert!(claim_of(&t, "b", s, 5, 5).await.is_empty());
    // It has no locks any more: it does not wait for any.
    activate(&t.db, &with(3, &[("b", &[])])).await;
    assert_eq!(scalar::<i64>(&t, COUNT_WAITERS).await, 0);
    assert_eq!(claim_of(&t, "b", s, 6, 5).await.len(), 2);
    // The lock is gone, and what a running build's steps want of it is still counted.
    activate(&t.db, &wanted(&[], &[("b", &[])])).await;
    assert!(!scalar::<bool>(&t, "select active from locks").await);
    t.drop().await;
}

#[tokio::test]
async fn a_claim_of_a_builder_with_locks_reads_few_rows_at_ten_thousand_waiting() {
    let mut t = TestDb::new().await;
    // One connection, so that what was read is counted when it is asked for.
    t.db.pool().close().await;
    t.db = Db::connect(&t.url, 1).await.unwrap();
    activate(&t.db, &wanted(&[("db", 1)], &[("b", &[exclusive("db")])])).await;
    let set = submit(&t.db, "b").await;
    let builder = BuilderId(scalar(&t, "select id from builders").await);
    run_tx!(t.db, "test", |c| requests_insert_bulk(c, set.buildset, builder, 10_000).await).unwrap();
    sql(&t, "analyze").await;
    let s = worker(&t.db, "w").await;
    let mut held = claim_of(&t, "b", s, 1, 50).await;
    let before = queue_rows_read(&t).await;
    for poll in 2..=21 {
        assert!(claim_of(&t, "b", s, poll * 2, 50).await.is_empty());
        finish(&t.db, &held.remove(0), Results::Success).await;
        held = claim_of(&t, "b", s, poll * 2 + 1, 50).await;
        assert_eq!(held.len(), 1);
    }
    let read = queue_rows_read(&t).await - before;
    assert!(read > 0, "nothing was counted");
    assert!(read < 41 * 100, "{read} rows of the queue read by 40 claims");
    assert_eq!(scalar::<i64>(&t, COUNT_WAITERS).await, 1);
    t.drop().await;
}

async fn queue_rows_read(t: &TestDb) -> i64 {
    let mut c = t.db.pool().acquire().await.unwrap();
    sqlx::raw_sql("select pg_stat_force_next_flush()").execute(&mut *c).await.unwrap();
    drop(c);
    scalar(
        t,
        "select (seq_tup_read + (select sum(idx_tup_read) from pg_stat_user_indexes where relname = 'request_queue'))::bigint
           from pg_stat_user_tables where relname = 'request_queue'",
    )
    .await
}

async fn turns(t: &TestDb) -> tidemill_schema::locks::Turns {
    let all: Vec<i64> = sqlx::query_scalar("select id from locks").fetch_all(t.db.pool()).await.unwrap();
    run_tx!(t.db, "test", |c| locks_turns(c, &all).await).unwrap()
}

/// Moves the database's clock.
async fn later(t: &TestDb, seconds: i64) {
    let sql = format!(
        "create or replace function tidemill_now() returns timestamptz language sql volatile parallel safe
         as $$ select clock_timestamp() + interval '{seconds} seconds' $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(t.db.pool()).await.unwrap();
}

/// Beats as a replica would while the clock moves on.
async fn beating(t: &TestDb, from: i64, to: i64) {
    let mut c = t.db.pool().acquire().await.unwrap();
    let master = beats::master_insert(&mut c, "m", "").await.unwrap();
    for s in (from..=to).step_by(2) {
        later(t, s).await;
        beats::beat(&mut c, master).await.unwrap();
    }
}

/// What is only reserved for a patient waiter keeps nobody waiting who holds something: the waiter may wait
/// for just that, and then neither would ever go on.
#[tokio::test]
async fn a_step_of_a_build_that_holds_something_does_not_wait_for_a_reserved_place() {
    let t = TestDb::new().await;
    let both = [exclusive("first"), exclusive("second"), exclusive("third")];
    let locks = [("first", 1), ("second", 1), ("third", 1)];
    let builders: [(&str, &[LockAccess]); 4] =
        [("x", &[exclusive("first")]), ("y", &[exclusive("third")]), ("both", &both), ("free", &[])];
    activate(&t.db, &wanted(&locks, &builders)).await;
    let s = worker(&t.db, "w").await;
    for name in ["x", "y", "both", "free"] {
        submit(&t.db, name).await;
    }
    let x = claim_of(&t, "x", s, 1, 1).await.remove(0);
    let y = claim_of(&t, "y", s, 2, 1).await.remove(0);
    let free = claim_of(&t, "free", s, 3, 1).await.remove(0);
    assert!(claim_of(&t, "both", s, 4, 1).await.is_empty(), "two of its three are held");
    later(&t, 700).await;
    sql(&t, "update worker_sessions set seen_at = tidemill_now()").await;
    let second = [exclusive("second")];
    // It stands in line itself then, and holds up nobody more than the first one does.
    assert!(matches!(ask(&t, &free, 1, &second).await, Asked::Waits(_)), "it is kept for who waited so long");
    assert_eq!(ask(&t, &x, 1, &second).await, Asked::Granted, "its end is what the waiter waits for");
    finish(&t.db, &x, Results::Success).await;
    finish(&t.db, &y, Results::Success).await;
    assert_eq!(claim_of(&t, "both", s, 5, 1).await.len(), 1);
    never_passed(&t).await;
    t.drop().await;
}

#[tokio::test]
async fn what_is_held_of_a_lock_counts_though_its_kind_changes() {
    let t = TestDb::new().await;
    let builders: [(&str, &[LockAccess]); 1] = [("b", &[exclusive("board")])];
    activate(&t.db, &wanted(&[("board", 1)], &builders)).await;
    let (one, other) = (worker(&t.db, "one").await, worker(&t.db, "other").await);
    for _ in 0..4 {
        submit(&t.db, "b").await;
    }
    let held = claim_of(&t, "b", one, 1, 1).await.remove(0);
    activate(&t.db, &wanted(&[("@board", 1)], &builders)).await;
    assert!(claim_of(&t, "b", other, 1, 1).await.is_empty(), "it was the only one of the cluster");
    finish(&t.db, &held, Results::Success).await;
    let on_one = claim_of(&t, "b", one, 2, 1).await.remove(0);
    let on_other = claim_of(&t, "b", other, 2, 1).await.remove(0);
    activate(&t.db, &wanted(&[("board", 1)], &builders)).await;
    finish(&t.db, &on_one, Results::Success).await;
    assert!(claim_of(&t, "b", one, 3, 1).await.is_empty(), "there is one for all now, and another worker has it");
    finish(&t.db, &on_other, Results::Success).await;
    assert_eq!(claim_of(&t, "b", one, 4, 1).await.len(), 1);
    t.drop().await;
}

/// A walk that holds no lock's row finds a waiter dead just when a claim would put it into more lines.
#[tokio::test]
async fn a_waiter_that_goes_while_a_claim_stands_in_its_place_is_replaced() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[("db", 1)], &[("a", &[exclusive("db")]), ("b", &[exclusive("db")])])).await;
    let s = worker(&t.db, "w").await;
    for name in ["a", "b", "b"] {
        submit(&t.db, name).await;
    }
    assert_eq!(claim_of(&t, "a", s, 1, 1).await.len(), 1);
    assert!(claim_of(&t, "b", s, 2, 1).await.is_empty());
    let mut walk = t.db.pool().begin().await.unwrap();
    sqlx::query("delete from lock_waiters").execute(&mut *walk).await.unwrap();
    let lanes = [(lane(&t, "b").await, 0)];
    let claiming = {
        let db = t.db.clone();
        tokio::spawn(async move {
            let mut c = db.pool().acquire().await.unwrap();
            let waiting = [Waiting { session: s, poll: 3, free: 1, newest: i64::MAX - 1 }];
            claim_builds(&mut c, &mut Payloads::default(), &waiting, &lanes, TERM).await.map(|c| c.fresh)
        })
    };
    waits_for_a_lock(&t).await;
    walk.commit().await.unwrap();
    assert_eq!(claiming.await.unwrap().unwrap(), 0, "nothing is had, and nothing failed");
    assert_eq!(scalar::<i64>(&t, COUNT_WAITERS).await, 1, "it stands in line anew");
    assert_eq!(scalar::<i64>(&t, "select count(*) from lock_waits").await, 1);
    t.drop().await;
}
