//! Projects with locks.

use super::*;
use tidemill_model::{AccessMode, LockAccess};
use tidemill_schema::config::{WantedLock, WantedWorker};
use tidemill_schema::locks::{Asked, step_locks_ask};

pub fn exclusive(lock: &str) -> LockAccess {
    LockAccess { lock: lock.into(), mode: AccessMode::Exclusive, count: 1 }
}

pub fn counting(lock: &str, count: u32) -> LockAccess {
    LockAccess { lock: lock.into(), mode: AccessMode::Counting, count }
}

/// Master locks; with `@` before the name, worker locks.
pub fn wanted(locks: &[(&str, u32)], builders: &[(&str, &[LockAccess])]) -> Wanted {
    Wanted {
        locks: locks
            .iter()
            .map(|(name, capacity)| WantedLock {
                name: name.trim_start_matches('@').into(),
                of_workers: name.starts_with('@'),
                capacity: *capacity,
                capacities: Default::default(),
            })
            .collect(),
        builders: builders
            .iter()
            .map(|(name, locks)| WantedBuilder {
                name: (*name).into(),
                any_worker: true,
                locks: locks.to_vec(),
                ..WantedBuilder::default()
            })
            .collect(),
        ..Wanted::default()
    }
}

pub fn definition(name: &str, locks: &[LockAccess], max_builds: Option<u32>) -> WantedWorker {
    WantedWorker { name: name.into(), locks: locks.to_vec(), max_builds, ..WantedWorker::default() }
}

pub async fn lane(t: &TestDb, builder: &str) -> i64 {
    let sql = "select l.id from lanes l join builders b on b.id = l.builder_id where b.name = $1 and l.priority = 0";
    sqlx::query_scalar(sql).bind(builder).fetch_one(t.db.pool()).await.unwrap()
}

/// Claims from one builder only.
pub async fn claim_of(t: &TestDb, builder: &str, session: SessionId, poll: u64, free: u32) -> Vec<Claim> {
    let lanes = [(lane(t, builder).await, 0)];
    let waiting = [Waiting { session, poll, free, newest: i64::MAX - 1 }];
    let mut c = t.db.pool().acquire().await.unwrap();
    let mut claimed = claim_builds(&mut c, &mut Payloads::default(), &waiting, &lanes, TERM).await.unwrap();
    claimed.by_session.remove(&session).unwrap_or_default()
}

pub async fn ask(t: &TestDb, claim: &Claim, step: u32, locks: &[LockAccess]) -> Asked {
    let held = tidemill_model::wire::Held { build: claim.build, token: claim.token.clone() };
    run_tx!(t.db, "test", |c| step_locks_ask(c, &held, step, locks).await).unwrap()
}

pub fn step_finished(step: u32) -> Vec<Event> {
    vec![
        Event::StepStarted { step, name: format!("step {step}"), at_us: 1_000 },
        Event::StepFinished {
            step,
            results: Results::Success,
            summary: String::new(),
            hidden: false,
            lock_wait_us: Some(2_000_000),
            at_us: 1_000,
        },
    ]
}

/// What the database holds agrees with the capacities; nobody holds anything without a lease.
pub async fn never_passed(t: &TestDb) {
    let bad: i64 = scalar(
        t,
        "select count(*) from (
             select h.lock_id from lock_holds h join locks l on l.id = h.lock_id
              group by h.lock_id, h.worker_id, l.capacity
             having sum(h.units) > l.capacity or (bool_or(h.mode = 'exclusive') and count(*) > 1)
             union all
             select h.build_id from lock_holds h where not exists (select from leases l where l.build_id = h.build_id)) x",
    )
    .await;
    assert_eq!(bad, 0, "a lock holds more than it may, or for a build without a lease");
}
