//! The buildsets that a Dependent scheduler waits for (D-29): those that its
//! upstream made while it was active, kept until they end, whenever that is.
//!
//! Called under the scheduler's row lock, so one buildset sets it off once.

use crate::Result;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::{SchedulerId, SourceStamp};

/// Most changes of a buildset that one that follows it lists; the newest.
const CHANGES: i64 = 1000;

/// A buildset that was waited for, and is over.
#[derive(Clone, Debug)]
pub struct Ended {
    pub buildset: i64,
    pub results: i16,
    pub sourcestamps: Vec<SourceStamp>,
    /// The changes that led to it, oldest first.
    pub changes: Vec<i64>,
}

/// Waits for these from now on.
pub async fn upstream_wait(c: &mut PgConnection, scheduler: SchedulerId, buildsets: &[i64]) -> Result<()> {
    if buildsets.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into scheduler_upstreams (scheduler_id, buildset_id) select $1, b from unnest($2::bigint[]) b
         on conflict do nothing",
        scheduler.0,
        buildsets
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Those that it waits for and that are over, in the order in which they were
/// made, so many at most: of the ones named, or of all.
pub async fn upstream_ended(
    c: &mut PgConnection,
    scheduler: SchedulerId,
    of: Option<&[i64]>,
    limit: i64,
) -> Result<Vec<Ended>> {
    let rows = sqlx::query!(
        r#"select b.id, b.results as "results!", buildset_stamps(b.id) as "stamps!: Json<Vec<SourceStamp>>",
                  array(select x.change_id from (select change_id from buildset_changes where buildset_id = b.id
                                                  order by change_id desc limit $4) x order by 1) as "changes!"
             from scheduler_upstreams p join buildsets b on b.id = p.buildset_id
            where p.scheduler_id = $1 and b.results is not null
              and ($2::bigint[] is null or p.buildset_id = any($2))
            order by b.id limit $3"#,
        scheduler.0,
        of as Option<&[i64]>,
        limit,
        CHANGES
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Ended { buildset: r.id, results: r.results, sourcestamps: r.stamps.0, changes: r.changes })
        .collect())
}

/// These are done with.
pub async fn upstream_done(c: &mut PgConnection, scheduler: SchedulerId, buildsets: &[i64]) -> Result<()> {
    if buildsets.is_empty() {
        return Ok(());
    }
    let done = sqlx::query!(
        "delete from scheduler_upstreams where scheduler_id = $1 and buildset_id = any($2)",
        scheduler.0,
        buildsets
    )
    .execute(c)
    .await?;
    crate::error::expect("upstream buildsets done", buildsets.len() as u64, done.rows_affected())
}

/// Forgets those of other schedulers than its upstream, which another revision named.
pub async fn upstream_only(c: &mut PgConnection, scheduler: SchedulerId, upstream: &str) -> Result<()> {
    sqlx::query!(
        "delete from scheduler_upstreams p using buildsets b
          where p.scheduler_id = $1 and b.id = p.buildset_id and b.scheduler <> $2",
        scheduler.0,
        upstream
    )
    .execute(c)
    .await?;
    Ok(())
}
