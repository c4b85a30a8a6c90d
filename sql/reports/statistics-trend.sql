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
select date_trunc(:every, complete_at, 'UTC') as period, count(*) as runs, avg(value) as mean,
       min(value) as lowest, max(value) as highest,
       (array_agg(value order by complete_at desc, build_id desc, step_number desc))[1] as newest
from report.statistics
where complete_at >= :since and complete_at < :until
  and name = :statistic
  and (:builder is null or builder = :builder)
  and (:project is null or project = :project)
  and (:branch is null or branch = :branch)
  and (:step is null or step = :step)
group by 1
order by 1
