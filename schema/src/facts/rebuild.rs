//! Sums from facts, for repairs: what stands in the sums of some days is replaced by what
//! their facts add up to. Sums of steps and of numbers that they set stay: facts hold none.
//!
//! Projects are public or not as they are now: what counted in the totals while its
//! project was public counts apart afterwards, or the other way round.

use super::fold::Turn;
use super::sums::builds::{BuildSum, Built, Sums, days_read, months_of, months_write};
use super::sums::projects::{Project, projects};
use super::sums::{day, month};
use super::{lock, requests};
use crate::{Db, Error, Result, run_tx};
use sqlx::PgConnection;
use std::collections::BTreeSet;
use time::{Duration, OffsetDateTime};

/// Builds are looked for that ended so long after the hour in which they kept a worker busy.
const LONGEST: Duration = Duration::days(31);

/// Replaces the sums of builds, requests and workers of the days (UTC) from that of `from`
/// up to that of `to`, without it, and of the months that these lie in; a transaction a day
/// or month. Refused for months whose facts were dropped: their sums are all that is left
/// of them.
pub async fn sums_rebuild(db: &Db, from: OffsetDateTime, to: OffsetDateTime) -> Result<()> {
    let since = sqlx::query_scalar!("select facts_since from cluster").fetch_one(db.pool()).await?;
    if let Some(since) = since.filter(|s| day(from) < *s) {
        return Err(Error::Conflict(format!(
            "facts of before {} were dropped, and the sums of then stay as they are: rebuild from that day on",
            month(since).date()
        )));
    }
    let mut months = BTreeSet::new();
    let mut at = day(from);
    while at < day(to) {
        run_tx!(db, "facts.rebuild", |c| rebuild_day(c, at).await)?;
        months.insert(month(at));
        at += Duration::DAY;
    }
    for at in months {
        run_tx!(db, "facts.rebuild", |c| rebuild_month(c, at).await)?;
    }
    Ok(())
}

async fn rebuild_day(c: &mut PgConnection, from: OffsetDateTime) -> Result<()> {
    lock(c).await?;
    let to = from + Duration::DAY;
    let rows = sqlx::query!(
        r#"select f.builder_id, coalesce(r.builder_id, f.builder_id) as "asked!", f.complete_at, f.results, f.turn, f.log_bytes,
                  extract(epoch from f.complete_at - f.started_at)::float8 as "seconds!",
                  extract(epoch from f.started_at - f.waiting_since)::float8 as "waited!",
                  extract(epoch from f.complete_at - f.first_change_at)::float8 as lead, f.changes
             from build_facts f
             left join build_requests r on r.id = f.request_id
            where f.complete_at >= $1 and f.complete_at < $2"#,
        from,
        to
    )
    .fetch_all(&mut *c)
    .await?;
    let projects = projects(c, rows.iter().map(|r| (r.builder_id, r.asked))).await?;
    let mut sums = Sums::default();
    for row in rows {
        let turn = match row.turn.as_deref() {
            Some("broke") => Some(Turn::Broke),
            Some(_) => Some(Turn::Fixed),
            None => None,
        };
        let (seconds, waited) = (row.seconds.max(0.0), row.waited.max(0.0));
        let lead = row.lead.map(|lead| (row.changes, lead.max(0.0)));
        let built = Built { results: row.results, turn, seconds, waited, log_bytes: row.log_bytes, lead };
        let project = projects.get(&(row.builder_id, row.asked)).map(Project::of_totals).unwrap_or_default();
        sums.add(row.builder_id, project, row.complete_at, &built);
    }
    sqlx::query!("delete from build_hours where hour >= $1 and hour < $2", from, to).execute(&mut *c).await?;
    sqlx::query!("delete from build_days where day >= $1 and day < $2", from, to).execute(&mut *c).await?;
    sqlx::query!("delete from total_hours where hour >= $1 and hour < $2", from, to).execute(&mut *c).await?;
    sqlx::query!("delete from total_days where day >= $1 and day < $2", from, to).execute(&mut *c).await?;
    sqlx::query!("delete from worker_hours where hour >= $1 and hour < $2", from, to).execute(&mut *c).await?;
    // They are made of their days, when all of these are there.
    sums.months.clear();
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

/// Of builds from its days, of workers from its hours, of branches and requests from facts.
async fn rebuild_month(c: &mut PgConnection, from: OffsetDateTime) -> Result<()> {
    lock(c).await?;
    let to = month(from + LONGEST);
    let days = sqlx::query!("select builder_id, day from build_days where day >= $1 and day < $2", from, to);
    let days =
        days.fetch_all(&mut *c).await?.into_iter().map(|d| ((d.builder_id, d.day), BuildSum::default())).collect();
    let days = days_read(c, &days).await?;
    sqlx::query!("delete from build_months where month = $1", from).execute(&mut *c).await?;
    months_write(c, &months_of(days)).await?;
    sqlx::query!("delete from branch_months where month = $1", from).execute(&mut *c).await?;
    sqlx::query!(
        "insert into branch_months (builder_id, month, branch, builds, good, failed, last_at, good_at, failed_at)
         select builder_id, $1, branch, count(*), count(*) filter (where results in (0, 1)),
                count(*) filter (where results = 2), max(complete_at),
                max(complete_at) filter (where results in (0, 1)), max(complete_at) filter (where results = 2)
           from build_facts where complete_at >= $1 and complete_at < $2 group by builder_id, branch",
        from,
        to
    )
    .execute(&mut *c)
    .await?;
    requests::month_rebuild(c, from, to).await?;
    sqlx::query!("delete from worker_months where month = $1", from).execute(&mut *c).await?;
    sqlx::query!(
        "insert into worker_months (worker_id, month, project, builds, lost, seconds)
         select h.worker_id, $1, b.project, sum(h.builds), sum(h.lost), sum(h.seconds)
           from worker_hours h join builders b on b.id = h.builder_id
          where h.hour >= $1 and h.hour < $2 group by h.worker_id, b.project",
        from,
        to
    )
    .execute(c)
    .await?;
    Ok(())
}
