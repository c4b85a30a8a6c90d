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
with slowest as (
    select builder_id, builder, number, build_id, branch, results, complete_at, seconds, lock_seconds, queue_seconds, worker
    from report.build_facts
    where complete_at >= :since and complete_at < :until
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
