//! Forward-only migrations, under Postgres' own advisory lock, each in its own
//! transaction: one killed half-way starts again where it stopped, and two that
//! start at once wait for each other (F21).
//!
//! Only `tidemill migrate` and `tidemill up` migrate. A replica calls [`check`]
//! and refuses a schema that is too old, or that says this release is too old;
//! newer migrations it tolerates.
//!
//! A database knows the cluster it lives in. After a dump was restored
//! elsewhere the transaction ids stored in rows mean nothing any more: `migrate`
//! re-bases them and raises the epoch, which fences every worker of the old
//! world (F30).

use crate::{Db, Error, Result, run_tx};
use sqlx::PgConnection;
use std::pin::Pin;

pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The oldest release that may run on the schema of this one. Raised by the
/// migration that contracts, two releases after the one that expanded.
const OLDEST_RELEASE: &str = "0.1.0";

/// This program's release.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What [`migrate`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub applied: usize,
    /// The newest migration now in the database.
    pub version: i64,
    /// The database had moved to another Postgres cluster, and was re-based.
    pub rebased: bool,
    pub epoch: i64,
}

/// Something of a crate below that follows the migrations, such as views over the
/// tables. All of them run in one transaction; each does nothing where nothing is to do.
pub type After = for<'c> fn(&'c mut PgConnection) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'c>>;

/// Brings the tables up to this release. Programs call `tidemill_sql::migrate`,
/// which brings the views too.
pub async fn migrate(db: &Db) -> Result<Report> {
    migrate_with(db, &[]).await
}

/// The same, and then what is to follow; grants come last, for all of it.
pub async fn migrate_with(db: &Db, after: &[After]) -> Result<Report> {
    let before = applied(db).await?;
    MIGRATOR.run(db.pool()).await?;
    let now = applied(db).await?;
    let (rebased, epoch) = run_tx!(db, "migrate.cluster", |c| adopt_cluster(c).await)?;
    crate::log_chunks::partitions_ensure(db).await?;
    crate::facts::partitions::partitions_ensure(db).await?;
    run_tx!(db, "migrate.after", |c| run_all(c, after).await)?;
    run_tx!(db, "migrate.grants", |c| crate::roles::grants_apply(c).await)?;
    Ok(Report { applied: now.len() - before.len(), version: now.last().copied().unwrap_or(0), rebased, epoch })
}

async fn run_all(c: &mut PgConnection, after: &[After]) -> Result<()> {
    // Of two that migrate at once the second finds all done.
    sqlx::query!("select from cluster for update").execute(&mut *c).await?;
    for step in after {
        step(c).await?;
    }
    Ok(())
}

/// Whether this release may run on this database now; the error says what to do.
pub async fn check(db: &Db) -> Result<()> {
    let have = applied(db).await?;
    let missing = MIGRATOR.iter().filter(|m| !have.contains(&m.version)).count();
    if missing > 0 {
        return Err(Error::Schema(format!(
            "the database lacks {missing} migration(s) of this release: run `tidemill migrate`"
        )));
    }
    let cluster = sqlx::query!(
        r#"select oldest_release, system_identifier,
                  (select system_identifier::text from pg_control_system()) as "now_in!"
             from cluster"#
    )
    .fetch_optional(db.pool())
    .await?
    .ok_or_else(|| Error::Schema("the database was never migrated to its end: run `tidemill migrate`".into()))?;
    if cluster.system_identifier != cluster.now_in {
        return Err(Error::Schema(
            "this database was restored into another Postgres cluster: run `tidemill migrate` once".into(),
        ));
    }
    if release_key(RELEASE) < release_key(&cluster.oldest_release) {
        return Err(Error::Schema(format!(
            "this is release {RELEASE}; the schema needs {} or newer: install a newer release",
            cluster.oldest_release
        )));
    }
    Ok(())
}

async fn applied(db: &Db) -> Result<Vec<i64>> {
    let exists = sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "x!""#)
        .fetch_one(db.pool())
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    // Not a checked macro: the table belongs to the migrator and is not in our migrations.
    Ok(sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
        .fetch_all(db.pool())
        .await?)
}

/// Makes the cluster row, or re-bases after a move. Returns (moved, epoch).
async fn adopt_cluster(c: &mut PgConnection) -> Result<(bool, i64)> {
    let row = sqlx::query!(
        r#"insert into cluster (system_identifier, oldest_release)
           select system_identifier::text, $1 from pg_control_system()
           on conflict (one) do update set oldest_release = excluded.oldest_release
           returning epoch, system_identifier,
                     (select system_identifier::text from pg_control_system()) as "now_in!""#,
        OLDEST_RELEASE
    )
    .fetch_one(&mut *c)
    .await?;
    if row.system_identifier == row.now_in {
        return Ok((false, row.epoch));
    }
    // Nobody may write or read a cursor meanwhile: replicas refuse such a
    // database until this commits, the lock is for one that does not yet know.
    sqlx::query!("lock table changes, events, schedulers in access exclusive mode").execute(&mut *c).await?;
    // All restored rows are older than any transaction of this cluster, so they
    // take negative numbers, by their old order; a cursor takes the number of
    // the last row it had read.
    sqlx::query!(
        "update schedulers s
            set cursor_xid = (select count(*) from changes c where (c.xid, c.id) <= (s.cursor_xid, s.cursor_id))
                             - (select count(*) from changes) - 1,
                cursor_id = 9223372036854775807,
                -- The stream is emptied below.
                heard_xid = 0, heard_id = 0"
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!(
        "with o as (
             select id, row_number() over (order by xid, id) - (select count(*) from changes) - 1 as rank from changes)
         update changes c set xid = o.rank from o where o.id = c.id"
    )
    .execute(&mut *c)
    .await?;
    // The stream starts anew: whoever resumes in it gets a reset and reads state again.
    sqlx::query!("truncate events").execute(&mut *c).await?;
    // Their places are in the old order. They begin at the end; facts look at all builds once more.
    sqlx::query!("delete from event_readers").execute(&mut *c).await?;
    let epoch = sqlx::query_scalar!(
        r#"update cluster set epoch = epoch + 1, system_identifier = $1 where system_identifier = $2
           returning epoch"#,
        row.now_in,
        row.system_identifier
    )
    .fetch_one(&mut *c)
    .await?;
    sqlx::query!("update worker_sessions set state = 'superseded' where state = 'open'").execute(&mut *c).await?;
    // Running builds are in the hands of fenced workers: let the reaper return them.
    sqlx::query!("update leases set expires_at = '-infinity', token = 'epoch ' || $1::bigint", epoch)
        .execute(&mut *c)
        .await?;
    Ok((true, epoch))
}

fn release_key(release: &str) -> Vec<u64> {
    release.split(['.', '-']).map(|p| p.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_their_numbers() {
        assert!(release_key("0.10.0") > release_key("0.9.1"));
        assert!(release_key("1.0.0") > release_key("0.9.9"));
    }
}
