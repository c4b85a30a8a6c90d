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
with days as (
    select builder_id, builder, project,
           sum(builds) as builds,
           sum(success + warnings) as good,
           sum(success + warnings + failure) as verdicts,
           sum(success + warnings) filter (where day >= date_trunc('day', :recent, 'UTC')) as good_recent,
           sum(success + warnings + failure) filter (where day >= date_trunc('day', :recent, 'UTC')) as verdicts_recent
    from report.build_days
    where day >= date_trunc('day', :since, 'UTC') and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, builder, project
)
select d.builder, d.project, h.last_results, h.last_complete_at, h.broken_since, d.builds,
       100.0 * d.good / nullif(d.verdicts, 0) as success_rate,
       100.0 * (d.good - coalesce(d.good_recent, 0)) / nullif(d.verdicts - coalesce(d.verdicts_recent, 0), 0) as rate_before,
       100.0 * d.good_recent / nullif(d.verdicts_recent, 0) as rate_recent,
       100.0 * d.good_recent / nullif(d.verdicts_recent, 0)
       - 100.0 * (d.good - coalesce(d.good_recent, 0)) / nullif(d.verdicts - coalesce(d.verdicts_recent, 0), 0) as trend
from days d
left join report.builder_health h on h.builder_id = d.builder_id
order by h.broken_since is null, rate_recent nulls last, d.builds desc, d.builder
limit :limit
