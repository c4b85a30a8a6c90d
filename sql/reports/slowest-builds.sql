-- title: Slowest builds
-- group: Speed
-- question: Which builds took longest, and what did they wait for?
-- parameter: since timestamptz = 7 days | Builds that ended since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: branch text | Only this branch.
-- parameter: worker text | Only on this worker.
-- parameter: limit bigint = 25 | Most rows.
-- column: builder | text | Name of the builder.
-- column: number | count | Number of the build there.
-- column: build_id | id | Id of the build.
-- column: branch | text | Branch of its first source stamp.
-- column: results | text | How it ended.
-- column: complete_at | time | When it ended.
-- column: seconds | seconds | How long it ran.
-- column: lock_seconds | seconds | Of that, how long its steps waited for locks.
-- column: queue_seconds | seconds | How long it had waited before it started.
-- column: worker | text | Where it ran.
-- column: slowest_step | text | The step that took longest.
-- column: slowest_step_seconds | seconds | How long.
-- chart: bars x=builder,number y=seconds,queue_seconds
-- read: Ordered by running time. Much lock_seconds: see lock-waits. Much queue_seconds: see queue-waits.
with spans as (
    select unnest(span_histogram) as span
    from report.total_days
    where :builder is null and :project is null and :branch is null and :worker is null
      and day >= :since and day <= :until - interval '24 hours'
    union all
    select unnest(span_histogram)
    from report.build_days
    where (:builder is not null or :project is not null) and :branch is null and :worker is null
      and day >= :since and day <= :until - interval '24 hours'
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
), buckets as (
    select span >> 24 as bucket, sum(sum(span & 16777215)) over (order by span >> 24 desc) as builds_above
    from spans
    group by 1
), least_seconds as (
    -- By the sums, eight times as many as asked for took that long: not all of them may be seen, or still be there.
    select coalesce(max(0.99 * power(2, (bucket - 20) / 4.0)) filter (where bucket > 0), '-infinity')::float8 as seconds
    from buckets
    where builds_above >= 8 * least(:limit, 1000000)
), long as (
    -- Bounds on both sides: so the planner expects few of them, and takes the index.
    select builder_id, builder, number, build_id, branch, results, complete_at, seconds, lock_seconds, queue_seconds, worker
    from report.build_facts
    where seconds >= (select seconds from least_seconds) and seconds < 'infinity'
      and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
      and (:worker is null or worker = :worker)
    order by seconds desc, build_id
    limit :limit
), enough as (
    select count(*) >= :limit or (select seconds = '-infinity' from least_seconds) as yes from long
), slowest as (
    select * from long where (select yes from enough)
    union all
    select builder_id, builder, number, build_id, branch, results, complete_at, seconds, lock_seconds, queue_seconds, worker
    from report.build_facts
    where not (select yes from enough)
      and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
      and (:worker is null or worker = :worker)
    order by seconds desc, build_id
    limit :limit
)
select b.builder, b.number, b.build_id, b.branch, b.results, b.complete_at, b.seconds, b.lock_seconds, b.queue_seconds,
       b.worker, s.step as slowest_step, s.seconds as slowest_step_seconds
from slowest b
left join lateral (
    select step, seconds from report.step_facts
    where build_id = b.build_id and builder_id = b.builder_id and build_complete_at = b.complete_at
    order by seconds desc nulls last, step_number
    limit 1
) s on true
order by b.seconds desc, b.build_id
