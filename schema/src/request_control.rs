//! What people do with requests that wait, one or a million: cancel, change the
//! priority, pause their builder; and what ends those that nobody can serve.
//!
//! Each function is one transaction's work on at most [`BATCH`] rows, so that it
//! holds back neither the horizon nor those who finish builds. Whoever wants
//! more calls again with the next ones.

use crate::builds::builds_stop;
use crate::changes::clean;
use crate::lanes::lanes_ensure_for;
use crate::requests::requests_end;
use crate::{Db, Error};
use crate::{Result, run_tx};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use std::collections::BTreeSet;
use std::time::Duration;
use tidemill_model::{BuildId, BuilderId, RequestId, Results};

/// Requests of one transaction.
pub const BATCH: usize = 5_000;

/// Which open requests are meant: those that fit everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub requests: Vec<i64>,
    pub builders: Vec<i64>,
    pub buildsets: Vec<i64>,
    /// Of any codebase.
    pub branch: Option<String>,
    /// Name of the scheduler that made them.
    pub scheduler: Option<String>,
    /// Those that are alone in saying so: every open request.
    pub all: bool,
}

impl Selection {
    /// Whether it says anything.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.requests, &self.builders, &self.buildsets];
        !self.all && lists.iter().all(|l| l.is_empty()) && self.branch.is_none() && self.scheduler.is_none()
    }

    /// ` and …` for each condition, over the columns that the arguments name.
    fn conditions(&self, sql: &mut QueryBuilder<Postgres>, request: &str, builder: &str, buildset: &str) {
        for (column, ids) in [(request, &self.requests), (builder, &self.builders), (buildset, &self.buildsets)] {
            if !ids.is_empty() {
                sql.push(" and ").push(column).push(" = any(").push_bind(ids.clone()).push(")");
            }
        }
        if let Some(branch) = &self.branch {
            sql.push(" and ").push(buildset);
            sql.push(
                " in (select x.buildset_id from buildset_sourcestamps x join sourcestamps s on s.id = x.sourcestamp_id
                       where s.branch = ",
            );
            sql.push_bind(branch.clone()).push(")");
        }
        if let Some(scheduler) = &self.scheduler {
            sql.push(" and ")
                .push(buildset)
                .push(" in (select s.id from buildsets s where s.complete_at is null and s.scheduler = ");
            sql.push_bind(scheduler.clone()).push(")");
        }
    }
}

/// Requests that wait and are meant, oldest first. One look at the queue, without
/// a lock: what has gone when it is acted upon is passed over then.
pub async fn requests_waiting(c: &mut PgConnection, selection: &Selection) -> Result<Vec<RequestId>> {
    if selection.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = QueryBuilder::<Postgres>::new("select q.request_id from request_queue q");
    if !selection.builders.is_empty() {
        sql.push(" join lanes l on l.id = q.lane");
    }
    sql.push(" where true");
    selection.conditions(&mut sql, "q.request_id", "l.builder_id", "q.buildset_id");
    sql.push(
        " union all select w.request_id from request_waits w join build_requests r on r.id = w.request_id where true",
    );
    selection.conditions(&mut sql, "r.id", "r.builder_id", "r.buildset_id");
    if !selection.requests.is_empty() {
        // One that became part of another is found by its id alone; else it goes with that one.
        sql.push(
            " union all select r.id from build_requests r where r.collapsed_into is not null and r.complete_at is null",
        );
        selection.conditions(&mut sql, "r.id", "r.builder_id", "r.buildset_id");
    }
    sql.push(" order by 1");
    let ids: Vec<i64> = sql.build_query_scalar().fetch_all(c).await?;
    Ok(ids.into_iter().map(RequestId).collect())
}

/// Open builds of requests that are meant.
pub async fn builds_running(c: &mut PgConnection, selection: &Selection) -> Result<Vec<BuildId>> {
    if selection.is_empty() {
        return Ok(Vec::new());
    }
    let mut sql = QueryBuilder::<Postgres>::new(
        "select b.id from leases l join builds b on b.id = l.build_id join build_requests r on r.id = b.request_id
          where b.state <> 'finished'",
    );
    selection.conditions(&mut sql, "r.id", "r.builder_id", "r.buildset_id");
    sql.push(" order by 1");
    let ids: Vec<i64> = sql.build_query_scalar().fetch_all(c).await?;
    Ok(ids.into_iter().map(BuildId).collect())
}

