//! What sessions promise: one live owner of a worker's name, and an orderly end.

mod common;

use common::{scalar, sql, worker_instance};
use std::time::Duration;
use tidemill_model::WorkerId;
use tidemill_model::wire::Hello;
use tidemill_schema::run_tx;
use tidemill_schema::sessions::{session_close, session_get, session_open};
use tidemill_schema::testing::{TestDb, hello as hello_of};

/// A session's row is written every 15 s only: silence of 20 s is none, however short the leases.
#[tokio::test]
async fn with_short_leases_a_name_is_as_safe_as_with_long_ones() {
    let t = TestDb::new().await;
    let hello = |instance: &str| Hello { instance: instance.into(), ..hello_of("w") };
    let worker = WorkerId(enrolled(&t, "w").await);
    let term = Duration::from_secs(3);
    let open =
        async |instance: &str| run_tx!(t.db, "test", |c| session_open(c, worker, &hello(instance), 1, term).await);
    open("one").await.unwrap();
    sql(&t, "update worker_sessions set seen_at = tidemill_now() - interval '20 seconds'").await;
    let error = open("two").await.unwrap_err();
    assert!(error.to_string().contains("in use by another live process"), "{error}");
    sql(&t, "update worker_sessions set seen_at = tidemill_now() - interval '41 seconds'").await;
    open("two").await.unwrap();
    t.drop().await;
}

#[tokio::test]
async fn a_goodbye_closes_the_workers_own_session_once_and_frees_its_name() {
    let t = TestDb::new().await;
    let first = worker_instance(&t.db, "w", "one").await.unwrap();
    let (own, other) = (WorkerId(enrolled(&t, "w").await), WorkerId(enrolled(&t, "x").await));
    let close = async |session, worker| run_tx!(t.db, "test", |c| session_close(c, session, worker).await).unwrap();
    assert!(!close(first, other).await, "another worker's session");
    assert!(close(first, own).await);
    assert!(!close(first, own).await);
    assert_eq!(scalar::<String>(&t, "select state from worker_sessions").await, "closed");
    let told: i64 = scalar(&t, "select count(*) from events where kind = 'workers.disconnected'").await;
    assert_eq!(told, 1);
    let mut c = t.db.pool().acquire().await.unwrap();
    assert!(!session_get(&mut c, first).await.unwrap().unwrap().open);
    drop(c);
    worker_instance(&t.db, "w", "two").await.unwrap();
    t.drop().await;
}

async fn enrolled(t: &TestDb, name: &str) -> i64 {
    tidemill_schema::workers::worker_enrol(&t.db, name).await.unwrap();
    sqlx::query_scalar("select id from workers where name = $1").bind(name).fetch_one(t.db.pool()).await.unwrap()
}
