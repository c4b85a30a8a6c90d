//! Facts of requests: how long each waited, and for what.
//!
//! What a lock kept waiting is known from `lock_wait_facts`, what a back-off did from
//! the builds that were lost; a worker is what is left.

use super::partitions::partitions_ensure_for;
use crate::Result;
use sqlx::PgConnection;
use time::OffsetDateTime;

// The facts that a statement gives, added to their months.
macro_rules! months_add {
    ($facts:literal, $($value:expr),+) => {
        sqlx::query!(
            "with fact as (" + $facts + "), kept as (
                select *, claimed_at is not null and collapsed_into is null as started from fact)
             insert into request_months as m (builder_id, month, requests, collapsed, started, for_worker, for_lock,
                                              for_back_off, worker_wait, lock_wait, back_off)
             select builder_id, date_trunc('month', complete_at, 'UTC'), count(*), count(collapsed_into),
                    count(*) filter (where started),
                    count(*) filter (where started and why = 'worker'),
                    count(*) filter (where started and why = 'lock'),
                    count(*) filter (where started and why = 'back-off'),
                    coalesce(sum(extract(epoch from worker_wait)) filter (where started), 0),
                    coalesce(sum(extract(epoch from lock_wait)) filter (where started), 0),
                    coalesce(sum(extract(epoch from back_off)) filter (where started), 0)
               from kept
              group by 1, 2
             on conflict (builder_id, month) do update
                set requests = m.requests + excluded.requests, collapsed = m.collapsed + excluded.collapsed,
                    started = m.started + excluded.started, for_worker = m.for_worker + excluded.for_worker,
                    for_lock = m.for_lock + excluded.for_lock, for_back_off = m.for_back_off + excluded.for_back_off,
                    worker_wait = m.worker_wait + excluded.worker_wait, lock_wait = m.lock_wait + excluded.lock_wait,
                    back_off = m.back_off + excluded.back_off",
            $($value),+
        )
    };
}

/// Stores facts of those of these requests that are over and have none, and adds them to
/// their months.
pub(super) async fn facts_insert(c: &mut PgConnection, ids: &[i64]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let times = sqlx::query_scalar!(
        r#"select distinct date_trunc('month', r.complete_at, 'UTC') as "month!"
             from unnest($1::bigint[]) u(id)
            cross join lateral (select k.complete_at from build_requests k
                                 where k.id = u.id and k.complete_at is not null offset 0) r
            where r.complete_at >= coalesce((select facts_since from cluster), '-infinity')"#,
        ids
    )
    .fetch_all(&mut *c)
    .await?;
    partitions_ensure_for(c, "request_facts", times).await?;
    months_add!(
        "insert into request_facts (request_id, complete_at, buildset_id, builder_id, priority, scheduler, reason,
                                    submitted_at, claimed_at, results, attempts, collapsed_into, worker_wait, lock_wait,
                                    back_off, why, ended_because)
         select r.id, r.complete_at, r.buildset_id, coalesce(virtual_of(r.virtual_id), r.builder_id), r.priority,
                s.scheduler, s.reason, r.submitted_at, b.claimed_at, r.results, b.attempts, r.collapsed_into,
                w.worker, w.lock, w.back_off,
                case when w.worker + w.lock + w.back_off < interval '1 second' then null
                     when w.lock >= w.worker and w.lock >= w.back_off then 'lock'
                     when w.back_off >= w.worker then 'back-off' else 'worker' end,
                r.complete_reason
           from (select distinct id from unnest($1::bigint[]) x(id)) u
          cross join lateral (select k.* from build_requests k
                               where k.id = u.id and k.complete_at is not null offset 0) r
          cross join lateral (select k.scheduler, k.reason from buildsets k where k.id = r.buildset_id offset 0) s
          cross join lateral (
                -- What it waited between its builds, and how much of that a back-off was (requests_retry).
                select min(x.started_at) as claimed_at, count(*)::int as attempts,
                       coalesce(sum(greatest(x.started_at - x.ended, interval '0')), interval '0') as between_builds,
                       coalesce(sum(least(greatest(x.started_at - x.ended, interval '0'),
                                          case when x.attempt > x.before
                                               then 2 * power(2, least(greatest(x.before - 1, 0), 6)) * interval '1 second'
                                               else interval '0' end)), interval '0') as back_off
                  from (select k.started_at, k.attempt, lag(k.complete_at) over w as ended, lag(k.attempt) over w as before
                          from builds k where k.request_id = r.id window w as (order by k.id)) x) b
          cross join lateral (
                -- Who became part of another one waits for nothing any more.
                select case when r.collapsed_into is null or b.claimed_at is not null
                            then greatest(coalesce(b.claimed_at, r.complete_at), r.submitted_at) else r.submitted_at end as until) e
          cross join lateral (
                -- Lines for several locks at once are one time.
                select coalesce((
                    select sum(upper(x.span) - lower(x.span))
                      from unnest((select range_agg(tstzrange(greatest(k.since, r.submitted_at), least(k.ended_at, e.until)))
                                     from lock_wait_facts k
                                    where k.builder_id = r.builder_id and k.build_id is null
                                      and (k.request_id is null or k.request_id = r.id)
                                      and k.ended_at > r.submitted_at and k.ended_at < e.until + interval '1 hour'
                                      and k.since < e.until)) x(span)), interval '0') as lock) l
          cross join lateral (
                select l.lock, b.back_off,
                       greatest(e.until - r.submitted_at + b.between_builds - l.lock - b.back_off, interval '0') as worker) w
          where r.complete_at >= coalesce((select facts_since from cluster), '-infinity')
            -- With a limit it is a probe each: an anti-join could be planned as a scan of all facts.
            and (select f.request_id from request_facts f
                  where f.request_id = r.id and f.complete_at = r.complete_at limit 1) is null
         on conflict do nothing
         returning builder_id, complete_at, collapsed_into, claimed_at, why, worker_wait, lock_wait, back_off",
        ids
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Writes the month that begins with `from` and ends with `to` anew.
pub(super) async fn month_rebuild(c: &mut PgConnection, from: OffsetDateTime, to: OffsetDateTime) -> Result<()> {
    sqlx::query!("delete from request_months where month = $1", from).execute(&mut *c).await?;
    months_add!(
        "select builder_id, complete_at, collapsed_into, claimed_at, why, worker_wait, lock_wait, back_off
           from request_facts where complete_at >= $1 and complete_at < $2",
        from,
        to
    )
    .execute(c)
    .await?;
    Ok(())
}
