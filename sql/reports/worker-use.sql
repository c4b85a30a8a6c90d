-- title: Use of workers
-- group: Workers and cost
-- question: Which workers are idle, and what does that cost?
-- parameter: since timestamptz = 7 days | How far back; whole hours (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: worker text | Only this worker.
-- column: worker | text | Name of the worker.
-- column: builds | count | Builds that ended there.
-- column: lost | count | Of those, which were lost with it.
-- column: online_seconds | seconds | How long it was connected.
-- column: slot_seconds | seconds | That, times the builds that it takes at once.
-- column: busy_seconds | seconds | Running time of its builds within that time, together.
-- column: use | percent | busy_seconds of slot_seconds; empty if it was never connected.
-- column: hourly_cost | money | What it costs in an hour, by its label hourly_cost.
-- column: cost | money | hourly_cost for the hours online.
-- column: idle_cost | money | The part of cost that no build used.
-- chart: bars x=worker y=use
-- read: Ordered by idle_cost, then by the lowest use. A worker that is lost often stands in retries. Label workers with
--   hourly_cost to see money: `tidemill worker --labels hourly_cost=0.4`.
with used as (
    select worker_id, sum(builds) as builds, sum(lost) as lost, sum(busy_seconds) as busy_seconds
    from report.worker_sums(report.utc_trunc('hour', :since), :until)
    where :worker is null or worker = :worker
    group by worker_id
), online as (
    select worker_id, sum(seconds) as online_seconds, sum(seconds * slots) as slot_seconds
    from (
        select worker_id, coalesce(slots, 1) as slots,
               extract(epoch from least(coalesce(until, :until), :until) - greatest(opened_at, report.utc_trunc('hour', :since)))::float8
                   as seconds
        from report.worker_online
        where opened_at < :until and (until is null or until > report.utc_trunc('hour', :since))
          and (:worker is null or worker = :worker)
    ) sessions
    where seconds > 0
    group by worker_id
)
select w.worker, coalesce(u.builds, 0) as builds, coalesce(u.lost, 0) as lost,
       coalesce(o.online_seconds, 0) as online_seconds, coalesce(o.slot_seconds, 0) as slot_seconds,
       coalesce(u.busy_seconds, 0) as busy_seconds,
       100.0 * coalesce(u.busy_seconds, 0) / nullif(o.slot_seconds, 0) as use,
       w.hourly_cost,
       coalesce(o.online_seconds, 0) / 3600 * w.hourly_cost as cost,
       coalesce(o.online_seconds, 0) / 3600 * w.hourly_cost
           * greatest(0, 1 - coalesce(u.busy_seconds, 0) / nullif(o.slot_seconds, 0)) as idle_cost
from report.workers w
left join used u using (worker_id)
left join online o using (worker_id)
where (u.worker_id is not null or o.worker_id is not null)
  and (:worker is null or w.worker = :worker)
order by idle_cost desc nulls last, use nulls last, w.worker
