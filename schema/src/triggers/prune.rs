//! Forgets triggers of builds that are long over. They answered a worker that
//! asked again, which it can only while its lease stands; what they started
//! keeps its parent in its buildset.

use crate::{Db, Result, run_tx};
use sqlx::PgConnection;

/// Rows of one transaction.
const BATCH: u64 = 5_000;

/// Removes triggers that were over so many days ago and whose build has no lease.
pub async fn triggers_prune(db: &Db, days: i32) -> Result<()> {
    loop {
        let removed = run_tx!(db, "triggers.prune", |c| prune(c, days).await)?;
        if removed < BATCH {
            return Ok(());
        }
    }
}

async fn prune(c: &mut PgConnection, days: i32) -> Result<u64> {
    let removed = sqlx::query!(
        "delete from triggers where id in (
           select t.id from triggers t
            where t.state = 'over' and t.created_at < tidemill_now() - make_interval(days => $1)
              and not exists (select 1 from leases l where l.build_id = t.build_id)
            order by t.created_at limit $2
              for update skip locked)",
        days,
        BATCH as i64
    )
    .execute(c)
    .await?;
    Ok(removed.rows_affected())
}
