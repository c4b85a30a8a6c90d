//! Months of facts: made ahead, made for what comes late, dropped.
//!
//! No insert waits for DDL as long as [`partitions_ensure`] is called now and then; what
//! falls into a month that has no partition makes one ([`partitions_ensure_for`]).

use super::sums::month;
use crate::{Db, Error, Result, run_tx};
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// The tables that are cut by month.
pub const TABLES: [&str; 4] = ["build_facts", "request_facts", "lock_wait_facts", "test_results"];
/// Months that lie ahead.
pub const AHEAD: i32 = 3;

/// Makes the partitions of this month and of those ahead.
pub async fn partitions_ensure(db: &Db) -> Result<()> {
    run_tx!(db, "facts.partitions", |c| ensure(c).await)
}

async fn ensure(c: &mut PgConnection) -> Result<()> {
    let tables = TABLES.map(str::to_owned);
    sqlx::query!(
        "select facts_partition(t, date_trunc('month', tidemill_now(), 'UTC') + n * interval '1 month')
           from unnest($1::text[]) t, generate_series(0, $2::int) n",
        &tables,
        AHEAD
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Makes the partitions of a table for these times.
pub(super) async fn partitions_ensure_for(
    c: &mut PgConnection,
    table: &str,
    times: impl IntoIterator<Item = OffsetDateTime>,
) -> Result<()> {
    let months: BTreeSet<OffsetDateTime> = times.into_iter().map(month).collect();
    let months: Vec<OffsetDateTime> = months.into_iter().collect();
    sqlx::query!("select facts_partition($1, m) from unnest($2::timestamptz[]) m", table, &months).execute(c).await?;
    Ok(())
}

/// Drops the months of facts before that of `before`; sums stay. Returns the tables that went.
///
/// From then on no fact is written of what ended before. Whoever reads goes on: a month
/// is detached first, which waits for readers and stops none, and gives up its wait for
/// the lock after two seconds (then what is left goes the next time). Needs the role
/// that owns the tables. Twice is once; one that was cut off is finished.
pub async fn facts_drop(db: &Db, before: OffsetDateTime) -> Result<Vec<String>> {
    let before = month(before);
    run_tx!(db, "facts.since", |c| since(c, before).await)?;
    let mut c = db.pool().acquire().await?.detach();
    // Of this connection only, which ends with this function.
    sqlx::raw_sql("set lock_timeout = '2s'; set time zone 'UTC'").execute(&mut c).await?;
    let mut dropped = vec![];
    for table in TABLES {
        let months = sqlx::query!(
            r#"select c.relname::text as "name!", i.inhrelid is not null as "attached!",
                      coalesce(i.inhdetachpending, false) as "pending!"
                 from pg_class c
                 left join pg_inherits i on i.inhrelid = c.oid
                where c.relnamespace = (select relnamespace from pg_class where oid = to_regclass($1))
                  and c.relname::text ~ ('^' || $1 || '_[0-9]{4}_[0-9]{2}$')
                  and right(c.relname::text, 7) collate "C" < to_char($2::timestamptz at time zone 'UTC', 'YYYY_MM')
                order by 1"#,
            table,
            before
        )
        .fetch_all(&mut c)
        .await?;
        for month in months {
            let name = month.name;
            if month.attached {
                let how = if month.pending { "finalize" } else { "concurrently" };
                run(&mut c, format!("alter table {table} detach partition \"{name}\" {how}")).await?;
            }
            run(&mut c, format!("drop table \"{name}\"")).await?;
            dropped.push(name);
        }
    }
    Ok(dropped)
}

/// Nobody is at it when this commits: all who store facts hold the lock.
async fn since(c: &mut PgConnection, before: OffsetDateTime) -> Result<()> {
    super::lock(c).await?;
    sqlx::query!("update cluster set facts_since = greatest(facts_since, $1)", before).execute(c).await?;
    Ok(())
}

async fn run(c: &mut PgConnection, statement: String) -> Result<()> {
    // Of names that facts_partition() made.
    sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(c).await.map_err(|e| {
        let e = Error::from(e);
        if e.is_refused() {
            return Error::Conflict(format!(
                "this role of the database may not drop months of facts: run it as the role that migrates (`{statement}`)"
            ));
        }
        e
    })?;
    Ok(())
}
