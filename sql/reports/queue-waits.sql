-- title: Queue waits by builder
-- group: Queue
-- question: Whose builds wait long before they start?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 50 | Most rows.
-- column: builder | text | Name of the builder.
-- column: builds | count | Builds that ended in that time.
-- column: mean_wait_seconds | seconds | From the moment that it could start (made, or its build before was lost) until it started.
-- column: median_wait_seconds | seconds | Half of them waited no longer (from a histogram, within a fifth).
-- column: p90_wait_seconds | seconds | 90 of 100 (from a histogram, within a fifth).
-- column: p99_wait_seconds | seconds | 99 of 100 (from a histogram, within a fifth).
-- column: waited_seconds | seconds | All of them together.
-- chart: bars x=builder y=median_wait_seconds,p90_wait_seconds
-- read: Ordered by waited_seconds: what stands first costs people most. queue-reasons tells what they waited for,
--   queue-hours when.
select builder, sum(builds) as builds,
       sum(queue_seconds) / nullif(sum(builds), 0) as mean_wait_seconds,
       report.histogram_percentile(report.histogram_sum(wait_histogram), 0.5) as median_wait_seconds,
       report.histogram_percentile(report.histogram_sum(wait_histogram), 0.9) as p90_wait_seconds,
       report.histogram_percentile(report.histogram_sum(wait_histogram), 0.99) as p99_wait_seconds,
       sum(queue_seconds) as waited_seconds
from report.build_days
where day >= date_trunc('day', :since, 'UTC') and day < :until
  and (:builder is null or builder = :builder)
  and (:project is null or project = :project)
group by builder_id, builder
order by waited_seconds desc, builder
limit :limit
