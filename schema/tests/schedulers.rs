//! Schedulers that hear of finished buildsets, and those whose functions fail;
//! sources that functions poll.

mod common;

use common::*;
use serde_json::{Value, json};
use std::time::Duration;
use tidemill_model::{NewChange, Results, SchedulerId};
use tidemill_schema::beats::master_insert;
use tidemill_schema::change_sources::{
    Room, change_source_failed, change_source_polled, change_source_release, change_source_take, change_sources_wait,
};
use tidemill_schema::changes::{Cursor, changes_after, changes_insert};
use tidemill_schema::config::{Wanted, WantedBuilder, WantedScheduler};
use tidemill_schema::finished::finished_after;
use tidemill_schema::requests::{NewBuildset, requests_cancel};
use tidemill_schema::run_tx;
use tidemill_schema::scheduler_controls::{scheduler_ask, scheduler_enable};
use tidemill_schema::schedulers::{Advance, BATCH, Scheduler, schedulers_advance, schedulers_due, schedulers_take};
use tidemill_schema::testing::TestDb;
use tidemill_schema::upstream::{upstream_done, upstream_ended, upstream_only, upstream_wait};

/// The horizon is that of the whole server, so these tests go one after another.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const START: Cursor = Cursor { xid: 0, id: 0 };

/// A revision with this mark: each other one is another.
fn wanted(mark: &str, schedulers: Vec<WantedScheduler>, sources: Vec<(String, Value)>) -> Wanted {
    let builder =
        WantedBuilder { name: "b".into(), any_worker: true, description: mark.into(), ..WantedBuilder::default() };
    Wanted { builders: vec![builder], schedulers, change_sources: sources, ..Wanted::default() }
}

fn custom(name: &str, upstream: &[&str], interval_us: Option<u64>) -> WantedScheduler {
    let kind = json!({ "custom": { "interval_us": interval_us, "upstream": upstream } });
    WantedScheduler {
        name: name.into(),
        definition: json!({ "name": name, "kind": kind, "builder_names": ["b"] }),
        watches: true,
        hears: !upstream.is_empty(),
        looks: interval_us.is_some(),
        summary: String::new(),
    }
}

async fn finish_set(t: &TestDb, scheduler: &str) -> i64 {
    let new = NewBuildset { scheduler: scheduler.into(), builders: vec!["b".into()], ..NewBuildset::default() };
    let made = submit_set(&t.db, &new).await;
    run_tx!(t.db, "test", |c| requests_cancel(c, &made.requests, "test").await).unwrap();
    made.buildset.0
}

