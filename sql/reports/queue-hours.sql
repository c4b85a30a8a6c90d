-- title: Queue waits by hour of the day
-- group: Queue
-- question: When do builds wait?
-- parameter: since timestamptz = 28 days | How far back; whole hours (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- column: weekday | text | Day of the week (UTC).
-- column: hour | count | Hour of the day (UTC), 0 to 23.
-- column: builds | count | Builds that ended in such an hour.
-- column: mean_wait_seconds | seconds | How long they had waited before they started, on average.
-- column: p90_wait_seconds | seconds | 90 of 100 waited no longer (from a histogram, within a fifth).
-- chart: heatmap x=hour y=weekday value=p90_wait_seconds
-- read: By the hour in which builds ended. Bright columns at the same hour of each day ask for more workers then, or for
--   nightly builds at another time.
with sums as (
    select hour, builds, queue_seconds, wait_histogram
    from report.total_hours
    where :builder is null and :project is null
      and hour >= report.utc_trunc('hour', :since) and hour < :until
    union all
    select hour, builds, queue_seconds, wait_histogram
    from report.build_hours
    where (:builder is not null or :project is not null)
      and hour >= report.utc_trunc('hour', :since) and hour < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
)
select to_char(min(hour) at time zone 'UTC', 'ID Dy') as weekday,
       date_part('hour', hour at time zone 'UTC')::bigint as hour,
       sum(builds) as builds,
       sum(queue_seconds) / nullif(sum(builds), 0) as mean_wait_seconds,
       report.histogram_percentile(report.histogram_sum(wait_histogram), 0.9) as p90_wait_seconds
from sums
group by date_part('isodow', hour at time zone 'UTC'), date_part('hour', hour at time zone 'UTC')
order by 1, 2