/// What [`cancel_all`] did.
#[derive(Clone, Debug, Default)]
pub struct CancelledAll {
    pub requests: u64,
    pub builds: Vec<BuildId>,
    /// Time ran out first: ask again.
    pub more: bool,
}

/// Cancels what waits, and asks the builds to stop that run: all that is meant,
/// batch after batch, each its own transaction. What is claimed or given back
/// in between is found by the next look. Harmless to repeat.
pub async fn cancel_all(
    db: &Db,
    selection: &Selection,
    pending_only: bool,
    reason: &str,
    budget: Duration,
) -> Result<CancelledAll> {
    const LOOKS: usize = 5;
    let begun = std::time::Instant::now();
    let mut done = CancelledAll::default();
    let mut asked = BTreeSet::new();
    for _ in 0..LOOKS {
        let pending = requests_waiting(&mut *db.pool().acquire().await?, selection).await?;
        let mut acted = false;
        for batch in pending.chunks(BATCH) {
            if begun.elapsed() > budget {
                done.more = true;
                return Ok(done);
            }
            let ended =
                run_tx!(db, "requests.cancel", |c| { requests_end(c, batch, Results::Cancelled, reason).await })?;
            acted |= !ended.is_empty();
            done.requests += ended.len() as u64;
        }
        if !pending_only {
            let running = builds_running(&mut *db.pool().acquire().await?, selection).await?;
            let fresh: Vec<BuildId> = running.into_iter().filter(|b| !asked.contains(&b.0)).collect();
            for batch in fresh.chunks(BATCH) {
                let stopped = run_tx!(db, "builds.stop", |c| builds_stop(c, batch, reason, Results::Cancelled).await)?;
                acted |= !stopped.is_empty();
                asked.extend(batch.iter().map(|b| b.0));
                done.builds.extend(stopped);
            }
        }
        if !acted {
            break;
        }
    }
    Ok(done)
}

/// Gives requests that wait another priority: they go to the end of that lane.
/// Returns those that were waiting, and the lanes that got work. One that a worker
/// has claimed meanwhile is not among them.
pub async fn requests_prioritize(
    c: &mut PgConnection,
    requests: &[RequestId],
    priority: i32,
) -> Result<(Vec<RequestId>, Vec<i64>)> {
    let ids: Vec<i64> = requests.iter().map(|r| r.0).collect();
    lanes_ensure_for(c, &ids, priority).await?;
    let rows = sqlx::query!(
        r#"with taken as (
             delete from request_queue where request_id = any($1) returning request_id, buildset_id, attempt
         ), queued as (
             insert into request_queue (lane, request_id, buildset_id, attempt)
             select l.id, t.request_id, t.buildset_id, t.attempt
               from taken t
               join build_requests r on r.id = t.request_id
               join lanes l on l.builder_id = r.builder_id and l.priority = $2 and l.trusted = r.trusted
                           and l.worker_name is not distinct from r.worker_name
                           and l.virtual_id is not distinct from r.virtual_id
              order by t.request_id
             returning request_id, lane
         ), waits as (
             update request_waits w set lane = l.id
               from build_requests r, lanes l
              where w.request_id = any($1) and r.id = w.request_id and l.builder_id = r.builder_id and l.priority = $2
                and l.trusted = r.trusted and l.worker_name is not distinct from r.worker_name
                and l.virtual_id is not distinct from r.virtual_id
             returning w.request_id
         ), moved as (
             select request_id, lane from queued union all select request_id, null::bigint from waits
         ), done as (
             update build_requests r set priority = $2
              where r.id = any(array(select request_id from moved)) and r.complete_at is null
             returning r.id, r.builder_id
         ), told as (
             insert into events (kind, builder_id, data)
             select 'buildrequests.updated', builder_id, jsonb_build_object('buildrequestid', id, 'priority', $2::int)
               from done
         )
         select m.request_id as "request!", m.lane from moved m order by 1"#,
        &ids,
        priority
    )
    .fetch_all(c)
    .await?;
    let mut lanes: Vec<i64> = rows.iter().filter_map(|r| r.lane).collect();
    lanes.sort_unstable();
    lanes.dedup();
    Ok((rows.into_iter().map(|r| RequestId(r.request)).collect(), lanes))
}

