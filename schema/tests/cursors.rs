//! Cursors lose nothing, whatever commits late; and a database that moved works again.

mod common;
use common::*;
use sqlx::Connection;
use tidemill_model::NewChange;
use tidemill_schema::changes::{Cursor, change_insert_once, changes_after, changes_insert};
use tidemill_schema::events::{events_after, events_end};
use tidemill_schema::migrate;
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

/// The horizon is that of the whole server, so these tests go one after another.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn change(text: &str) -> NewChange {
    NewChange { comments: text.into(), revision: Some(text.into()), ..NewChange::default() }
}

async fn insert(t: &TestDb, text: &str) -> i64 {
    let new = [change(text)];
    run_tx!(t.db, "test", |c| changes_insert(c, &new, None).await).unwrap()[0].0
}

const START: Cursor = Cursor { xid: 0, id: 0 };

/// Waits until all that was committed can be read: the server itself, as it analyzes a table, may
/// hold the horizon back for a moment.
async fn settled(t: &TestDb) {
    let all = "select not exists (select from changes where xid >= tidemill_horizon())
                  and not exists (select from events where xid >= tidemill_horizon())";
    while !scalar::<bool>(t, all).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_change_that_commits_late_is_read_late_and_not_lost() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    // The first takes its id, and stays open while the second commits.
    let mut slow = t.db.pool().begin().await.unwrap();
    let first = changes_insert(&mut slow, &[change("slow")], None).await.unwrap()[0].0;
    let second = insert(&t, "fast").await;
    assert!(second > first);
    let mut c = t.db.pool().acquire().await.unwrap();
    let page = changes_after(&mut c, START, 100).await.unwrap();
    assert!(page.changes.is_empty(), "nothing above the horizon is read");
    assert!(page.more_above_horizon);
    slow.commit().await.unwrap();
    settled(&t).await;
    let page = changes_after(&mut c, START, 100).await.unwrap();
    let read: Vec<i64> = page.changes.iter().map(|(_, ch)| ch.id.0).collect();
    assert_eq!(read.len(), 2);
    assert!(read.contains(&first) && read.contains(&second));
    let end = page.changes.last().unwrap().0;
    assert!(changes_after(&mut c, end, 100).await.unwrap().changes.is_empty());
    drop(c);
    t.drop().await;
}

#[tokio::test]
async fn a_writer_held_open_in_another_database_delays_events_and_not_claims() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let from = events_end(&mut c).await.unwrap();
    let other = TestDb::new().await;
    let mut writer = sqlx::PgConnection::connect(&other.url).await.unwrap();
    let mut open = writer.begin().await.unwrap();
    sqlx::raw_sql("create table held (i int)").execute(&mut *open).await.unwrap();
    submit(&t.db, "linux").await;
    assert_eq!(claim(&t.db, session, 1, 1, 0).await.len(), 1, "claims do not use the horizon");
    let page = events_after(&mut c, from, 100).await.unwrap();
    let seen_early = page.events.iter().filter(|e| e.kind == "builds.new").count();
    assert_eq!(seen_early, 0);
    assert!(page.more_above_horizon);
    open.rollback().await.unwrap();
    settled(&t).await;
    let page = events_after(&mut c, from, 100).await.unwrap();
    assert!(page.events.iter().any(|e| e.kind == "builds.new"));
    assert!(!page.more_above_horizon);
    drop(c);
    writer.close().await.unwrap();
    other.drop().await;
    t.drop().await;
}

#[tokio::test]
async fn a_change_posted_twice_with_one_key_is_one_change() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    let (a, b) =
        tokio::join!(async { run_tx!(t.db, "test", |c| change_insert_once(c, &change("same"), "key").await) }, async {
            run_tx!(t.db, "test", |c| change_insert_once(c, &change("same"), "key").await)
        },);
    assert_eq!(a.unwrap(), b.unwrap());
    let other = run_tx!(t.db, "test", |c| change_insert_once(c, &change("other"), "key").await);
    assert!(other.unwrap_err().to_string().contains("idempotency key"));
    t.drop().await;
}

#[tokio::test]
async fn migrating_twice_or_by_two_at_once_is_migrating_once() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    let (a, b) = tokio::join!(migrate::migrate(&t.db), migrate::migrate(&t.db));
    assert_eq!((a.unwrap().applied, b.unwrap().applied), (0, 0));
    migrate::check(&t.db).await.unwrap();
    t.drop().await;
}

#[tokio::test]
async fn a_database_restored_elsewhere_works_again_after_migrate_and_its_old_workers_are_fenced() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    let old = claim(&t.db, session, 1, 1, 0).await.remove(0);
    for text in ["one", "two", "three"] {
        insert(&t, text).await;
    }
    // A scheduler that has read the first two changes.
    sql(
        &t,
        "insert into schedulers (name, definition, cursor_xid, cursor_id)
             select 's', '{}', xid, id from changes order by xid, id offset 1 limit 1",
    )
    .await;
    // As after a restore: rows say another cluster, with xids far ahead of ours.
    sql(
        &t,
        "update cluster set system_identifier = '1';
             update changes set xid = xid + 1000000000;
             update schedulers set cursor_xid = cursor_xid + 1000000000",
    )
    .await;
    let error = migrate::check(&t.db).await.unwrap_err();
    assert!(error.to_string().contains("tidemill migrate"), "{error}");
    let report = migrate::migrate(&t.db).await.unwrap();
    assert!(report.rebased);
    assert_eq!(report.epoch, 2);
    migrate::check(&t.db).await.unwrap();
    insert(&t, "four").await;
    let at = sqlx::query_as::<_, (i64, i64)>("select cursor_xid, cursor_id from schedulers")
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    settled(&t).await;
    let mut c = t.db.pool().acquire().await.unwrap();
    let page = changes_after(&mut c, Cursor { xid: at.0, id: at.1 }, 100).await.unwrap();
    let read: Vec<&str> = page.changes.iter().map(|(_, ch)| ch.new.comments.as_str()).collect();
    assert_eq!(read, ["three", "four"], "what the scheduler had not read, in its old order, then the new");
    drop(c);
    let outcome = finish(&t.db, &old, tidemill_model::Results::Success).await;
    assert_eq!(outcome, tidemill_schema::ingest::Outcome::LeaseLost);
    assert!(claim(&t.db, session, 2, 1, old.build).await.is_empty());
    t.drop().await;
}

/// Readers compare each row with the horizon: a call of a function for each would cost more than the reading.
#[tokio::test]
async fn the_horizon_is_put_into_the_statements_that_ask_for_it() {
    let _alone = ALONE.lock().await;
    let t = TestDb::new().await;
    let plan: Vec<String> =
        sqlx::query_scalar("explain (verbose) select id from changes where xid < tidemill_horizon()")
            .fetch_all(t.db.pool())
            .await
            .unwrap();
    let plan = plan.join("\n");
    assert!(plan.contains("pg_current_snapshot()") && !plan.contains("tidemill_horizon"), "{plan}");
    t.drop().await;
}
