//! Numbers of steps, estimates from earlier builds, and the changes that a claim brings.

mod common;

use common::*;
use std::collections::BTreeMap;
use tidemill_model::Results::{Failure, Success};
use tidemill_model::wire::{CLAIM_CHANGES_MAX, Claim, Event};
use tidemill_model::{NewChange, Properties};
use tidemill_schema::changes::changes_insert;
use tidemill_schema::ingest::Outcome;
use tidemill_schema::read::Query;
use tidemill_schema::read::builds::{self, Build};
use tidemill_schema::read::steps::{self, Step};
use tidemill_schema::requests::NewBuildset;
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

fn numbers(all: &[(&str, f64)]) -> BTreeMap<String, f64> {
    all.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect()
}

fn started(step: u32, name: &str) -> Event {
    Event::StepStarted { step, name: name.into(), at_us: 0 }
}

fn ended(step: u32) -> Event {
    Event::StepFinished {
        step,
        results: Success,
        summary: "ok".into(),
        hidden: false,
        lock_wait_us: None,
        at_us: 1_000,
    }
}

async fn steps_of(t: &TestDb, build: i64) -> Vec<Step> {
    let mut c = t.db.pool().acquire().await.unwrap();
    steps::list(&mut c, &[steps::of_build(build)], &Query::default()).await.unwrap()
}

async fn build_of(t: &TestDb, build: i64) -> Build {
    let mut c = t.db.pool().acquire().await.unwrap();
    builds::one(&mut c, &[builds::by_id(build)], &Query::default()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_steps_numbers_are_stored_with_its_last_word_on_each() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    let c = claim(&t.db, session, 1, 1, 0).await.remove(0);
    let stored = Outcome::Stored { stop: None };
    let first = vec![
        started(1, "make"),
        Event::StepStatistics { step: 1, values: numbers(&[("warnings", 3.0), ("a\0b", 0.5)]) },
        Event::StepStatistics { step: 1, values: numbers(&[("warnings", 4.0)]) },
    ];
    assert_eq!(store(&t.db, batch(&c, 1, first)).await, stored);
    let long = "x".repeat(5_000);
    let second = vec![Event::StepStatistics {
        step: 1,
        values: numbers(&[("warnings", 1e300), (&long, 1.0), ("none", f64::NAN)]),
    }];
    assert_eq!(store(&t.db, batch(&c, 2, second)).await, stored);
    let step = steps_of(&t, c.build).await.remove(0);
    assert_eq!(step.statistics, numbers(&[("warnings", 1e300), ("a\u{fffd}b", 0.5), (&"x".repeat(200), 1.0)]));
    t.drop().await;
}

#[tokio::test]
async fn progress_is_kept_with_the_step_and_makes_no_event() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    submit(&t.db, "linux").await;
    let c = claim(&t.db, session, 1, 1, 0).await.remove(0);
    let progress = |all: &[(&str, f64)]| Event::StepProgress { step: 1, values: numbers(all) };
    store(&t.db, batch(&c, 1, vec![started(1, "make"), progress(&[("tests", 1.0)])])).await;
    let events = "select count(*) from events";
    let before: i64 = scalar(&t, events).await;
    store(&t.db, batch(&c, 2, vec![progress(&[("tests", 7.0), ("files", 2.0)])])).await;
    assert_eq!(steps_of(&t, c.build).await[0].progress, numbers(&[("tests", 7.0), ("files", 2.0)]));
    assert_eq!(scalar::<i64>(&t, events).await, before);
    store(&t.db, batch(&c, 3, vec![progress(&[("tests", 9.0)]), ended(1)])).await;
    assert_eq!(scalar::<i64>(&t, events).await, before + 1, "the end of the step is one");
    assert_eq!(steps_of(&t, c.build).await[0].progress["tests"], 9.0);
    t.drop().await;
}

