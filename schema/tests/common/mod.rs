//! A project with a builder and a worker, and short words for what tests do.
#![allow(dead_code)] // each test file uses its own part

pub mod history;
pub mod locks;

use std::time::Duration;
use tidemill_model::revision::Files;
use tidemill_model::wire::{BatchHead, Claim, Event, Frame, Hello};
use tidemill_model::{Properties, Results, SessionId, SourceStamp};
use tidemill_schema::claims::{Claimed, Payloads, Waiting, claim_builds};
use tidemill_schema::config::{Wanted, WantedBuilder, revision_activate, revision_insert};
use tidemill_schema::ingest::{Batch, Outcome, batches_store};
use tidemill_schema::notices::plan::Planned;
use tidemill_schema::notices::{Moment, Way};
use tidemill_schema::requests::{NewBuildset, Submitted, buildset_insert};
use tidemill_schema::run_tx;
use tidemill_schema::testing::{TestDb, hello};
use tidemill_schema::{Db, sessions, workers};
use time::OffsetDateTime;

pub const TERM: Duration = Duration::from_secs(60);

/// Activates builders that any worker may build.
pub async fn project(db: &Db, builders: &[&str]) {
    let wanted = Wanted {
        builders: builders
            .iter()
            .map(|b| WantedBuilder { name: (*b).into(), any_worker: true, ..WantedBuilder::default() })
            .collect(),
        ..Wanted::default()
    };
    activate(db, &wanted).await;
}

pub async fn activate(db: &Db, wanted: &Wanted) {
    let files = Files::single(format!("# {wanted:?}"));
    run_tx!(db, "test", |c| {
        let id = revision_insert(c, &files, &serde_json::json!({}), 1, "", "test").await?;
        revision_activate(c, id, wanted).await
    })
    .unwrap();
}

/// Enrols a worker and opens a session.
pub async fn worker(db: &Db, name: &str) -> SessionId {
    worker_instance(db, name, name).await.unwrap()
}

pub async fn worker_instance(db: &Db, name: &str, instance: &str) -> tidemill_schema::Result<SessionId> {
    let token = workers::worker_enrol(db, name).await?;
    let hello = Hello { instance: instance.into(), ..hello(name) };
    run_tx!(db, "test", |c| {
        let (id, _) = workers::worker_by_token(c, &token).await?.expect("just enrolled");
        sessions::session_open(c, id, &hello, 1, TERM).await
    })
}

pub async fn submit(db: &Db, builder: &str) -> Submitted {
    let new = NewBuildset {
        reason: "test".into(),
        sourcestamps: vec![SourceStamp { repository: "r".into(), ..SourceStamp::default() }],
        properties: Properties::new(),
        builders: vec![builder.into()],
        ..NewBuildset::default()
    };
    submit_set(db, &new).await
}

pub async fn submit_set(db: &Db, new: &NewBuildset) -> Submitted {
    run_tx!(db, "test", |c| buildset_insert(c, new).await).unwrap()
}

/// Every lane, from the start.
pub async fn lanes(db: &Db) -> Vec<(i64, i64)> {
    let ids: Vec<i64> = sqlx::query_scalar("select id from lanes").fetch_all(db.pool()).await.unwrap();
    ids.into_iter().map(|id| (id, 0)).collect()
}

pub async fn claim(db: &Db, session: SessionId, poll: u64, free: u32, newest: i64) -> Vec<Claim> {
    let mut claimed = claim_all(db, &[Waiting { session, poll, free, newest }]).await;
    claimed.by_session.remove(&session).unwrap_or_default()
}

pub async fn claim_all(db: &Db, waiting: &[Waiting]) -> Claimed {
    let lanes = lanes(db).await;
    let mut c = db.pool().acquire().await.unwrap();
    claim_builds(&mut c, &mut Payloads::default(), waiting, &lanes, TERM).await.unwrap()
}

pub fn batch(claim: &Claim, number: u64, events: Vec<Event>) -> Batch {
    Batch {
        head: BatchHead {
            session: 0,
            build: claim.build,
            token: claim.token.clone(),
            batch: number,
            sent_at_us: 1_000,
        },
        frames: events.into_iter().map(Frame::Event).collect(),
    }
}

pub fn finished(results: Results) -> Event {
    Event::BuildFinished { results, summary: results.name().into(), at_us: 1_000 }
}

pub async fn store(db: &Db, batch: Batch) -> Outcome {
    batches_store(db, &[batch]).await.unwrap().outcomes.remove(0)
}

pub async fn finish(db: &Db, claim: &Claim, results: Results) -> Outcome {
    store(db, batch(claim, 1, vec![finished(results)])).await
}

pub async fn scalar<T>(test: &TestDb, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(test.db.pool()).await.unwrap()
}

pub async fn sql(test: &TestDb, sql: &'static str) {
    sqlx::raw_sql(sql).execute(test.db.pool()).await.unwrap();
}

/// Waits until somebody waits for a lock in this database.
pub async fn waits_for_a_lock(t: &TestDb) {
    let begun = std::time::Instant::now();
    loop {
        let waiting = "select count(*) from pg_stat_activity
                        where datname = current_database() and wait_event_type = 'Lock'";
        if scalar::<i64>(t, waiting).await > 0 {
            return;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(90), "nobody waits for a lock");
        tokio::task::yield_now().await;
    }
}

/// Entries of the queue's key that statements have read so far.
pub async fn queue_entries_read(c: &mut sqlx::PgConnection, t: &TestDb) -> i64 {
    sqlx::raw_sql("select pg_stat_force_next_flush()").execute(&mut *c).await.unwrap();
    sqlx::raw_sql("select 1").execute(&mut *c).await.unwrap();
    scalar(t, "select idx_tup_read from pg_stat_user_indexes where indexrelname = 'request_queue_pkey'").await
}

/// What is told of the end of a build, by mail, unless somebody says otherwise.
pub fn planned(event: i64) -> Planned {
    Planned {
        xid: 1,
        event_id: event,
        at: OffsetDateTime::now_utc(),
        reporter: "mail".into(),
        generator: 0,
        moment: Moment::End,
        mode: "failing".into(),
        builder: None,
        build: Some(event),
        buildset: None,
        request: None,
        worker: None,
        way: Way::Mail,
        destination: "smtp:25".into(),
        address: "ann@x".into(),
        facts: serde_json::json!({}),
        order_key: None,
        message_id: None,
        wait_us: 0,
        max_age_us: 86_400_000_000,
    }
}