#[tokio::test]
async fn a_buildset_whose_end_commits_late_is_told_late_and_not_lost() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    activate(&t.db, &wanted("1", vec![], vec![])).await;
    let make = async |scheduler: &str| {
        let new = NewBuildset { scheduler: scheduler.into(), builders: vec!["b".into()], ..NewBuildset::default() };
        submit_set(&t.db, &new).await
    };
    let (slow, fast, other) = (make("up").await, make("up").await, make("other").await);
    let mut late = t.db.begin().await.unwrap();
    requests_cancel(&mut late, &slow.requests, "slow").await.unwrap();
    for quick in [&fast, &other] {
        run_tx!(t.db, "test", |c| requests_cancel(c, &quick.requests, "fast").await).unwrap();
    }
    let mut c = t.db.pool().acquire().await.unwrap();
    let names = ["up".to_owned()];
    let page = finished_after(&mut c, START, &names, 100).await.unwrap();
    assert!(page.finished.is_empty() && page.more_above_horizon);
    let made: Vec<i64> = page.made.iter().map(|m| m.buildset.0).collect();
    assert_eq!(made, [slow.buildset.0, fast.buildset.0], "that they were made was told before");
    let begun = page.end.unwrap();
    late.commit().await.unwrap();
    let page = finished_after(&mut c, begun, &names, 100).await.unwrap();
    assert!(page.made.is_empty());
    let told: Vec<i64> = page.finished.iter().map(|f| f.buildset.0).collect();
    assert_eq!(told, [slow.buildset.0, fast.buildset.0], "in the order of (xid, id)");
    assert_eq!((page.finished[0].results, page.full), (Results::Cancelled.code(), false));
    let end = page.end.unwrap();
    assert!(end > page.finished[1].at, "what is of others was looked at too");
    assert!(finished_after(&mut c, end, &names, 100).await.unwrap().end.is_none());
    let first = finished_after(&mut c, begun, &names, 1).await.unwrap();
    assert!(first.full && first.end == Some(first.finished[0].at));
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn only_who_listens_is_due_when_a_buildset_ends_and_only_for_what_ends_after_it_was_defined() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    activate(&t.db, &wanted("1", vec![custom("deaf", &[], None)], vec![])).await;
    finish_set(&t, "up").await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let due = schedulers_due(&mut c).await.unwrap();
    assert!(!due.due && !due.listens);
    // It begins to listen: what ended before is not for it.
    activate(&t.db, &wanted("2", vec![custom("deaf", &["up"], None)], vec![])).await;
    let due = schedulers_due(&mut c).await.unwrap();
    assert!(!due.due && due.listens);
    finish_set(&t, "up").await;
    assert!(schedulers_due(&mut c).await.unwrap().due);
    // Another upstream does not move what it has heard.
    activate(&t.db, &wanted("3", vec![custom("deaf", &["up", "x"], None)], vec![])).await;
    assert!(schedulers_due(&mut c).await.unwrap().due);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn one_that_failed_is_left_alone_with_its_cursor_until_its_time_or_another_revision() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    let both = || vec![custom("a", &[], None), custom("b", &[], None)];
    activate(&t.db, &wanted("1", both(), vec![])).await;
    let change = [NewChange::default()];
    run_tx!(t.db, "test", |c| changes_insert(c, &change, None).await).unwrap();
    let fail = async |pause: Duration| {
        run_tx!(t.db, "test", |c| {
            let (taken, now) = schedulers_take(c).await?;
            let at: Cursor = Cursor { xid: i64::MAX, id: 0 };
            let advances: Vec<Advance> = taken
                .iter()
                .map(|s| match s.name.as_str() {
                    "a" => Advance { retry: Some((now + pause, s.failures + 1)), ..s.unchanged() },
                    _ => Advance { cursor: at, ..s.unchanged() },
                })
                .collect();
            schedulers_advance(c, &advances).await.map(|()| advances.len())
        })
        .unwrap()
    };
    assert_eq!(fail(Duration::from_secs(3600)).await, 2);
    let mut c = t.db.pool().acquire().await.unwrap();
    let due = schedulers_due(&mut c).await.unwrap();
    assert!(!due.due && due.wait.is_some_and(|s| s > 3500.0), "{due:?}");
    assert_eq!(fail(Duration::ZERO).await, 0, "and the other one has nothing to do");
    // A revision that leaves its row as it is may have repaired its function.
    activate(&t.db, &wanted("2", both(), vec![])).await;
    assert!(schedulers_due(&mut c).await.unwrap().due, "its change still waits");
    assert_eq!(fail(Duration::ZERO).await, 1);
    assert!(schedulers_due(&mut c).await.unwrap().due, "its time has come");
    assert_eq!(scalar::<i32>(&t, "select failures from schedulers where name = 'a'").await, 1);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_batch_is_bounded_and_two_takers_share_what_is_due() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    let timed = |i: usize| WantedScheduler { watches: false, looks: true, ..custom(&format!("s{i}"), &[], None) };
    activate(&t.db, &wanted("1", (0..BATCH * 2 + 50).map(timed).collect(), vec![])).await;
    let (mut one, mut other) = (t.db.begin().await.unwrap(), t.db.begin().await.unwrap());
    let (a, _) = schedulers_take(&mut one).await.unwrap();
    let (b, _) = schedulers_take(&mut other).await.unwrap();
    assert_eq!((a.len(), b.len()), (BATCH, BATCH));
    assert!(a.iter().all(|s| b.iter().all(|o| o.id != s.id)));
    let rest = |s: &Scheduler| Advance { next_at: None, ..s.unchanged() };
    schedulers_advance(&mut one, &a.iter().map(rest).collect::<Vec<_>>()).await.unwrap();
    one.commit().await.unwrap();
    // The other one ends without having decided: what it held is due again.
    other.rollback().await.unwrap();
    let mut c = t.db.pool().acquire().await.unwrap();
    assert!(schedulers_due(&mut c).await.unwrap().due);
    assert_eq!(scalar::<i64>(&t, "select count(*) from schedulers where next_at is not null").await, BATCH as i64 + 50);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_change_is_no_matter_of_those_that_do_not_look_at_changes() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    let both = |looks_at_changes: bool| {
        let by_the_clock = WantedScheduler {
            definition: json!({ "name": "clock", "looks": looks_at_changes }),
            watches: looks_at_changes,
            ..custom("clock", &[], None)
        };
        vec![custom("watches", &[], None), by_the_clock]
    };
    activate(&t.db, &wanted("1", both(false), vec![])).await;
    let change = [NewChange::default()];
    run_tx!(t.db, "test", |c| changes_insert(c, &change, None).await).unwrap();
    let taken = run_tx!(t.db, "test", |c| schedulers_take(c).await).unwrap().0;
    assert_eq!(taken.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["watches"]);
    // It begins to look at them: at those that come from now on.
    activate(&t.db, &wanted("2", both(true), vec![])).await;
    let taken = run_tx!(t.db, "test", |c| schedulers_take(c).await).unwrap().0;
    assert_eq!(taken.len(), 1);
    run_tx!(t.db, "test", |c| changes_insert(c, &change, None).await).unwrap();
    let taken = run_tx!(t.db, "test", |c| schedulers_take(c).await).unwrap().0;
    assert_eq!(taken.len(), 2);
    t.drop().await;
}

