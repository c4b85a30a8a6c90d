-- title: A number over time
-- group: Health
-- question: How does a number that steps count (warnings, sizes, tests) develop?
-- parameter: since timestamptz = 7 days | How far back; whole days (UTC), with a branch or every hour exactly.
-- parameter: until timestamptz = now | Until when.
-- parameter: statistic text = warnings | Name of the number.
-- parameter: every text = day (hour, day, week, month) | One row for each.
-- parameter: builder text | Only this builder: best, as others count other things.
-- parameter: project text | Only builders of this project.
-- parameter: branch text | Only this branch.
-- parameter: step text | Only of steps of this name.
-- column: period | time | Begin of the hour, day, week (Monday) or month (UTC).
-- column: runs | count | Steps that gave the number.
-- column: mean | number | On average.
-- column: lowest | number | The lowest.
-- column: highest | number | The highest.
-- column: newest | number | Of the build that ended last.
-- chart: line x=period y=mean,newest
-- read: Steps count `warnings` by themselves, others are set by step functions. A jump of the mean is a change in one of that
--   period's builds.
with days as (
    select day, sum(runs) as runs, sum(total) as total, min(lowest) as lowest, max(highest) as highest,
           max(newest_at) as newest_at
    from report.statistic_days
    where :branch is null and :every <> 'hour'
      and name = :statistic and day >= report.utc_trunc('day', :since) and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:step is null or step = :step)
    group by day
), periods as (
    select date_trunc(:every, day, 'UTC') as period, sum(runs) as runs, sum(total) / nullif(sum(runs), 0) as mean,
           min(lowest) as lowest, max(highest) as highest, max(day) as last_day, max(newest_at) as newest_at
    from days
    group by 1
)
select p.period, p.runs, p.mean, p.lowest, p.highest, n.newest
from periods p
cross join lateral (
    select newest
    from report.statistic_days
    where name = :statistic and day = p.last_day and newest_at = p.newest_at
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:step is null or step = :step)
    order by newest_build_id desc, step desc
    limit 1
) n
union all
select date_trunc(:every, b.complete_at, 'UTC'), count(*), avg(s.value), min(s.value), max(s.value),
       (array_agg(s.value order by b.complete_at desc, b.build_id desc, s.step desc))[1]
from (
    select build_id, builder_id, complete_at
    from report.build_facts
    where (:branch is not null or :every = 'hour')
      and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
) b
cross join lateral (
    select step, value
    from report.statistics
    where build_id = b.build_id and builder_id = b.builder_id and complete_at = b.complete_at
      and name = :statistic and (:step is null or step = :step)
    offset 0
) s
group by 1
order by 1
