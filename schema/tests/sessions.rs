//! What sessions promise: one live owner of a worker's name, and an orderly end.

mod common;

use common::{activate, scalar, sql, worker, worker_instance};
use std::time::Duration;
use tidemill_model::WorkerId;
use tidemill_model::wire::Hello;
use tidemill_schema::config::{Wanted, WantedWorker};
use tidemill_schema::run_tx;
use tidemill_schema::sessions::{session_close, session_get, session_open, sessions_seen, workers_missing};
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

#[tokio::test]
async fn a_worker_that_stays_away_is_told_of_once_and_when_it_is_back() {
    let t = TestDb::new().await;
    let soon = WantedWorker { name: "soon".into(), missing_after: Some(Duration::from_secs(60)), ..Default::default() };
    activate(&t.db, &Wanted { workers: vec![soon], ..Wanted::default() }).await;
    let session = worker(&t.db, "soon").await;
    worker(&t.db, "later").await;
    let gone = worker(&t.db, "gone").await;
    let own = WorkerId(scalar(&t, "select id from workers where name = 'gone'").await);
    run_tx!(t.db, "test", |c| session_close(c, gone, own).await).unwrap();
    let missing = async || run_tx!(t.db, "test", |c| workers_missing(c).await).unwrap();
    let silent = async |seconds: i64| {
        let sql = "update worker_sessions set seen_at = tidemill_now() - $1 * interval '1 second'";
        sqlx::query(sql).bind(seconds).execute(t.db.pool()).await.unwrap();
    };
    silent(61).await;
    assert_eq!(missing().await, [""; 0], "nobody was there to hear it");
    sql(&t, "insert into masters (name, release) values ('m', '1');
             insert into beats (master_id, at, resumed_at) values (1, tidemill_now(), tidemill_now() - interval '59 s')").await;
    assert_eq!(missing().await, [""; 0], "not for so long");
    sql(&t, "update beats set resumed_at = tidemill_now() - interval '1 day'").await;
    assert_eq!(missing().await, ["soon"]);
    assert_eq!(missing().await, [""; 0], "it is known");
    silent(3601).await;
    assert_eq!(missing().await, ["gone", "later"], "a goodbye is no leave for ever");
    run_tx!(t.db, "test", |c| sessions_seen(c, &[(session, 1)]).await).unwrap();
    run_tx!(t.db, "test", |c| sessions_seen(c, &[(session, 1)]).await).unwrap();
    let told: Vec<(String, String)> = sqlx::query_as(
        "select e.kind, w.name from events e join workers w on w.id = (e.data ->> 'workerid')::bigint
          where e.kind <> 'workers.disconnected' order by xid, e.id offset 3",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    let told: Vec<(&str, &str)> = told.iter().map(|(k, n)| (k.as_str(), n.as_str())).collect();
    let missing_ones = [("workers.missing", "soon"), ("workers.missing", "gone"), ("workers.missing", "later")];
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(missing_ones.iter().all(|m| told.contains(m)), "{told:?}");
    assert_eq!(told[3], ("workers.connected", "soon"));
    t.drop().await;
}