#[tokio::test]
async fn an_upstream_buildset_is_waited_for_until_it_ends_and_told_once() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    activate(&t.db, &wanted("1", vec![custom("down", &["up"], None)], vec![])).await;
    let id = SchedulerId(scalar::<i64>(&t, "select id from schedulers").await);
    let new = NewBuildset { scheduler: "up".into(), builders: vec!["b".into()], ..NewBuildset::default() };
    let (open, stray) = (submit_set(&t.db, &new).await, finish_set(&t, "other").await);
    let (done, set) = (finish_set(&t, "up").await, open.buildset.0);
    let mut c = t.db.pool().acquire().await.unwrap();
    upstream_wait(&mut c, id, &[set, done, stray]).await.unwrap();
    upstream_wait(&mut c, id, &[set, done]).await.unwrap();
    upstream_only(&mut c, id, "up").await.unwrap();
    let ended = async |c: &mut sqlx::PgConnection, of: Option<&[i64]>| -> Vec<i64> {
        upstream_ended(c, id, of, 10).await.unwrap().iter().map(|e| e.buildset).collect()
    };
    assert_eq!(ended(&mut c, None).await, [done]);
    assert_eq!(ended(&mut c, Some(&[set])).await, [0; 0]);
    upstream_done(&mut c, id, &[done]).await.unwrap();
    assert!(upstream_done(&mut c, id, &[done]).await.is_err(), "nothing is done with twice");
    run_tx!(t.db, "test", |c| requests_cancel(c, &open.requests, "test").await).unwrap();
    assert_eq!(ended(&mut c, Some(&[set])).await, [set]);
    // One that is no Dependent waits for nothing.
    activate(&t.db, &wanted("2", vec![custom("down", &["up"], None)], vec![])).await;
    assert_eq!(scalar::<i64>(&t, "select count(*) from scheduler_upstreams").await, 0);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn enabling_and_a_wish_to_run_last_until_they_are_done_with() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    activate(&t.db, &wanted("1", vec![custom("s", &[], None)], vec![])).await;
    let id = scalar::<i64>(&t, "select id from schedulers").await;
    let enable = async |on: bool| run_tx!(t.db, "test", |c| scheduler_enable(c, id, on, "ada").await).unwrap();
    assert!(enable(false).await && !enable(false).await);
    activate(&t.db, &wanted("2", vec![custom("s", &[], Some(1))], vec![])).await;
    assert!(!scalar::<bool>(&t, "select enabled from schedulers").await);
    assert!(enable(true).await);
    assert!(scalar::<bool>(&t, "select enabled_at is not null and next_at <= tidemill_now() from schedulers").await);
    sql(&t, "update schedulers set next_at = null").await;
    for _ in 0..2 {
        run_tx!(t.db, "test", |c| scheduler_ask(c, id, "ada\0").await).unwrap();
    }
    let mut taken = run_tx!(t.db, "test", |c| schedulers_take(c).await).unwrap().0;
    let taken = taken.remove(0);
    assert_eq!(taken.run_asked_by.as_deref(), Some("ada\u{fffd}"));
    let advance = async |ran: bool| {
        let all = [Advance { ran, ..taken.unchanged() }];
        run_tx!(t.db, "test", |c| schedulers_advance(c, &all).await).unwrap();
        scalar::<bool>(&t, "select run_asked_at is not null from schedulers").await
    };
    assert!(advance(false).await && !advance(true).await);
    assert_eq!(scalar::<i64>(&t, "select count(*) from events where kind = 'schedulers.updated'").await, 3);
    // What was asked of one that is then disabled is not done when it is enabled again.
    run_tx!(t.db, "test", |c| scheduler_ask(c, id, "ada").await).unwrap();
    assert!(enable(false).await && enable(true).await);
    assert!(scalar::<bool>(&t, "select run_asked_at is null from schedulers").await);
    t.drop().await;
}

