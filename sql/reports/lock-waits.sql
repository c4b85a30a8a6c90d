-- title: Waits for locks
-- group: Queue
-- question: Which locks hold builds up?
-- parameter: since timestamptz = 7 days | Waits that ended since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only waits of this builder.
-- parameter: project text | Only waits of builders of this project.
-- parameter: limit bigint = 50 | Most rows.
-- column: lock | text | Name of the lock.
-- column: waits | count | How often something stood in its line.
-- column: builders | count | Different builders that did.
-- column: waited_seconds | seconds | All together.
-- column: median_seconds | seconds | Half of them stood there no longer.
-- column: p95_seconds | seconds | 95 of 100.
-- column: longest_seconds | seconds | The longest.
-- column: last_wait | time | When the last of them ended.
-- chart: bars x=lock y=waited_seconds
-- read: Ordered by waited_seconds. A lock that much is waited for needs a greater maxCount, or steps that hold it for a shorter
--   time: the page Locks shows who holds it now.
select lock, count(*) as waits, count(distinct builder_id) as builders, sum(seconds) as waited_seconds,
       percentile_cont(0.5) within group (order by seconds) as median_seconds,
       percentile_cont(0.95) within group (order by seconds) as p95_seconds,
       max(seconds) as longest_seconds, max(ended_at) as last_wait
from report.lock_waits
where ended_at >= :since and ended_at < :until
  and (:builder is null or builder = :builder)
  and (:project is null or project = :project)
group by lock
order by waited_seconds desc, lock
limit :limit
