-- title: Busiest hours
-- group: Workers and cost
-- question: At which hours of the week does most work come together?
-- parameter: since timestamptz = 28 days | How far back; whole hours (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- column: weekday | text | Day of the week (UTC).
-- column: hour | count | Hour of the day (UTC), 0 to 23.
-- column: builds | count | Builds that ended in such an hour, of all weeks together.
-- column: seconds | seconds | Their running time together.
-- column: mean_wait_seconds | seconds | How long they had waited before they started, on average.
-- chart: heatmap x=hour y=weekday value=builds
-- read: Move nightly builds out of the bright fields, and maintenance into the dark ones.
with sums as (
    select hour, builds, seconds, queue_seconds
    from report.total_hours
    where :builder is null and :project is null
      and hour >= report.utc_trunc('hour', :since) and hour < :until
    union all
    select hour, builds, seconds, queue_seconds
    from report.build_hours
    where (:builder is not null or :project is not null)
      and hour >= report.utc_trunc('hour', :since) and hour < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
)
select to_char(min(hour) at time zone 'UTC', 'ID Dy') as weekday,
       date_part('hour', hour at time zone 'UTC')::bigint as hour,
       sum(builds) as builds, sum(seconds) as seconds,
       sum(queue_seconds) / nullif(sum(builds), 0) as mean_wait_seconds
from sums
group by date_part('isodow', hour at time zone 'UTC'), date_part('hour', hour at time zone 'UTC')
order by 1, 2
