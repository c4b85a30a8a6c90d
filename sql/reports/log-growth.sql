-- title: Growth of logs
-- group: Storage
-- question: How much do logs grow?
-- parameter: since timestamptz = 84 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: every text = week (day, week, month) | One row for each.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- column: period | time | Begin of the day, week (Monday) or month (UTC).
-- column: log_bytes | bytes | Of logs of builds that ended in it, before compression.
-- column: builds | count | Those builds.
-- column: bytes_per_build | bytes | A build, on average.
-- chart: line x=period y=log_bytes
-- read: The last period is not over yet. Growth with steady bytes_per_build comes from more builds; else see
--   loudest-builders.
with sums as (
    select day, builds, log_bytes
    from report.total_days
    where :builder is null and :project is null
      and day >= report.utc_trunc('day', :since) and day < :until
    union all
    select day, builds, log_bytes
    from report.build_days
    where (:builder is not null or :project is not null)
      and day >= report.utc_trunc('day', :since) and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
)
select date_trunc(:every, day, 'UTC') as period, sum(log_bytes)::bigint as log_bytes, sum(builds) as builds,
       sum(log_bytes)::float8 / nullif(sum(builds), 0) as bytes_per_build
from sums
group by 1
order by 1
