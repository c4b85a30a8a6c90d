-- title: Flaky tests
-- group: Tests
-- question: Which tests pass and fail on the same sources, how often, and since when?
-- parameter: since timestamptz = 28 days | Flakes since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only on this builder.
-- parameter: project text | Only on builders of this project.
-- parameter: test text | Only this test.
-- parameter: limit bigint = 50 | Most rows.
-- column: test | text | Name of the test.
-- column: builder | text | Where it ran.
-- column: flakes | count | Pairs of a build in which it passed and one in which it failed, of the same sources.
-- column: runs | count | How often it ran there in that time, skipped runs aside.
-- column: flake_rate | percent | flakes of runs.
-- column: failures | count | Runs that failed, flaky or not.
-- column: flaky_since | time | Its first flake of all time there.
-- column: last_flake | time | Its last one in that time.
-- chart: bars x=test y=flakes
-- read: Ordered by flakes. Repair or isolate what stands first; a test with a high rate that began on one day was made
--   flaky by a change of that day.
with flaky as (
    select test_id, test, builder_id, builder, count(*) as flakes, max(at) as last_flake
    from report.test_flakes
    where at >= :since and at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:test is null or test = :test)
    group by test_id, test, builder_id, builder
    order by flakes desc, test, builder
    limit :limit
)
select f.test, f.builder, f.flakes, r.runs, 100.0 * f.flakes / nullif(r.runs, 0) as flake_rate, r.failures,
       e.flaky_since, f.last_flake
from flaky f
left join lateral (
    select count(*) as runs, count(*) filter (where result in ('failed', 'error')) as failures
    from report.test_facts
    where test_id = f.test_id and builder_id = f.builder_id and complete_at >= :since and complete_at < :until
      and result <> 'skipped'
    offset 0
) r on true
left join lateral (
    select min(at) as flaky_since
    from report.test_flakes
    where test_id = f.test_id and builder_id = f.builder_id
    offset 0
) e on true
order by f.flakes desc, f.test, f.builder
