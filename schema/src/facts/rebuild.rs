//! Sums from facts, for repairs: what stands in the sums of some days is replaced by what
//! their facts add up to. Days of steps stay: facts hold no steps.

use super::fold::Turn;
use super::sums::{Built, Sums, day};
use super::{lock, partitions};
use crate::{Db, Error, Result, run_tx};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};

/// Builds are looked for that ended so long after the hour in which they kept a worker busy.
const LONGEST: Duration = Duration::days(31);

/// Replaces build_hours, build_days and worker_hours of the days (UTC) from that of `from`
/// up to that of `to`, without it; a transaction a day. Refused for months whose facts were
/// dropped: their sums are all that is left of them.
pub async fn sums_rebuild(db: &Db, from: OffsetDateTime, to: OffsetDateTime) -> Result<()> {
    let since = sqlx::query_scalar!("select facts_since from cluster").fetch_one(db.pool()).await?;
    if let Some(since) = since.filter(|s| day(from) < *s) {
        return Err(Error::Conflict(format!(
            "facts of before {} were dropped, and the sums of then stay as they are: rebuild from that day on",
            partitions::month(since).date()
        )));
    }
    let mut at = day(from);
    while at < day(to) {
        run_tx!(db, "facts.rebuild", |c| rebuild_day(c, at).await)?;
        at += Duration::DAY;
    }
    Ok(())
}

async fn rebuild_day(c: &mut PgConnection, from: OffsetDateTime) -> Result<()> {
    lock(c).await?;
    let to = from + Duration::DAY;
    let rows = sqlx::query!(
        r#"select builder_id, complete_at, results, turn, log_bytes,
                  extract(epoch from complete_at - started_at)::float8 as "seconds!",
                  extract(epoch from started_at - waiting_since)::float8 as "waited!"
             from build_facts where complete_at >= $1 and complete_at < $2"#,
        from,
        to
    )
    .fetch_all(&mut *c)
    .await?;
    let mut sums = Sums::default();
    for row in rows {
        let turn = match row.turn.as_deref() {
            Some("broke") => Some(Turn::Broke),
            Some(_) => Some(Turn::Fixed),
            None => None,
        };
        let (seconds, waited) = (row.seconds.max(0.0), row.waited.max(0.0));
        let built = Built { results: row.results, turn, seconds, waited, log_bytes: row.log_bytes };
        sums.add(row.builder_id, row.complete_at, &built);
    }
    sqlx::query!("delete from build_hours where hour >= $1 and hour < $2", from, to).execute(&mut *c).await?;
    sqlx::query!("delete from build_days where day >= $1 and day < $2", from, to).execute(&mut *c).await?;
    sqlx::query!("delete from worker_hours where hour >= $1 and hour < $2", from, to).execute(&mut *c).await?;
    sums.replace(c).await?;
    sqlx::query!(
        "insert into worker_hours (worker_id, hour, builder_id, builds, lost, seconds)
         select f.worker_id, h.hour, f.builder_id,
                count(*) filter (where f.complete_at >= h.hour and f.complete_at < h.next),
                count(*) filter (where f.results = 5 and f.complete_at >= h.hour and f.complete_at < h.next),
                sum(extract(epoch from least(f.complete_at, h.next) - greatest(f.started_at, h.hour)))::float8
           from build_facts f
          cross join lateral (
                select n as hour, n + interval '1 hour' as next
                  from generate_series(greatest($1, date_trunc('hour', f.started_at, 'UTC')),
                                       least($2::timestamptz - interval '1 hour', f.complete_at), interval '1 hour') n) h
          where f.complete_at >= $1 and f.complete_at < $3 and f.started_at < $2
          group by 1, 2, 3",
        from,
        to,
        to + LONGEST
    )
    .execute(c)
    .await?;
    Ok(())
}
