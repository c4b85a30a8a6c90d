-- title: Slowest tests
-- group: Tests
-- question: Which tests take the most time?
-- parameter: since timestamptz = 7 days | Runs since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only on this builder.
-- parameter: project text | Only on builders of this project.
-- parameter: limit bigint = 50 | Most rows.
-- column: test | text | Name of the test.
-- column: builder | text | Where it ran.
-- column: runs | count | Runs that told how long they took.
-- column: total_seconds | seconds | All of them together.
-- column: mean_seconds | seconds | A run, on average.
-- column: longest_seconds | seconds | The longest run.
-- column: failures | count | Of these runs, which failed.
-- chart: bars x=test y=total_seconds
-- read: Ordered by total_seconds. A test that is slow and never fails may run less often.
select test, builder, count(*) as runs, sum(seconds) as total_seconds, avg(seconds) as mean_seconds,
       max(seconds) as longest_seconds, count(*) filter (where result in ('failed', 'error')) as failures
from report.test_facts
where complete_at >= :since and complete_at < :until and seconds is not null
  and (:builder is null or builder = :builder)
  and (:project is null or project = :project)
group by test_id, test, builder_id, builder
order by total_seconds desc, test, builder
limit :limit
