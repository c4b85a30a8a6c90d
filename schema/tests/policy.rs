//! Questions of policies on a real database.

mod common;

use common::*;
use serde_json::{Value, json};
use std::time::Duration;
use tidemill_model::{NewChange, Results};
use tidemill_schema::changes::changes_insert;
use tidemill_schema::read::policy::{About, AskError, ask};
use tidemill_schema::testing::TestDb;
use tidemill_schema::{Db, run_tx};

const WITHIN: Duration = Duration::from_secs(30);

async fn asked(db: &Db, about: About, filters: &[(&str, Value)], limit: i64) -> Result<Vec<Value>, AskError> {
    let filters: Vec<(String, Value)> = filters.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
    ask(db, about, &filters, limit, WITHIN).await
}

async fn ids(db: &Db, about: About, key: &str, filters: &[(&str, Value)]) -> Vec<i64> {
    let rows = asked(db, about, filters, 200).await.unwrap_or_else(|e| panic!("{filters:?}: {e}"));
    rows.iter().map(|r| r[key].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn policies_are_answered_with_the_newest_rows_that_fit() {
    let test = TestDb::new().await;
    let db = &test.db;
    project(db, &["fast", "slow"]).await;
    let session = worker(db, "w").await;
    let mut newest = 0;
    for (n, results) in [Results::Success, Results::Failure, Results::Success].into_iter().enumerate() {
        submit(db, "fast").await;
        let claims = claim(db, session, n as u64 + 1, 1, newest).await;
        newest = claims[0].build;
        finish(db, &claims[0], results).await;
    }
    submit(db, "slow").await;
    let builds = async |filters: &[(&str, Value)]| ids(db, About::Builds, "buildid", filters).await;
    let all = builds(&[]).await;
    assert_eq!(all.len(), 3);
    assert!(all.is_sorted_by(|a, b| a > b), "{all:?}");
    assert_eq!(builds(&[("builder", json!("fast")), ("results", json!(2))]).await, [all[1]]);
    assert_eq!(builds(&[("results", json!([0, 1])), ("worker", json!("w"))]).await, [all[0], all[2]]);
    assert_eq!(builds(&[("branch", Value::Null)]).await, all);
    assert_eq!(builds(&[("branch", json!("main"))]).await, Vec::<i64>::new());
    assert_eq!(builds(&[("revision", Value::Null), ("complete", json!(true))]).await, all);
    assert_eq!(builds(&[("complete", json!(false))]).await, Vec::<i64>::new());
    assert_eq!(builds(&[("builder", json!("nobody"))]).await, Vec::<i64>::new());
    assert_eq!(builds(&[("worker", json!("nobody"))]).await, Vec::<i64>::new());
    let one = asked(db, About::Builds, &[], 1).await.unwrap();
    assert_eq!((one.len(), &one[0]["properties"]["workername"]), (1, &json!(["w", "Worker"])));

    let requests = async |filters: &[(&str, Value)]| ids(db, About::Requests, "buildrequestid", filters).await;
    let open = requests(&[("complete", json!(false))]).await;
    assert_eq!((open.len(), requests(&[]).await.len()), (1, 4));
    assert_eq!(requests(&[("builder", json!("slow")), ("branch", Value::Null)]).await, open);
    let set: i64 = scalar(&test, "select max(buildset_id) from build_requests").await;
    assert_eq!(requests(&[("buildset", json!(set))]).await, open);

    let change = |branch: Option<&str>| NewChange {
        author: "a".into(),
        branch: branch.map(Into::into),
        category: branch.map(Into::into),
        ..NewChange::default()
    };
    run_tx!(db, "test", |c| changes_insert(c, &[change(None), change(Some("main"))], None).await).unwrap();
    let changes = async |filters: &[(&str, Value)]| ids(db, About::Changes, "changeid", filters).await.len();
    for name in ["branch", "category"] {
        assert_eq!(changes(&[(name, Value::Null)]).await, 1, "{name}");
        assert_eq!(changes(&[(name, json!(["main", "x"]))]).await, 1, "{name}");
    }
    for name in ["project", "repository", "codebase"] {
        assert_eq!(changes(&[(name, json!("")), ("author", json!("a"))]).await, 2, "{name}");
    }
    assert_eq!(ids(db, About::Workers, "workerid", &[("name", json!("w")), ("paused", json!(false))]).await.len(), 1);
    assert_eq!(ids(db, About::Workers, "workerid", &[("connected", json!(false))]).await.len(), 0);
    assert_eq!(ids(db, About::Builders, "builderid", &[("name", json!(["fast", "x"]))]).await.len(), 1);
    assert_eq!(ids(db, About::Builders, "builderid", &[("tag", json!("x"))]).await.len(), 0);
    assert_eq!(ids(db, About::Builders, "builderid", &[("project", json!(""))]).await.len(), 2);

    let error = asked(db, About::Builds, &[("results", json!("good"))], 1).await.unwrap_err().to_string();
    assert_eq!(error, "the filter `results` must be an int, got \"good\"");
    test.drop().await;
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_ended_and_says_what_to_do() {
    let test = TestDb::new().await;
    project(&test.db, &["b"]).await;
    // Whoever reads builders waits.
    let mut other = test.db.begin().await.unwrap();
    sqlx::raw_sql("lock table builders in access exclusive mode").execute(&mut *other).await.unwrap();
    let error = ask(&test.db, About::Builders, &[], 1, Duration::from_millis(50)).await.unwrap_err();
    assert!(error.to_string().contains("took longer than 50 ms"), "{error}");
    other.rollback().await.unwrap();
    assert_eq!(ask(&test.db, About::Builders, &[], 1, WITHIN).await.unwrap().len(), 1);
    test.drop().await;
}
