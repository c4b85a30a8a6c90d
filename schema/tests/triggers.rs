//! Builds that a running build starts: once, under its lease, and not for longer than somebody waits.

mod common;

use common::*;
use tidemill_model::wire::{Claim, Fired};
use tidemill_model::{BuildId, Properties, Results, SourceStamp};
use tidemill_schema::builds::build_stop;
use tidemill_schema::collapse::{CollapseBy, CollapseKey, collapse_lock, requests_collapse};
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;
use tidemill_schema::tries::{tries_prune, try_find, try_insert};
use tidemill_schema::triggers::{
    Key, Locked, children_let_go, pending_blocked, trigger_insert, trigger_known, trigger_lock, trigger_parent,
    trigger_watch, triggers_forsaken, triggers_prune,
};

fn key(claim: &Claim, nth: i32) -> Key {
    Key { build: BuildId(claim.build), step: 1, nth }
}

fn child(claim: &Claim, builder: &str, waits: bool) -> NewBuildset {
    NewBuildset {
        reason: "triggered".into(),
        scheduler: format!("go-{builder}"),
        sourcestamps: vec![SourceStamp::default()],
        properties: Properties::new(),
        builders: vec![builder.into()],
        parent: Some((BuildId(claim.build), None)),
        waited_for: waits,
        ..NewBuildset::default()
    }
}

/// What a master does with a call.
async fn fire(t: &TestDb, claim: &Claim, token: &str, nth: i32, builders: &[&str], waits: bool) -> Locked {
    let (key, made) = (key(claim, nth), builders.to_vec());
    run_tx!(t.db, "test", |c| {
        let found = trigger_lock(c, key, token).await?;
        if found == Locked::New {
            let mut fired = vec![];
            for builder in &made {
                let set = buildset_insert(c, &child(claim, builder, waits)).await?.buildset;
                fired.push(Fired { scheduler: format!("go-{builder}"), unimportant: false, buildset: Some(set.0) });
            }
            trigger_insert(c, key, waits, &fired).await?;
        }
        Ok::<_, tidemill_schema::Error>(found)
    })
    .unwrap()
}

/// A project of these builders; the first has a build.
async fn parent(t: &TestDb, builders: &[&str], slots: u32) -> Claim {
    project(&t.db, builders).await;
    let session = worker(&t.db, "w").await;
    sqlx::query("update worker_sessions set slots = $1").bind(slots as i32).execute(t.db.pool()).await.unwrap();
    submit(&t.db, builders[0]).await;
    claim(&t.db, session, 1, 1, 0).await.remove(0)
}

