-- title: Trend
-- group: Health
-- question: Do builds get better, slower, or more?
-- parameter: since timestamptz = 84 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: every text = week (day, week, month) | One row for each.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- column: period | time | Begin of the day, week (Monday) or month (UTC).
-- column: builds | count | Builds that ended in it, of any result.
-- column: good | count | With success or warnings.
-- column: failed | count | With failure.
-- column: success_rate | percent | good of good and failed; empty without either.
-- column: mean_seconds | seconds | Running time of a build, on average.
-- column: median_seconds | seconds | Half of the builds took no longer (from a histogram, within a fifth).
-- column: p95_seconds | seconds | 95 of 100 took no longer (from a histogram, within a fifth).
-- column: mean_wait_seconds | seconds | How long a build had waited before it started, on average.
-- chart: line x=period y=success_rate
-- read: The first and the last period may be cut off by the time asked for. A median that grows with a steady p95 means
--   that every build became slower; a p95 that grows alone, that some did: see slower-steps.
with sums as (
    select day, builds, success, warnings, failure, seconds, queue_seconds, span_histogram
    from report.total_days
    where :builder is null and :project is null
      and day >= report.utc_trunc('day', :since) and day < :until
    union all
    select day, builds, success, warnings, failure, seconds, queue_seconds, span_histogram
    from report.build_days
    where (:builder is not null or :project is not null)
      and day >= report.utc_trunc('day', :since) and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
)
select date_trunc(:every, day, 'UTC') as period,
       sum(builds) as builds,
       sum(success + warnings) as good,
       sum(failure) as failed,
       100.0 * sum(success + warnings) / nullif(sum(success + warnings + failure), 0) as success_rate,
       sum(seconds) / nullif(sum(builds), 0) as mean_seconds,
       report.histogram_percentile(report.histogram_sum(span_histogram), 0.5) as median_seconds,
       report.histogram_percentile(report.histogram_sum(span_histogram), 0.95) as p95_seconds,
       sum(queue_seconds) / nullif(sum(builds), 0) as mean_wait_seconds
from sums
group by 1
order by 1
