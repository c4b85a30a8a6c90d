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
-- read: Ordered by waited_seconds, to the millisecond: what stands first costs people most. queue-reasons tells what they waited for,
--   queue-hours when.
with sums as (
    select builder_id, builder, sum(builds) as builds, sum(queue_seconds) as waited_seconds
    from report.build_sums(report.utc_trunc('day', :since), :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, builder
), top as (
    select * from sums
    order by round(waited_seconds::numeric, 3) desc, builder
    limit :limit
)
select t.builder, t.builds, t.waited_seconds / nullif(t.builds, 0) as mean_wait_seconds,
       report.histogram_percentile(h.waits, 0.5) as median_wait_seconds,
       report.histogram_percentile(h.waits, 0.9) as p90_wait_seconds,
       report.histogram_percentile(h.waits, 0.99) as p99_wait_seconds,
       t.waited_seconds
from top t
left join lateral (
    select report.histogram_sum(wait_histogram) as waits
    from report.build_sums(report.utc_trunc('day', :since), :until)
    where builder_id = t.builder_id
    offset 0
) h on true
order by round(t.waited_seconds::numeric, 3) desc, t.builder
