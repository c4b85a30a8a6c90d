-- title: Failure rate of changes
-- group: Changes
-- question: How often does a build break what was good?
-- parameter: since timestamptz = 84 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: every text = week (day, week, month) | One row for each.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- column: period | time | Begin of the day, week (Monday) or month (UTC).
-- column: verdicts | count | Builds that ended in it with success, warnings or failure.
-- column: failed | count | Of those, with failure.
-- column: broke | count | Of those, which failed after a good one on their line.
-- column: fixed | count | Good ones after a failure on their line.
-- column: failure_rate | percent | broke of verdicts.
-- column: red_rate | percent | failed of verdicts.
-- chart: line x=period y=failure_rate,red_rate
-- read: failure_rate is one of the DORA measures, of CI's part. A red_rate far above it means that broken builders stay
--   broken: see time-to-repair.
with sums as (
    select day, success, warnings, failure, broke, fixed
    from report.total_days
    where :builder is null and :project is null
      and day >= report.utc_trunc('day', :since) and day < :until
    union all
    select day, success, warnings, failure, broke, fixed
    from report.build_days
    where (:builder is not null or :project is not null)
      and day >= report.utc_trunc('day', :since) and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
)
select date_trunc(:every, day, 'UTC') as period,
       sum(success + warnings + failure) as verdicts, sum(failure) as failed, sum(broke) as broke, sum(fixed) as fixed,
       100.0 * sum(broke) / nullif(sum(success + warnings + failure), 0) as failure_rate,
       100.0 * sum(failure) / nullif(sum(success + warnings + failure), 0) as red_rate
from sums
group by 1
order by 1
