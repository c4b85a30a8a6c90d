-- title: First bad change of a test
-- group: Tests
-- question: Which tests fail now, since which build, and which change began it?
-- parameter: since timestamptz = 365 days | Tests that began to fail since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only on this builder.
-- parameter: project text | Only on builders of this project.
-- parameter: test text | Only this test.
-- parameter: limit bigint = 50 | Most rows.
-- column: test | text | Name of the test.
-- column: builder | text | Where it fails.
-- column: failing_since | time | When it failed first after it had passed, or first of all.
-- column: failing_seconds | seconds | From then until `until`.
-- column: number | count | Number of that build.
-- column: branch | text | Its branch.
-- column: revision | text | What it built.
-- column: good_number | count | Number of the last build in which it passed; empty: in none of the 20 runs before.
-- column: changes | text | Of that build: authors and revisions, at most five.
-- chart: bars x=test y=failing_seconds
-- read: Newest first. The culprit is among the changes of that build, or of builds between good_number and it. Was the
--   test flaky before (flaky-tests), look further back.
with failing as (
    select test_id, test, builder_id, builder, since, since_build, good_build
    from report.test_states
    where failing and since >= :since and since < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:test is null or test = :test)
    order by since desc, test, builder, since_build
    limit :limit
)
select f.test, f.builder, f.since as failing_since,
       extract(epoch from :until - f.since)::float8 as failing_seconds, b.number, b.branch, b.revision, g.number as good_number, c.changes
from failing f
left join lateral (
    select number, branch, revision from report.build_facts where build_id = f.since_build and builder_id = f.builder_id offset 0
) b on true
left join lateral (
    select number from report.build_facts where build_id = f.good_build and builder_id = f.builder_id offset 0
) g on true
left join lateral (
    select string_agg(said, ', ' order by change_id) as changes
    from (
        select change_id, author || ' ' || left(coalesce(revision, ''), 12) as said
        from report.change_facts
        where build_id = f.since_build and builder_id = f.builder_id
        order by change_id
        limit 5
    ) of_that_build
) c on true
order by f.since desc, f.test, f.builder, f.since_build
