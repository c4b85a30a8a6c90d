-- title: What requests wait for
-- group: Queue
-- question: Do requests wait for workers, for locks, or because workers were lost?
-- parameter: since timestamptz = 7 days | Requests that ended since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 50 | Most rows.
-- column: builder | text | Name of the builder.
-- column: requests | count | Requests that ended, were built, and were not merged into another.
-- column: for_workers | count | Of those, which waited most for a free worker (or their builder was paused).
-- column: for_locks | count | Which waited most for a lock.
-- column: for_back_off | count | Which waited most because a worker was lost before.
-- column: worker_seconds | seconds | All waiting for workers, together.
-- column: lock_seconds | seconds | All waiting for locks, together.
-- column: back_off_seconds | seconds | All waiting after a loss, together.
-- chart: stacked x=builder y=worker_seconds,lock_seconds,back_off_seconds
-- read: Waiting for workers asks for more of them, or for collapsing requests; for locks, see lock-waits; for back-off,
--   see retries. Who waited less than a second counts in none of the three.
with waits as (
    select builder_id, builder, sum(started) as requests, sum(for_worker) as for_workers, sum(for_lock) as for_locks,
           sum(for_back_off) as for_back_off, sum(worker_seconds) as worker_seconds, sum(lock_seconds) as lock_seconds,
           sum(back_off_seconds) as back_off_seconds
    from report.request_sums(:since, :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, builder
    having sum(started) > 0
)
select builder, requests, for_workers, for_locks, for_back_off, worker_seconds, lock_seconds, back_off_seconds
from waits
order by round((worker_seconds + lock_seconds + back_off_seconds)::numeric, 3) desc, builder
limit :limit