#[tokio::test]
async fn a_trigger_is_stored_once_whoever_asks_at_once_and_nothing_without_its_lease() {
    let t = TestDb::new().await;
    let claim = parent(&t, &["up", "down"], 1).await;
    assert_eq!(fire(&t, &claim, "another", 1, &["down"], true).await, Locked::LeaseLost);
    let calls = (0..8).map(|_| fire(&t, &claim, &claim.token, 1, &["down", "down"], true));
    let found = futures_util::future::join_all(calls).await;
    let new = found.iter().filter(|f| **f == Locked::New).count();
    assert_eq!((new, found.len()), (1, 8));
    let Some(Locked::Known(first)) = found.iter().find(|f| matches!(f, Locked::Known(_))) else { panic!("{found:?}") };
    assert!(found.iter().all(|f| matches!(f, Locked::New) || *f == Locked::Known(first.clone())));
    assert_eq!(scalar::<i64>(&t, "select count(*) from buildsets where parent_build_id is not null").await, 2);
    // The next one of the same step is another.
    assert_eq!(fire(&t, &claim, &claim.token, 2, &["down"], false).await, Locked::New);
    assert_eq!(scalar::<String>(&t, "select string_agg(state, ' ' order by nth) from triggers").await, "waiting over");

    finish(&t.db, &claim, Results::Success).await;
    assert_eq!(fire(&t, &claim, &claim.token, 3, &["down"], true).await, Locked::LeaseLost);
    let mut c = t.db.pool().acquire().await.unwrap();
    assert!(trigger_watch(&mut c, key(&claim, 1), &claim.token).await.unwrap().is_none());
    assert_eq!(trigger_known(&mut c, key(&claim, 2)).await.unwrap().unwrap().len(), 1);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn children_know_the_priority_the_changes_and_the_depth_of_their_parent() {
    let t = TestDb::new().await;
    project(&t.db, &["up"]).await;
    let session = worker(&t.db, "w").await;
    let merged = |priority| NewBuildset {
        builders: vec!["up".into()],
        priority,
        collapse: [("up".to_owned(), CollapseBy::Key(CollapseKey([1; 16])))].into(),
        ..NewBuildset::default()
    };
    for priority in [9, 4] {
        run_tx!(t.db, "test", |c| {
            let made = buildset_insert(c, &merged(priority)).await?;
            collapse_lock(c, &made.fresh, &[]).await?;
            requests_collapse(c, &made.fresh).await
        })
        .unwrap();
    }
    let mut up = claim(&t.db, session, 1, 1, 0).await.remove(0);
    for depth in 0..4 {
        let mut c = t.db.pool().acquire().await.unwrap();
        let parent = trigger_parent(&mut c, BuildId(up.build), &up.token, 3).await.unwrap().unwrap();
        assert_eq!((parent.depth, parent.priority), (depth.min(3), if depth == 0 { 9 } else { 0 }));
        assert!(trigger_parent(&mut c, BuildId(up.build), "another", 3).await.unwrap().is_none());
        drop(c);
        fire(&t, &up, &up.token, 1, &["up"], false).await;
        finish(&t.db, &up, Results::Success).await;
        up = claim(&t.db, session, depth as u64 + 2, 1, up.build).await.remove(0);
    }
    t.drop().await;
}

#[tokio::test]
async fn who_waits_sees_each_request_and_build_and_the_result_of_each_set() {
    let t = TestDb::new().await;
    let up = parent(&t, &["up", "down"], 1).await;
    let session = worker(&t.db, "other").await;
    fire(&t, &up, &up.token, 1, &["down", "down"], true).await;
    let look = async || {
        let mut c = t.db.pool().acquire().await.unwrap();
        trigger_watch(&mut c, key(&up, 1), &up.token).await.unwrap().unwrap()
    };
    let sets = look().await;
    assert!(sets.iter().all(|s| !s.complete && s.requests.len() == 1 && s.requests[0].builds.is_empty()));
    let down = claim(&t.db, session, 1, 1, 0).await.remove(0);
    finish(&t.db, &down, Results::Failure).await;
    let sets = look().await;
    let build = &sets[0].requests[0].builds[0];
    assert_eq!((build.build, build.number, build.state.as_str()), (down.build, down.number, "finished"));
    assert_eq!((sets[0].complete, sets[0].results), (true, Some(Results::Failure)));
    assert_eq!((sets[1].complete, sets[1].results), (false, None));
    let waited: bool = scalar(&t, "select bool_and(waited_for) from build_requests where buildset_id > 1").await;
    assert!(waited);
    t.drop().await;
}

#[tokio::test]
async fn what_a_stopped_build_waits_for_is_cancelled_and_what_it_does_not_wait_for_goes_on() {
    let t = TestDb::new().await;
    let up = parent(&t, &["up", "down", "side"], 1).await;
    let session = worker(&t.db, "other").await;
    fire(&t, &up, &up.token, 1, &["down", "down"], true).await;
    fire(&t, &up, &up.token, 2, &["side"], false).await;
    let running = claim(&t.db, session, 1, 1, 0).await.remove(0);
    assert_eq!(running.builder, "down");
    let pass = async || {
        let mut c = t.db.pool().acquire().await.unwrap();
        let forsaken = triggers_forsaken(&mut c, 10).await.unwrap();
        drop(c);
        let mut done = vec![];
        for one in &forsaken {
            done.push(run_tx!(t.db, "test", |c| children_let_go(c, one).await).unwrap());
        }
        (forsaken, done)
    };
    assert!(pass().await.0.is_empty(), "while it waits nothing is touched");
    run_tx!(t.db, "test", |c| build_stop(c, BuildId(up.build), "enough", Results::Cancelled).await).unwrap();
    // What runs after the stop may trigger and wait, too.
    fire(&t, &up, &up.token, 3, &["side"], true).await;
    let (forsaken, done) = pass().await;
    assert_eq!(forsaken[0].why, "up #1, which waited for it, was stopped: enough");
    assert_eq!(
        (done[0].requests.len(), done[0].builds.as_slice(), done[0].more),
        (1, &[BuildId(running.build)][..], false)
    );
    assert!(pass().await.0.is_empty(), "all was asked");
    finish(&t.db, &running, Results::Cancelled).await;
    finish(&t.db, &up, Results::Cancelled).await;
    let (_, done) = pass().await;
    assert_eq!(done.iter().map(|d| d.requests.len()).sum::<usize>(), 1, "of the step that ran after the stop");
    assert!(pass().await.0.is_empty());
    let results = "select string_agg(coalesce(results::text, '-'), ' ' order by buildset_id) from build_requests";
    assert_eq!(scalar::<String>(&t, results).await, "6 6 6 - 6");
    assert_eq!(scalar::<i64>(&t, "select count(*) from triggers where state = 'waiting'").await, 0);
    t.drop().await;
}

#[tokio::test]
async fn a_build_that_ends_in_order_leaves_nothing_to_cancel_and_a_lost_one_does() {
    let t = TestDb::new().await;
    let up = parent(&t, &["up", "down"], 1).await;
    fire(&t, &up, &up.token, 1, &["down"], true).await;
    finish(&t.db, &up, Results::Retry).await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let forsaken = triggers_forsaken(&mut c, 10).await.unwrap();
    drop(c);
    assert_eq!((forsaken[0].over, forsaken[0].why.as_str()), (true, "up #1, which waited for it, was lost"));
    // Two replicas at once: the second has nothing to do.
    let go = || async { run_tx!(t.db, "test", |c| children_let_go(c, &forsaken[0]).await).unwrap() };
    let (one, two) = tokio::join!(go(), go());
    assert_eq!(one.requests.len() + two.requests.len(), 1);
    assert_eq!(scalar::<String>(&t, "select state from triggers").await, "over");
    t.drop().await;
}

#[tokio::test]
async fn requests_are_blocked_where_waiting_builds_hold_every_slot_that_could_build_them() {
    let t = TestDb::new().await;
    let up = parent(&t, &["up", "down"], 1).await;
    fire(&t, &up, &up.token, 1, &["down"], true).await;
    let pending: Vec<i64> =
        sqlx::query_scalar("select request_id from request_queue").fetch_all(t.db.pool()).await.unwrap();
    let blocked = async || {
        let mut c = t.db.pool().acquire().await.unwrap();
        pending_blocked(&mut c, &pending).await.unwrap()
    };
    assert_eq!(blocked().await, ["down"]);
    sql(&t, "update worker_sessions set slots = 2").await;
    assert!(blocked().await.is_empty(), "there is another slot");
    sql(&t, "update worker_sessions set slots = 1; update triggers set state = 'over'").await;
    assert!(blocked().await.is_empty(), "the build that holds it will end");
    sql(&t, "update triggers set state = 'waiting'").await;
    worker(&t.db, "other").await;
    assert!(blocked().await.is_empty(), "there is another worker");
    sql(&t, "update worker_sessions set seen_at = seen_at - interval '46 seconds' where id = 2").await;
    assert_eq!(blocked().await, ["down"], "it fell silent");
    t.drop().await;
}

#[tokio::test]
async fn a_trigger_is_forgotten_when_its_build_is_long_over_and_not_while_anybody_may_ask() {
    let t = TestDb::new().await;
    let claim = parent(&t, &["up", "down"], 1).await;
    assert_eq!(fire(&t, &claim, &claim.token, 1, &["down"], false).await, Locked::New);
    assert_eq!(fire(&t, &claim, &claim.token, 2, &["down"], true).await, Locked::New);
    let count = async |t: &TestDb, table: &'static str| {
        let sql = if table == "triggers" {
            "select count(*) from triggers"
        } else {
            "select count(*) from trigger_buildsets"
        };
        scalar::<i64>(t, sql).await
    };
    sql(&t, "update triggers set created_at = tidemill_now() - interval '15 days'").await;
    triggers_prune(&t.db, 14).await.unwrap();
    assert_eq!(count(&t, "triggers").await, 2, "its worker may ask again");
    finish(&t.db, &claim, Results::Success).await;
    triggers_prune(&t.db, 16).await.unwrap();
    assert_eq!(count(&t, "triggers").await, 2, "it is not long over");
    triggers_prune(&t.db, 14).await.unwrap();
    assert_eq!(scalar::<String>(&t, "select string_agg(state, ' ') from triggers").await, "waiting");
    sql(&t, "update triggers set state = 'over'").await;
    // More than one batch.
    sql(
        &t,
        "insert into triggers (build_id, step, nth, state, after_stop, created_at)
         select 1, 2, n, 'over', false, tidemill_now() - interval '20 days' from generate_series(1, 12000) n",
    )
    .await;
    triggers_prune(&t.db, 14).await.unwrap();
    assert_eq!((count(&t, "triggers").await, count(&t, "trigger_buildsets").await), (0, 0));
    assert_eq!(
        scalar::<i64>(&t, "select count(*) from buildsets where parent_build_id is not null").await,
        2,
        "who started what is history"
    );
    t.drop().await;
}

#[tokio::test]
async fn a_try_is_known_again_until_its_days_are_over() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    let mut tried = vec![];
    for key in ["old", "new"] {
        tried.push(
            run_tx!(t.db, "test", |c| {
                let new = NewBuildset { builders: vec!["b".into()], ..NewBuildset::default() };
                let set = buildset_insert(c, &new).await?.buildset;
                try_insert(c, set, "try", "ada", Some(key)).await?;
                Ok::<_, tidemill_schema::Error>(set)
            })
            .unwrap(),
        );
    }
    sql(&t, "update tries set submitted_at = tidemill_now() - interval '31 days' where idempotency_key = 'old'").await;
    tries_prune(&t.db, 30).await.unwrap();
    let find = async |key: &str| run_tx!(t.db, "test", |c| try_find(c, "ada", key).await).unwrap();
    assert_eq!((find("old").await, find("new").await), (None, Some(tried[1])));
    assert_eq!(scalar::<i64>(&t, "select count(*) from buildsets").await, 2);
    t.drop().await;
}
