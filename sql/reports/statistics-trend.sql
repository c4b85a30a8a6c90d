-- title: A number over time
-- group: Health
-- question: How does a number that steps count (warnings, sizes, tests) develop?
-- parameter: since timestamptz = 7 days | Builds that ended since then.
-- parameter: until timestamptz = now | And before then.
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
select date_trunc(:every, b.complete_at, 'UTC') as period, count(*) as runs, avg(s.value) as mean,
       min(s.value) as lowest, max(s.value) as highest,
       (array_agg(s.value order by b.complete_at desc, b.build_id desc, s.step_number desc))[1] as newest
from (
    select build_id, builder_id, complete_at
    from report.build_facts
    where complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
) b
cross join lateral (
    select step_number, value
    from report.statistics
    where build_id = b.build_id and builder_id = b.builder_id and complete_at = b.complete_at
      and name = :statistic and (:step is null or step = :step)
    offset 0
) s
group by 1
order by 1