#[tokio::test]
async fn what_came_while_it_was_disabled_is_not_its_own_though_nobody_had_looked() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    activate(&t.db, &wanted("1", vec![custom("s", &["up"], None)], vec![])).await;
    let id = scalar::<i64>(&t, "select id from schedulers").await;
    let enable = async |on: bool| run_tx!(t.db, "test", |c| scheduler_enable(c, id, on, "ada").await).unwrap();
    enable(false).await;
    let announce = async || {
        run_tx!(t.db, "test", |c| changes_insert(c, &[NewChange::default()], None).await).unwrap();
        finish_set(&t, "up").await
    };
    announce().await;
    enable(true).await;
    sql(&t, "update schedulers set next_at = null").await;
    assert_eq!(run_tx!(t.db, "test", |c| schedulers_take(c).await).unwrap().0.len(), 0);
    let own = announce().await;
    let taken = run_tx!(t.db, "test", |c| schedulers_take(c).await).unwrap().0.remove(0);
    let mut c = t.db.pool().acquire().await.unwrap();
    assert_eq!(changes_after(&mut c, taken.cursor, 10).await.unwrap().changes.len(), 1);
    let heard = finished_after(&mut c, taken.heard, &["up".to_owned()], 10).await.unwrap();
    assert_eq!(heard.finished.iter().map(|f| f.buildset.0).collect::<Vec<_>>(), [own]);
    // Enabled twice it skips nothing.
    enable(true).await;
    assert_eq!(run_tx!(t.db, "test", |c| schedulers_take(c).await).unwrap().0[0].cursor, taken.cursor);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_buildset_without_builders_is_heard_of_as_any_other() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    activate(&t.db, &wanted("1", vec![], vec![])).await;
    let new = NewBuildset { scheduler: "up".into(), ..NewBuildset::default() };
    let made = submit_set(&t.db, &new).await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let page = finished_after(&mut c, START, &["up".to_owned()], 10).await.unwrap();
    assert_eq!((page.made.len(), page.finished.len()), (1, 1));
    assert_eq!((page.finished[0].buildset, page.finished[0].results), (made.buildset, Results::Success.code()));
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn one_with_an_interval_is_due_when_it_is_defined_and_when_that_changes() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    activate(&t.db, &wanted("1", vec![custom("s", &[], Some(3_600_000_000))], vec![])).await;
    let mut c = t.db.pool().acquire().await.unwrap();
    assert!(schedulers_due(&mut c).await.unwrap().due);
    sql(&t, "update schedulers set next_at = tidemill_now() + interval '1 hour'").await;
    activate(&t.db, &wanted("2", vec![custom("s", &[], Some(3_600_000_000))], vec![])).await;
    assert!(!schedulers_due(&mut c).await.unwrap().due);
    activate(&t.db, &wanted("3", vec![custom("s", &[], Some(60_000_000))], vec![])).await;
    assert!(schedulers_due(&mut c).await.unwrap().due);
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_source_that_a_function_polls_is_taken_only_by_who_has_a_place_for_it() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    let source = |name: &str, kind: Value| (name.to_owned(), json!({ "name": name, "kind": kind }));
    let sources = || {
        vec![
            source("own", json!({ "custom": { "poll_interval_us": 1 } })),
            source("git", json!({ "git_poller": { "repourl": "r" } })),
        ]
    };
    activate(&t.db, &wanted("1", vec![], sources())).await;
    sql(&t, "update change_sources set next_at = tidemill_now() - interval '1 day' where name = 'own'").await;
    const ALL: Room = Room { custom: true, others: true, failing: true };
    const OTHERS: Room = Room { custom: false, ..ALL };
    let mut c = t.db.pool().acquire().await.unwrap();
    let master = master_insert(&mut c, "m", "u").await.unwrap();
    let term = Duration::from_secs(600);
    let git = change_source_take(&mut c, master, term, OTHERS).await.unwrap().unwrap();
    assert_eq!(git.name, "git");
    assert!(change_source_take(&mut c, master, term, OTHERS).await.unwrap().is_none());
    assert!(change_sources_wait(&mut c, OTHERS).await.unwrap().is_some_and(|s| s > 500.0));
    assert!(change_sources_wait(&mut c, ALL).await.unwrap().is_some_and(|s| s <= 0.0));
    let own = change_source_take(&mut c, master, term, ALL).await.unwrap().unwrap();
    assert_eq!((own.name.as_str(), own.cursor.as_ref()), ("own", None));
    // Given back, it is there at once; a text that Postgres cannot hold is stored as well as it can be.
    change_source_release(&mut c, &own).await.unwrap();
    let own = change_source_take(&mut c, master, term, ALL).await.unwrap().unwrap();
    let state = json!({ "k\0": ["v\0"] });
    let new = [NewChange { author: "a\0".into(), ..NewChange::default() }];
    run_tx!(t.db, "test", |c| change_source_polled(c, &own, &new, &state, Duration::ZERO, None).await).unwrap();
    let own = change_source_take(&mut c, master, term, ALL).await.unwrap().unwrap();
    assert_eq!(own.cursor, Some(json!({ "k\u{fffd}": ["v\u{fffd}"] })));
    // After a failure it waits, but not for another revision.
    change_source_failed(&mut c, &own, "traceback", Duration::from_secs(3600)).await.unwrap();
    assert!(change_source_take(&mut c, master, term, ALL).await.unwrap().is_none());
    // While sources that failed have no place left, the others go on.
    sql(&t, "update change_sources set next_at = tidemill_now(), held_until = null").await;
    const GOOD: Room = Room { failing: false, ..ALL };
    assert!(change_source_take(&mut c, master, term, GOOD).await.unwrap().is_some_and(|s| s.name == "git"));
    assert!(change_source_take(&mut c, master, term, GOOD).await.unwrap().is_none());
    assert!(change_sources_wait(&mut c, GOOD).await.unwrap().is_some_and(|s| s > 500.0));
    activate(&t.db, &wanted("2", vec![], sources())).await;
    assert!(change_source_take(&mut c, master, term, ALL).await.unwrap().is_some_and(|s| s.name == "own"));
    drop(c);
    t.drop().await;
}
