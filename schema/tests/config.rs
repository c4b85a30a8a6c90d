//! What activating a revision does to rows that are already there.

mod common;
use common::*;
use serde_json::json;
use tidemill_schema::config::Wanted;
use tidemill_schema::testing::TestDb;

fn wanted(schedulers: &[&str], repourl: &str) -> Wanted {
    Wanted {
        schedulers: schedulers.iter().map(|n| ((*n).to_owned(), json!({ "name": n }))).collect(),
        change_sources: vec![("git".into(), json!({ "kind": { "git_poller": { "repourl": repourl } } }))],
        ..Wanted::default()
    }
}

#[tokio::test]
async fn a_scheduler_that_comes_back_has_forgotten_its_old_timer() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&["s"], "a")).await;
    sql(&t, r#"update schedulers set state = '{"collected": [1], "fires_at_us": 1}', next_at = now()"#).await;
    activate(&t.db, &wanted(&[], "a")).await;
    activate(&t.db, &wanted(&["s"], "a")).await;
    assert!(scalar::<bool>(&t, "select state = '{}' and next_at is null and active from schedulers").await);
    t.drop().await;
}

#[tokio::test]
async fn a_timer_survives_a_revision_that_keeps_its_scheduler() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&["s"], "a")).await;
    sql(&t, r#"update schedulers set state = '{"collected": [1]}', next_at = now()"#).await;
    activate(&t.db, &wanted(&["s", "other"], "a")).await;
    assert!(scalar::<bool>(&t, "select state <> '{}' and next_at is not null from schedulers where name = 's'").await);
    t.drop().await;
}

#[tokio::test]
async fn a_source_that_changes_its_repository_begins_anew_and_takes_the_row_from_a_running_poll() {
    let t = TestDb::new().await;
    activate(&t.db, &wanted(&[], "a")).await;
    sql(&t, r#"insert into masters (name, release) values ('m', '0');
              update change_sources set cursor = '{"main": "1"}', holder = (select id from masters), held_until = 'infinity'"#).await;
    activate(&t.db, &wanted(&["s"], "a")).await;
    assert!(scalar::<bool>(&t, "select cursor is not null and holder is not null from change_sources").await);
    activate(&t.db, &wanted(&["s"], "b")).await;
    assert!(scalar::<bool>(&t, "select cursor is null and holder is null from change_sources").await);
    t.drop().await;
}
