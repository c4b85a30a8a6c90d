-- title: Growth of logs
-- group: Storage
-- question: How much do logs grow, and which builders write most?
-- parameter: since timestamptz = 84 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: every text = week (day, week, month) | One row for each.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- column: period | time | Begin of the day, week (Monday) or month (UTC).
-- column: log_bytes | bytes | Of logs of builds that ended in it, before compression.
-- column: builds | count | Those builds.
-- column: bytes_per_build | bytes | A build, on average.
-- column: loudest | text | The builder that wrote most of it.
-- column: loudest_share | percent | Its part of log_bytes.
-- chart: line x=period y=log_bytes
-- read: The last period is not over yet. Growth with steady bytes_per_build comes from more builds; else look at the loudest
--   builder's steps.
with by_builder as (
    select date_trunc(:every, day, 'UTC') as period, builder_id, builder,
           sum(log_bytes)::float8 as log_bytes, sum(builds) as builds
    from report.log_volume
    where day >= date_trunc('day', :since, 'UTC') and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by 1, 2, 3
)
select period, sum(log_bytes)::bigint as log_bytes, sum(builds) as builds,
       sum(log_bytes) / nullif(sum(builds), 0) as bytes_per_build,
       (array_agg(builder order by log_bytes desc, builder))[1] as loudest,
       100.0 * max(log_bytes) / nullif(sum(log_bytes), 0) as loudest_share
from by_builder
group by period
order by period
