-- title: Cost
-- group: Workers and cost
-- question: What do the builds of each project cost, and is it growing?
-- parameter: since timestamptz = 28 days | How far back; whole hours (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: by text = project (project, builder, worker) | What a row is.
-- parameter: project text | Only builders of this project.
-- parameter: price double precision = 1 | Of an hour of a build on a worker without the label hourly_cost.
-- parameter: limit bigint = 50 | Most rows.
-- column: name | text | The project, builder or worker.
-- column: builds | count | Builds that ended.
-- column: hours | hours | Running time of builds within that time.
-- column: cost | money | hours, each at hourly_cost by slot of its worker (or at price).
-- column: share | percent | Of the cost of all rows.
-- column: cost_before | money | In the time of the same length before: whole hours from twice as far back.
-- column: growth | percent | How much more than before; empty if there was nothing before.
-- chart: bars x=name y=cost,cost_before
-- read: Ordered by cost. Idle workers are not in it, see worker-use. An hour of a build on a worker of 4 slots and
--   hourly_cost 2 costs 0.5. By project and worker whole months are read, in which a builder counts for the project that it was
--   of then; by builder each hour of each worker, which takes longer.
with used as (
    select case :by when 'worker' then w.worker else u.project end as name, u.now, u.builds, u.busy_seconds / 3600 as hours,
           u.busy_seconds / 3600 * coalesce(w.hourly_cost / greatest(coalesce(w.slots, 1), 1), :price) as cost
    from (
        select worker_id, project, true as now, sum(builds) as builds, sum(busy_seconds) as busy_seconds
        from report.worker_sums(report.utc_trunc('hour', :since), :until)
        where :by <> 'builder' and (:project is null or project = :project)
        group by 1, 2
        union all
        select worker_id, project, false, sum(builds), sum(busy_seconds)
        from report.worker_sums(report.utc_trunc('hour', :since) - (:until - report.utc_trunc('hour', :since)),
                                report.utc_trunc('hour', :since))
        where :by <> 'builder' and (:project is null or project = :project)
        group by 1, 2
    ) u
    join report.workers w using (worker_id)
    union all
    select u.builder, u.now, u.builds, u.busy_seconds / 3600,
           u.busy_seconds / 3600 * coalesce(w.hourly_cost / greatest(coalesce(w.slots, 1), 1), :price)
    from (
        select worker_id, builder, hour >= report.utc_trunc('hour', :since) as now,
               sum(builds) as builds, sum(busy_seconds) as busy_seconds
        from report.worker_use
        where :by = 'builder'
          and hour >= report.utc_trunc('hour', :since) - (:until - report.utc_trunc('hour', :since)) and hour < :until
          and (:project is null or project = :project)
        group by 1, 2, 3
    ) u
    join report.workers w using (worker_id)
), sums as (
    select name, sum(builds) filter (where now) as builds, sum(hours) filter (where now) as hours,
           sum(cost) filter (where now) as cost, sum(cost) filter (where not now) as cost_before
    from used
    group by name
)
select name, coalesce(builds, 0) as builds, coalesce(hours, 0) as hours, coalesce(cost, 0) as cost,
       100.0 * cost / nullif(sum(cost) over (), 0) as share,
       coalesce(cost_before, 0) as cost_before,
       100.0 * (coalesce(cost, 0) / nullif(cost_before, 0) - 1) as growth
from sums
order by cost desc nulls last, name
limit :limit
