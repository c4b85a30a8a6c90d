//! What people try: buildsets of Try schedulers.

use crate::{Db, Result, run_tx};
use serde_json::Value;
use sqlx::PgConnection;
use tidemill_model::BuildsetId;

/// Rows that are removed in one transaction.
const BATCH: u64 = 5_000;

/// An active scheduler of the project, as its row says.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub enabled: bool,
    pub definition: Value,
}

/// The active schedulers, in the order of their names.
pub async fn schedulers_active(c: &mut PgConnection) -> Result<Vec<Scheduler>> {
    let rows =
        sqlx::query!("select enabled, definition from schedulers where active order by name").fetch_all(c).await?;
    Ok(rows.into_iter().map(|r| Scheduler { enabled: r.enabled, definition: r.definition }).collect())
}

/// The buildset of an earlier try of this person under this key. Whoever asks
/// holds a lock until the end of the transaction: of two at once, one makes it.
pub async fn try_find(c: &mut PgConnection, owner: &str, key: &str) -> Result<Option<BuildsetId>> {
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('try ' || $1 || ' ' || $2, 0))", owner, key)
        .execute(&mut *c)
        .await?;
    let id = sqlx::query_scalar!("select buildset_id from tries where owner = $1 and idempotency_key = $2", owner, key)
        .fetch_optional(c)
        .await?;
    Ok(id.map(BuildsetId))
}

/// Remembers that a buildset came from a try.
pub async fn try_insert(
    c: &mut PgConnection,
    buildset: BuildsetId,
    scheduler: &str,
    owner: &str,
    key: Option<&str>,
) -> Result<()> {
    sqlx::query!(
        "insert into tries (buildset_id, scheduler, owner, idempotency_key) values ($1, $2, $3, $4)",
        buildset.0,
        scheduler,
        owner,
        key
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Forgets which buildsets were tried so many days ago: the same try sent again
/// is a new one then. The buildsets stay.
pub async fn tries_prune(db: &Db, days: i32) -> Result<()> {
    loop {
        let removed = run_tx!(db, "tries.prune", |c| prune(c, days).await)?;
        if removed < BATCH {
            return Ok(());
        }
    }
}

async fn prune(c: &mut PgConnection, days: i32) -> Result<u64> {
    let removed = sqlx::query!(
        "delete from tries where buildset_id in (
           select buildset_id from tries where submitted_at < tidemill_now() - make_interval(days => $1)
            order by submitted_at limit $2 for update skip locked)",
        days,
        BATCH as i64
    )
    .execute(c)
    .await?;
    Ok(removed.rows_affected())
}

/// The requests of a buildset, each with the name of its builder.
pub async fn requests_of(c: &mut PgConnection, buildset: BuildsetId) -> Result<Vec<(i64, String)>> {
    let rows = sqlx::query!(
        "select r.id, b.name from build_requests r join builders b on b.id = r.builder_id
          where r.buildset_id = $1 order by r.id",
        buildset.0
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.name)).collect())
}
