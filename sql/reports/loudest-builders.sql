-- title: Loudest builders
-- group: Storage
-- question: Which builders write most of the logs?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 25 | Most rows.
-- column: builder | text | Name of the builder.
-- column: builds | count | Builds that ended in that time.
-- column: log_bytes | bytes | Of their logs, before compression.
-- column: bytes_per_build | bytes | A build, on average.
-- column: share | percent | Of the logs of all builders that fit the filters.
-- chart: bars x=builder y=log_bytes
-- read: Ordered by log_bytes. Many bytes_per_build come from one or two steps that say too much: the page of a build shows the
--   size of each log. log-growth tells whether it becomes more, retention-forecast what keeping it takes.
with builders as (
    select builder_id, builder, sum(builds) as builds, sum(log_bytes)::float8 as log_bytes
    from report.build_sums(report.utc_trunc('day', :since), :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, builder
)
select builder, builds, log_bytes::bigint as log_bytes, log_bytes / nullif(builds, 0) as bytes_per_build,
       100.0 * log_bytes / nullif(sum(log_bytes) over (), 0) as share
from builders
order by log_bytes desc, builder
limit :limit
