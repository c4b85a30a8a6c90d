//! Builds: the one function that makes a result final, and the wish to stop.

use crate::changes::clean;
use crate::leases::Expired;
use crate::requests::{Closing, requests_complete};
use crate::{Result, error};
use sqlx::PgConnection;
use tidemill_model::{BuildId, RequestId, Results};
use time::OffsetDateTime;

/// How a build ended.
#[derive(Clone, Debug)]
pub struct Finish {
    pub build: BuildId,
    pub results: Results,
    pub summary: String,
    /// The batch that said so; none when the lease ran out.
    pub last_batch: Option<u64>,
    /// When, on the database's clock; none is now.
    pub at: Option<OffsetDateTime>,
    /// RETRY only: whether it counts as an attempt of the request.
    pub counts: bool,
}

/// Ends builds: the only writer of a final result.
///
/// The caller holds the locks of their leases, taken by an earlier statement: so
/// each row is in the snapshot in which it is found, and may be written through
/// its ctid. The leases go, the requests are
/// completed, or for RETRY wait for their next attempt with a back-off, up to
/// the builder's limit; then they end with EXCEPTION (P-16). The result RETRY
/// never completes a request (D-15). Returns the locks of which something was given
/// back: for [`crate::locks::locks_turns`] after the commit.
pub async fn builds_finish(c: &mut PgConnection, finishes: &[Finish]) -> Result<Vec<i64>> {
    finish(c, finishes, Totals::Count).await
}

/// Of the logs that a build left open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Totals {
    Count,
    /// They stay what they are: the log is marked as incomplete anyway.
    Leave,
}

async fn finish(c: &mut PgConnection, finishes: &[Finish], totals: Totals) -> Result<Vec<i64>> {
    if finishes.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = finishes.iter().map(|f| f.build.0).collect();
    let results: Vec<i16> = finishes.iter().map(|f| f.results.code()).collect();
    let summaries: Vec<String> = finishes.iter().map(|f| clean(&f.summary)).collect();
    let batches: Vec<Option<i64>> = finishes.iter().map(|f| f.last_batch.map(|b| b as i64)).collect();
    let times: Vec<Option<OffsetDateTime>> = finishes.iter().map(|f| f.at).collect();
    let rows = sqlx::query!(
        r#"with u as materialized (
             select u.*, b.here
               from unnest($1::bigint[], $2::smallint[], $3::text[], $4::bigint[], $5::timestamptz[])
                    u(id, results, summary, batch, at)
              cross join lateral (
                    select k.ctid as here from builds k where k.id = u.id and k.state <> 'finished' for update) b
         ), unleased as (
             delete from leases where build_id = any($1) returning build_id, builder_id
         ), unbatched as (
             delete from build_batches where build_id = any($1)
         ), unlocked as (
             delete from lock_holds where build_id = any($1) returning lock_id
         ), unwaited as (
             delete from lock_waiters where build_id = any($1)
         ), done as (
             update builds b
                set state = 'finished', state_string = u.summary, last_batch = u.batch,
                    -- What was asked to end is not tried again, however its worker ended.
                    results = case when u.results = 5 then coalesce(b.stop_results, 5) else u.results end,
                    complete_at = greatest(b.started_at, least(coalesce(u.at, tidemill_now()), tidemill_now()))
               from u where b.ctid = u.here
             returning b.id, b.builder_id, b.number, b.request_id, b.attempt, b.results
         ), good as (
             -- One probe each: a join could be planned as a scan of all requests.
             insert into build_successes (builder_id, line, number, build_id)
             select builder_id, (select buildset_line(r.buildset_id) from build_requests r where r.id = request_id),
                    number, id
               from done where results = 0
         ), told as (
             insert into events (kind, builder_id, build_id, data)
             select 'builds.finished', builder_id, id,
                    jsonb_build_object('number', number, 'results', results, 'buildrequestid', request_id)
               from done
         )
         select d.id, d.request_id, d.attempt, d.results, bu.max_attempts,
                (select count(*) from unleased) as "unleased!",
                array(select distinct lock_id from unlocked) as "unlocked!"
           from done d
           left join unleased x on x.build_id = d.id
           join builders bu on bu.id = coalesce(x.builder_id, d.builder_id)
          order by d.id"#,
        &ids,
        &results,
        &summaries,
        &batches as &[Option<i64>],
        &times as &[Option<OffsetDateTime>],
    )
    .fetch_all(&mut *c)
    .await?;
    error::expect("open builds finished", ids.len() as u64, rows.len() as u64)?;
    error::expect("leases ended", ids.len() as u64, rows.first().map_or(0, |r| r.unleased as u64))?;

    let mut closing = Vec::new();
    let mut again = Vec::new();
    for row in &rows {
        let Some(finish) = finishes.iter().find(|f| f.build.0 == row.id) else { continue };
        let request = RequestId(row.request_id);
        let results = row.results.and_then(|code| Results::try_from(code).ok()).unwrap_or(finish.results);
        match results {
            Results::Retry if finish.counts && row.attempt >= row.max_attempts => {
                closing.push(Closing::must(request, Results::Exception))
            }
            Results::Retry => again.push((request, row.attempt, finish.counts)),
            other => closing.push(Closing::must(request, other)),
        }
    }
    steps_close(c, &ids).await?;
    logs_close(c, &ids, totals).await?;
    requests_retry(c, &again).await?;
    requests_complete(c, &closing, "").await?;
    Ok(rows.into_iter().next().map(|r| r.unlocked).unwrap_or_default())
}

