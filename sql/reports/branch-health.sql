-- title: Branches
-- group: Health
-- question: Which branches are built, and which of them are red?
-- parameter: since timestamptz = 7 days | Builds that ended since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 50 | Most rows.
-- column: project | text | Project of the builders.
-- column: branch | text | Branch of the first source stamp; empty: the default branch.
-- column: builders | count | Builders that built it.
-- column: builds | count | Builds that ended, of any result.
-- column: success_rate | percent | Good (success, warnings) of those with a verdict (good or failure).
-- column: red_builders | count | Builders whose last verdict in that time is a failure.
-- column: last_complete_at | time | When the last of its builds ended.
-- chart: bars x=branch y=builds,red_builders
-- read: Ordered by builds. A branch with red builders is not ready to be merged; a main branch with any is first of all to be
--   repaired: see breakages.
with branches as (
    select builder_id, project, branch, sum(builds) as builds, sum(good) as good, sum(failed) as failed,
           max(last_complete_at) as last_complete_at, max(last_good_at) as last_good, max(last_failed_at) as last_bad
    from report.branch_sums(:since, :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, project, branch
)
select project, branch, count(*) as builders, sum(builds) as builds,
       100.0 * sum(good) / nullif(sum(good + failed), 0) as success_rate,
       count(*) filter (where last_bad is not null and (last_good is null or last_bad > last_good)) as red_builders,
       max(last_complete_at) as last_complete_at
from branches
group by project, branch
order by sum(builds) desc, project, branch
limit :limit