/// Pauses a builder or lets it go on. While it is paused no request of it is
/// claimed; what runs goes on. Returns its lanes, for the wake. None if it was so.
pub async fn builder_pause(
    c: &mut PgConnection,
    builder: BuilderId,
    paused: bool,
    by: &str,
) -> Result<Option<Vec<i64>>> {
    let changed = sqlx::query_scalar!(
        r#"with done as (
             update builders set paused = $2 where id = $1 and paused <> $2 returning id
         ), told as (
             insert into events (kind, builder_id, data)
             select 'builders.updated', id, jsonb_build_object('paused', $2::bool, 'by', $3::text) from done
         )
         select id as "id!" from done"#,
        builder.0,
        paused,
        clean(by)
    )
    .fetch_optional(&mut *c)
    .await?;
    let Some(id) = changed else { return Ok(None) };
    let lanes = sqlx::query_scalar!("select id from lanes where builder_id = $1", id).fetch_all(c).await?;
    Ok(Some(lanes))
}

/// Ends requests of builders with an expiry that no worker could serve for that
/// long, while masters were there to hear one. Returns how many.
pub async fn requests_expire(c: &mut PgConnection) -> Result<u64> {
    let due = sqlx::query!(
        r#"select b.name, about(b.expires_after) as "after!",
                  case when l.worker_name is not null then array[l.worker_name]
                       else array(select x.worker_name from builder_workers x where x.builder_id = b.id
                                   order by 1 limit 10) end as "workers!",
                  array(select q.request_id
                          from (select k.request_id from request_queue k where k.lane = l.id
                                 order by k.ticket limit 1000) q
                          join build_requests r on r.id = q.request_id
                         where r.submitted_at < tidemill_now() - b.expires_after) as "requests!"
             from builders b
             join lanes l on l.builder_id = b.id
            where b.expires_after is not null and b.active and not b.paused
              and (select q.ticket from request_queue q where q.lane = l.id limit 1) is not null
              and (select t.resumed_at < tidemill_now() - b.expires_after from beats t order by t.id desc limit 1)
              and not exists (
                  select from worker_sessions s join workers w on w.id = s.worker_id
                   where s.seen_at > tidemill_now() - b.expires_after
                     and (l.worker_name is null or w.name = l.worker_name)
                     and (l.trusted or not worker_takes_trusted_only(w.name))
                     and (b.any_worker or exists (select from builder_workers x
                                                   where x.builder_id = b.id and x.worker_name = w.name)))
            order by b.id, l.id limit 20"#
    )
    .fetch_all(&mut *c)
    .await?;
    let mut ended = 0;
    for builder in due {
        let requests: Vec<RequestId> = builder.requests.into_iter().map(RequestId).collect();
        let named = match builder.workers.is_empty() {
            true => String::new(),
            false => format!(" ({})", builder.workers.join(", ")),
        };
        let reason = format!("no worker that may build it{named} was connected for {}", builder.after);
        ended += requests_end(c, &requests, Results::Exception, &reason).await?.len() as u64;
    }
    Ok(ended)
}

/// The builders that names mean, for a selection.
pub async fn builders_named(c: &mut PgConnection, names: &[String]) -> Result<Vec<i64>> {
    let rows = sqlx::query!(
        r#"select n.name as "name!", b.id as "id?" from unnest($1::text[]) n(name) left join builders b on b.name = n.name"#,
        names
    )
    .fetch_all(c)
    .await?;
    rows.into_iter()
        .map(|r| r.id.ok_or_else(|| Error::NotFound(format!("there is no builder named `{}`", r.name).into())))
        .collect()
}