/// Steps that a lost or cut build left open.
async fn steps_close(c: &mut PgConnection, builds: &[i64]) -> Result<()> {
    sqlx::query!(
        "update steps s set complete_at = greatest(s.started_at, b.complete_at), results = b.results
           from builds b where b.id = s.build_id and b.id = any($1) and s.build_id = any($1) and s.complete_at is null",
        builds
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Its logs. What a worker said of its chunks is data: no number of it makes this fail.
async fn logs_close(c: &mut PgConnection, builds: &[i64], totals: Totals) -> Result<()> {
    if totals == Totals::Leave {
        sqlx::query!(
            "update logs set complete = true, incomplete = true where build_id = any($1) and not complete",
            builds
        )
        .execute(c)
        .await?;
        return Ok(());
    }
    sqlx::query!(
        "update logs l set complete = true, incomplete = true,
                bytes = coalesce((select least(c.first_byte::numeric + c.bytes, 9223372036854775807)::bigint
                                    from log_chunks c where c.log_id = l.id order by first_byte desc limit 1), 0),
                lines = coalesce((select least(c.first_line::numeric + c.lines, 9223372036854775807)::bigint
                                    from log_chunks c where c.log_id = l.id order by first_byte desc limit 1), 0)
          where l.build_id = any($1) and not l.complete",
        builds
    )
    .execute(c)
    .await?;
    Ok(())
}

/// First wait after a lost build; doubled with each attempt, at most 64 times as long.
const BACK_OFF_SECONDS: f64 = 2.0;

async fn requests_retry(c: &mut PgConnection, again: &[(RequestId, i32, bool)]) -> Result<()> {
    if again.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = again.iter().map(|(id, _, _)| id.0).collect();
    let next: Vec<i32> = again.iter().map(|(_, attempt, counts)| attempt + *counts as i32).collect();
    let waits: Vec<f64> = again
        .iter()
        .map(
            |(_, attempt, counts)| if *counts { BACK_OFF_SECONDS * 2f64.powi((*attempt - 1).clamp(0, 6)) } else { 0.0 },
        )
        .collect();
    let done = sqlx::query!(
        "insert into request_waits (request_id, lane, attempt, why, until)
         select r.id, l.id, u.attempt, 'back-off', tidemill_now() + u.wait * interval '1 second'
           from unnest($1::bigint[], $2::int[], $3::float8[]) u(id, attempt, wait)
           join build_requests r on r.id = any($1) and r.id = u.id and r.complete_at is null
           join lanes l on l.builder_id = r.builder_id and l.priority = r.priority and l.trusted = r.trusted
                       and l.worker_name is not distinct from r.worker_name
                       and l.virtual_id is not distinct from r.virtual_id",
        &ids,
        &next,
        &waits
    )
    .execute(c)
    .await?;
    error::expect("requests to try again", ids.len() as u64, done.rows_affected())
}

/// Builds of a request that may be lost without having begun and count as no attempt.
const TRIES_FREE: i64 = 20;

/// Ends the builds of workers that were silent for a term, in a transaction
/// that holds their leases' locks.
pub async fn builds_lost(c: &mut PgConnection, expired: &[Expired]) -> Result<Vec<i64>> {
    finish(c, &lost(expired), Totals::Count).await
}

/// The same without a look into logs: the last resort for a build that cannot be ended otherwise.
pub async fn builds_lost_bare(c: &mut PgConnection, expired: &[Expired]) -> Result<Vec<i64>> {
    finish(c, &lost(expired), Totals::Leave).await
}

fn lost(expired: &[Expired]) -> Vec<Finish> {
    expired
        .iter()
        .map(|e| Finish {
            build: e.build,
            results: Results::Retry,
            summary: if e.taken_up {
                format!("lost: worker {} was not heard for a whole lease", e.worker)
            } else {
                format!("lost: worker {} never took the build up", e.worker)
            },
            last_batch: None,
            at: None,
            // That a worker never heard of it says nothing of the request; that none ever does, it may.
            counts: e.taken_up || e.tries > TRIES_FREE,
        })
        .collect()
}

/// Asks for a running build to be stopped; the worker hears of it with its next
/// answer. False if the build is already final. Asked twice, the first reason stays
/// and is told once. Belongs into a transaction: see [`builds_stop`].
pub async fn build_stop(c: &mut PgConnection, build: BuildId, reason: &str, results: Results) -> Result<bool> {
    builds_stop(c, &[build], reason, results).await?;
    // The lease is locked, if it is there: a build has one until it is final.
    let open = sqlx::query_scalar!(r#"select exists (select from leases where build_id = $1) as "x!""#, build.0);
    Ok(open.fetch_one(c).await?)
}

/// Asks for builds to be stopped. Returns those that were not asked before: the workers hear of it with their next
/// answers. Leases are locked first and in order, as by all who write builds.
pub async fn builds_stop(
    c: &mut PgConnection,
    builds: &[BuildId],
    reason: &str,
    results: Results,
) -> Result<Vec<BuildId>> {
    leases_lock(c, builds).await?;
    let ids: Vec<i64> = builds.iter().map(|b| b.0).collect();
    let asked = sqlx::query_scalar!(
        r#"with asked as (
             update builds set stop_reason = $2, stop_results = $3
              where id = any($1) and state in ('claimed', 'running') and stop_reason is null
             returning id, builder_id
         ), told as (
             insert into events (kind, builder_id, build_id, data)
             select 'builds.stop', builder_id, id, jsonb_build_object('reason', $2::text) from asked
         )
         select id as "id!" from asked order by id"#,
        &ids,
        clean(reason),
        results.code()
    )
    .fetch_all(c)
    .await?;
    Ok(asked.into_iter().map(BuildId).collect())
}

/// Locks the leases of these builds to the end of the transaction, in the order of all who do.
pub(crate) async fn leases_lock(c: &mut PgConnection, builds: &[BuildId]) -> Result<()> {
    let ids: Vec<i64> = builds.iter().map(|b| b.0).collect();
    sqlx::query!("select build_id from leases where build_id = any($1) order by build_id for update", &ids)
        .fetch_all(c)
        .await?;
    Ok(())
}
