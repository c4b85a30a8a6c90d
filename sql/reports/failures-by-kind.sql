-- title: Failures by kind
-- group: Health
-- question: Do builds fail by what was built, by the infrastructure, or were they stopped?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: every text = day (day, week, month) | One row for each.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- column: period | time | Begin of the day, week (Monday) or month (UTC).
-- column: builds | count | Builds that ended in it.
-- column: good | count | With success or warnings.
-- column: tests | count | With failure: what was built is at fault.
-- column: infrastructure | count | With exception: Tidemill, its worker or a step's definition is at fault.
-- column: cancelled | count | Stopped by somebody.
-- column: lost | count | Lost with their worker, and built again.
-- column: skipped | count | Skipped.
-- column: infrastructure_rate | percent | infrastructure and lost of builds.
-- chart: stacked x=period y=tests,infrastructure,cancelled,lost
-- read: Days with much infrastructure are not the authors' fault: look at the workers (retries, worker-use) of that day.
with sums as (
    select day, builds, success, warnings, failure, exception, cancelled, retry, skipped
    from report.total_days
    where :builder is null and :project is null
      and day >= report.utc_trunc('day', :since) and day < :until
    union all
    select day, builds, success, warnings, failure, exception, cancelled, retry, skipped
    from report.build_days
    where (:builder is not null or :project is not null)
      and day >= report.utc_trunc('day', :since) and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
)
select date_trunc(:every, day, 'UTC') as period, sum(builds) as builds, sum(success + warnings) as good,
       sum(failure) as tests, sum(exception) as infrastructure, sum(cancelled) as cancelled, sum(retry) as lost,
       sum(skipped) as skipped, 100.0 * sum(exception + retry) / nullif(sum(builds), 0) as infrastructure_rate
from sums
group by 1
order by 1
