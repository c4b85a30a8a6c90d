-- title: Builder health
-- group: Health
-- question: Which builders are in trouble now, and is it getting better or worse?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC).
-- parameter: recent timestamptz = 7 days | Where the newer part begins; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 100 | Most rows.
-- column: builder | text | Name of the builder.
-- column: project | text | Its project.
-- column: last_results | text | Its last verdict (success, warnings, failure) on any branch; empty: none within 28 days of now.
-- column: last_complete_at | time | When that one ended.
-- column: broken_since | time | Since when the branch of that verdict is broken: the end of the build that broke it. Empty: it is not.
-- column: builds | count | Builds that ended in the time asked for, of any result.
-- column: success_rate | percent | Good (success, warnings) of those with a verdict (good or failure); empty without a verdict.
-- column: rate_before | percent | The same before `recent`.
-- column: rate_recent | percent | The same from `recent` on.
-- column: trend | points | rate_recent less rate_before: below zero, it gets worse.
-- chart: bars x=builder y=success_rate
-- read: Broken builders come first, then the worst recent rate. Exceptions, lost, cancelled and skipped builds
--   are no verdict on the code, so they do not count here: see failures-by-kind for them. A builder with a falling
--   trend that is not broken often has flaky tests: see flaky-tests.
with whole as (
    select builder_id, builder, project, sum(builds) as builds, sum(success + warnings) as good,
           sum(success + warnings + failure) as verdicts
    from report.build_sums(report.utc_trunc('day', :since), :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, builder, project
), recent as (
    select builder_id, sum(success + warnings) as good, sum(success + warnings + failure) as verdicts
    from report.build_sums(greatest(report.utc_trunc('day', :since), report.utc_trunc('day', :recent)), :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id
), rates as (
    select w.builder_id, w.builder, w.project, w.builds, 100.0 * w.good / nullif(w.verdicts, 0) as success_rate,
           100.0 * (w.good - coalesce(r.good, 0)) / nullif(w.verdicts - coalesce(r.verdicts, 0), 0) as rate_before,
           100.0 * r.good / nullif(r.verdicts, 0) as rate_recent
    from whole w
    left join recent r using (builder_id)
)
select r.builder, r.project, h.last_results, h.last_complete_at, h.broken_since, r.builds, r.success_rate, r.rate_before,
       r.rate_recent, r.rate_recent - r.rate_before as trend
from rates r
left join report.builder_health h using (builder_id)
order by h.broken_since is null, r.rate_recent nulls last, r.builds desc, r.builder
limit :limit