#[tokio::test]
async fn a_running_build_is_expected_to_take_as_long_as_the_good_ones_before_it() {
    let t = TestDb::new().await;
    project(&t.db, &["linux", "other"]).await;
    let session = worker(&t.db, "w").await;
    let mut newest = 0;
    // Minutes that each took; the failed one does not count.
    for (poll, (minutes, results)) in (1..).zip([(10, Success), (30, Success), (999, Failure), (20, Success)]) {
        submit(&t.db, "linux").await;
        let c = claim(&t.db, session, poll, 1, newest).await.remove(0);
        newest = c.build;
        if poll == 1 {
            assert_eq!(build_of(&t, c.build).await.estimated_complete_at, None, "nobody knows yet");
        }
        let last = vec![started(1, "make"), ended(1), finished(results)];
        store(&t.db, batch(&c, 1, last)).await;
        let past = "update builds set started_at = complete_at - make_interval(mins => $1) where id = $2";
        sqlx::query(past).bind(minutes).bind(c.build).execute(t.db.pool()).await.unwrap();
        let past = "update steps set started_at = complete_at - make_interval(mins => $1 / 2) where build_id = $2";
        sqlx::query(past).bind(minutes).bind(c.build).execute(t.db.pool()).await.unwrap();
        assert_eq!(build_of(&t, c.build).await.estimated_complete_at, None, "it is over");
    }
    submit(&t.db, "linux").await;
    let c = claim(&t.db, session, 9, 1, newest).await.remove(0);
    store(&t.db, batch(&c, 1, vec![started(1, "other"), ended(1), started(2, "make")])).await;
    let build = build_of(&t, c.build).await;
    assert_eq!(build.estimated_complete_at.unwrap() - build.started_at, 20 * 60, "the median");
    let all = steps_of(&t, c.build).await;
    assert_eq!(all[0].estimated_complete_at, None);
    // Of its steps all four ended well: 5, 10, 15 and 499 minutes.
    assert_eq!(all[1].estimated_complete_at.unwrap() - all[1].started_at, 10 * 60);
    t.drop().await;
}

async fn submitted_with(t: &TestDb, changes: &[NewChange]) {
    let ids = run_tx!(t.db, "test", |c| changes_insert(c, changes, None).await).unwrap();
    let set = NewBuildset { builders: vec!["linux".into()], changes: ids, ..NewBuildset::default() };
    submit_set(&t.db, &set).await;
}

#[tokio::test]
async fn a_claim_brings_the_changes_also_when_it_is_delivered_again() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let mut properties = Properties::new();
    properties.set("ticket", 7, "Change");
    let whole = NewChange {
        author: "A <a@example.org>".into(),
        committer: Some("C".into()),
        comments: "words\nmore".into(),
        files: vec!["a/b".into(), "c".into()],
        branch: Some("main".into()),
        revision: Some("abc".into()),
        repository: "r".into(),
        project: "p".into(),
        codebase: "core".into(),
        category: Some("x".into()),
        revlink: Some("https://example.org/abc".into()),
        when: Some(time::OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()),
        properties,
        parents: vec![],
        outsider: None,
    };
    submitted_with(&t, std::slice::from_ref(&whole)).await;
    let claims = claim(&t.db, session, 1, 1, 0).await;
    assert_eq!(claims[0].changes, [whole]);
    let again = claim(&t.db, session, 1, 1, 0).await;
    assert_eq!((again[0].build, &again[0].changes), (claims[0].build, &claims[0].changes));
    submit(&t.db, "linux").await;
    let without = claim(&t.db, session, 2, 1, claims[0].build).await;
    assert!(without[0].changes.is_empty());
    assert!(!serde_json::to_string(&without[0]).unwrap().contains("changes"), "none cost nothing");
    t.drop().await;
}

#[tokio::test]
async fn of_very_many_changes_a_claim_brings_the_newest_within_a_bound() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let named = |n: usize, comments: &str| NewChange {
        revision: Some(n.to_string()),
        comments: comments.to_owned(),
        ..NewChange::default()
    };
    let many: Vec<_> = (0..250).map(|n| named(n, "")).collect();
    submitted_with(&t, &many).await;
    let large: Vec<_> = (0..4).map(|n| named(n, &"x".repeat(400_000))).collect();
    submitted_with(&t, &large).await;
    let claims = claim(&t.db, session, 1, 2, 0).await;
    let revisions = |c: &Claim| c.changes.iter().map(|c| c.revision.clone().unwrap()).collect::<Vec<_>>();
    let newest: Vec<_> = (50..250).map(|n| n.to_string()).collect();
    assert_eq!(newest.len() as i64, CLAIM_CHANGES_MAX);
    assert_eq!((revisions(&claims[0]), revisions(&claims[1])), (newest, vec!["2".to_owned(), "3".to_owned()]));
    t.drop().await;
}
