-- title: Time to repair
-- group: Changes
-- question: How long do builders stay broken?
-- parameter: since timestamptz = 28 days | Breakages since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: branch text | Only this branch.
-- parameter: limit bigint = 50 | Most rows.
-- column: builder | text | Name of the builder.
-- column: breakages | count | Builds that failed after a good one on their line (same builder, repositories, branches).
-- column: repaired | count | Of those, which were followed by a good one before `until`.
-- column: still_broken | count | The others.
-- column: median_repair_seconds | seconds | Of the repaired: half were good again no later after the end of the build that broke them.
-- column: p90_repair_seconds | seconds | 90 of 100.
-- column: longest_repair_seconds | seconds | The longest.
-- column: repair_seconds | seconds | All together.
-- chart: bars x=builder y=median_repair_seconds
-- read: Ordered by repair_seconds. Breakages within hours that nobody repairs ask for a smaller set of people who are told;
--   see breakages for each of them.
with broke as (
    select build_id, builder_id, builder, complete_at
    from report.build_facts
    where turn = 'broke' and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
), fixed as (
    select bad_build_id, complete_at
    from report.build_facts
    where turn = 'fixed' and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
), pairs as (
    select b.builder_id, b.builder, extract(epoch from f.complete_at - b.complete_at)::float8 as seconds
    from broke b
    left join fixed f on f.bad_build_id = b.build_id
)
select builder, count(*) as breakages, count(seconds) as repaired, count(*) - count(seconds) as still_broken,
       percentile_cont(0.5) within group (order by seconds) as median_repair_seconds,
       percentile_cont(0.9) within group (order by seconds) as p90_repair_seconds,
       max(seconds) as longest_repair_seconds,
       sum(seconds) as repair_seconds
from pairs
group by builder_id, builder
order by repair_seconds desc nulls last, breakages desc, builder
limit :limit
