//! What activating a revision does to rows that are already there.

mod common;
use common::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_model::Properties;
use tidemill_schema::config::{
    Wanted, WantedBuilder, WantedScheduler, revision_activate, revision_insert, revision_redefine,
};
use tidemill_schema::testing::TestDb;
use tidemill_schema::{Error, run_tx};

/// One that looks at changes.
fn watching(name: &str, definition: Value) -> WantedScheduler {
    WantedScheduler { name: name.into(), definition, watches: true, ..WantedScheduler::default() }
}

fn wanted(schedulers: &[&str], repourl: &str) -> Wanted {
    Wanted {
        schedulers: schedulers.iter().map(|n| watching(n, json!({ "name": n }))).collect(),
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

#[tokio::test]
async fn a_scheduler_of_another_kind_begins_with_an_empty_state_at_the_same_change() {
    let t = TestDb::new().await;
    let kind = |kind: serde_json::Value| Wanted {
        schedulers: vec![watching("s", json!({ "name": "s", "kind": kind }))],
        ..Wanted::default()
    };
    activate(&t.db, &kind(json!({ "single_branch": { "tree_stable_us": 1 } }))).await;
    sql(&t, r#"update schedulers set state = '{"collected": [1]}', next_at = now(), cursor_xid = 7"#).await;
    activate(&t.db, &kind(json!({ "single_branch": { "tree_stable_us": 2 } }))).await;
    assert!(
        scalar::<bool>(&t, "select state <> '{}' and next_at is not null and cursor_xid = 7 from schedulers").await
    );
    for other in
        [json!("triggerable"), json!({ "declared": { "kind": "Nightly" } }), json!({ "declared": { "kind": "Try" } })]
    {
        sql(&t, r#"update schedulers set state = '{"x": 1}', next_at = now()"#).await;
        activate(&t.db, &kind(other)).await;
        assert!(scalar::<bool>(&t, "select state = '{}' and next_at is null and cursor_xid = 7 from schedulers").await);
    }
    t.drop().await;
}

/// Many of everything; `marked` says which builder differs.
fn large(n: usize, marked: usize) -> Wanted {
    let builder = |i: usize| {
        let mut properties = Properties::new();
        properties.set("os", format!("os{}", i % 7), "Builder");
        WantedBuilder {
            name: format!("b{i}"),
            tags: (0..i % 3).map(|t| format!("t{t}")).collect(),
            description: if i == marked { "marked".into() } else { String::new() },
            workernames: vec![format!("w{}", i % 50), "spare".into()],
            properties,
            steps: vec!["compile".into(), "test".into()],
            ..WantedBuilder::default()
        }
    };
    Wanted {
        builders: (0..n).map(builder).collect(),
        schedulers: (0..n / 10).map(|i| watching(&format!("s{i}"), json!({ "name": format!("s{i}") }))).collect(),
        change_sources: (0..n / 10)
            .map(|i| (format!("c{i}"), json!({ "kind": { "git_poller": { "repourl": i } } })))
            .collect(),
        ..Wanted::default()
    }
}

/// Which version of each row there is: who wrote it, who locked it, and where it stands.
async fn versions(t: &TestDb) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select 'builder ' || name, concat_ws(' ', xmin, xmax, ctid) from builders
         union all select 'worker ' || builder_id || ' ' || worker_name, concat_ws(' ', xmin, xmax, ctid) from builder_workers
         union all select 'lane ' || id, concat_ws(' ', xmin, xmax, ctid) from lanes
         union all select 'scheduler ' || name, concat_ws(' ', xmin, xmax, ctid) from schedulers
         union all select 'source ' || name, concat_ws(' ', xmin, xmax, ctid) from change_sources
         union all select 'settings ' || id, concat_ws(' ', xmin, ctid) from builder_settings",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    rows.into_iter().collect()
}

#[tokio::test]
async fn rows_that_do_not_change_are_neither_written_nor_locked_by_an_activation() {
    let t = TestDb::new().await;
    activate(&t.db, &large(200, 7)).await;
    let before = versions(&t).await;
    assert_eq!(before.len(), 200 + 400 + 200 + 20 + 20 + 7);
    let ids = "select sum(last_value)::bigint from pg_sequences where sequencename like '%_id_seq'
                  and sequencename ~ '^(builders|lanes|schedulers|change_sources|builder_settings)_'";
    let drawn: i64 = scalar(&t, ids).await;
    let mut wanted = large(200, 9);
    wanted.schedulers[3].definition = json!({ "name": "other" });
    activate(&t.db, &wanted).await;
    let after = versions(&t).await;
    let changed: Vec<&String> = after.iter().filter(|(k, v)| before.get(*k) != Some(v)).map(|(k, _)| k).collect();
    assert_eq!(changed, ["builder b7", "builder b9", "scheduler s3"]);
    assert_eq!(scalar::<i64>(&t, ids).await, drawn, "no id is drawn for a row that is there");
    assert_eq!(scalar::<String>(&t, "select name from builders where description = 'marked'").await, "b9");
    t.drop().await;
}

#[tokio::test]
async fn builders_come_go_and_come_back_with_their_ids_workers_and_lanes() {
    let t = TestDb::new().await;
    activate(&t.db, &large(5, 0)).await;
    let id: i64 = scalar(&t, "select id from builders where name = 'b4'").await;
    let mut fewer = large(4, 0);
    fewer.builders[1].workernames = vec!["other".into(), "other".into()];
    fewer.builders[2].workernames = vec![];
    activate(&t.db, &fewer).await;
    let workers = "select string_agg(b.name || ':' || w.worker_name, ' ' order by b.name, w.worker_name)
                     from builders b join builder_workers w on w.builder_id = b.id where b.active";
    assert_eq!(scalar::<String>(&t, workers).await, "b0:spare b0:w0 b1:other b3:spare b3:w3");
    assert!(!scalar::<bool>(&t, "select active from builders where name = 'b4'").await);
    activate(&t.db, &large(6, 0)).await;
    assert_eq!(scalar::<i64>(&t, "select id from builders where name = 'b4' and active").await, id);
    assert_eq!(scalar::<i64>(&t, "select count(*) from lanes where priority = 0").await, 6);
    assert_eq!(scalar::<i64>(&t, "select build_number_next(id) from builders where name = 'b5'").await, 1);
    let tags: Vec<String> = scalar(&t, "select tags from builders where name = 'b5'").await;
    assert_eq!(tags, ["t0", "t1"]);
    t.drop().await;
}

#[tokio::test]
async fn a_thousand_builders_are_applied_and_one_of_them_is_changed_in_bounded_time() {
    let t = TestDb::new().await;
    let begun = Instant::now();
    activate(&t.db, &large(1000, 0)).await;
    let first = begun.elapsed();
    let begun = Instant::now();
    activate(&t.db, &large(1000, 500)).await;
    let second = begun.elapsed();
    eprintln!("1,000 builders: first {first:?}, one changed {second:?}");
    assert_eq!(scalar::<i64>(&t, "select count(*) from builders where active").await, 1000);
    // Wide bounds: a busy machine is no fault of ours. Figures come from the bench.
    assert!(first < Duration::from_secs(120), "{first:?}");
    assert!(second < Duration::from_secs(60), "{second:?}");
    t.drop().await;
}

#[tokio::test]
async fn going_back_to_an_older_revision_is_an_activation_of_its_own() {
    let t = TestDb::new().await;
    for wanted in [&large(1, 0), &large(2, 0), &large(1, 0), &large(1, 0)] {
        activate(&t.db, wanted).await;
    }
    let history = "select string_agg(revision_id::text, ' ' order by id) from activations";
    assert_eq!(scalar::<String>(&t, history).await, "1 2 1");
    assert_eq!(scalar::<i64>(&t, "select count(*) from config_revisions").await, 2);
    assert_eq!(scalar::<i64>(&t, "select revision_id from active_revision").await, 1);
    t.drop().await;
}

/// A newer release sees more in the same files.
#[tokio::test]
async fn the_same_files_applied_again_bring_what_a_newer_release_sees_in_them() {
    let t = TestDb::new().await;
    let files = tidemill_model::revision::Files::single("# the same");
    let apply = async |definition: Value, level: i32, wanted: &Wanted, active: bool| {
        run_tx!(t.db, "test", |c| {
            let id = revision_insert(c, &files, &definition, level, "", "test").await?;
            match active {
                true => {
                    revision_redefine(c, id, &definition, level).await?;
                    revision_activate(c, id, wanted).await
                }
                false => Ok(false),
            }
        })
        .unwrap()
    };
    let of = async || -> (i32, String) {
        sqlx::query_as("select vocabulary, description from config_revisions, builders where name = 'b0'")
            .fetch_one(t.db.pool())
            .await
            .unwrap()
    };
    assert!(apply(json!({ "a": 1 }), 1, &large(3, 9), true).await);
    assert_eq!(of().await, (1, String::new()));
    // Only stored: what workers need for the active revision stays.
    assert!(!apply(json!({ "a": 2 }), 2, &large(3, 0), false).await);
    assert_eq!(of().await, (1, String::new()));
    assert!(!apply(json!({ "a": 2 }), 2, &large(3, 0), true).await, "the same revision is active");
    assert_eq!(of().await, (2, "marked".to_owned()));
    assert_eq!(scalar::<i64>(&t, "select count(*) from activations").await, 1);
    t.drop().await;
}

#[tokio::test]
async fn more_new_builders_than_one_activation_can_add_are_refused_with_what_to_do() {
    let t = TestDb::new().await;
    let wanted = large(5001, 0);
    let files = tidemill_model::revision::Files::single("# many");
    let error = run_tx!(t.db, "test", |c| {
        let id = revision_insert(c, &files, &json!({}), 1, "", "test").await?;
        revision_activate(c, id, &wanted).await
    })
    .unwrap_err();
    assert!(matches!(&error, Error::Conflict(said) if said.contains("in parts")), "{error}");
    assert_eq!(scalar::<i64>(&t, "select count(*) from builders").await, 0);
    t.drop().await;
}
