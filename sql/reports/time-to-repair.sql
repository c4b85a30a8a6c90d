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
-- column: median_repair_seconds | seconds | Of the repaired: half were good again no later after the end of the build that
--   broke them.
-- column: p90_repair_seconds | seconds | 90 of 100.
-- column: longest_repair_seconds | seconds | The longest.
-- column: repair_seconds | seconds | All together.
-- chart: bars x=builder y=median_repair_seconds
-- read: Ordered by repair_seconds, to the millisecond. Breakages within hours that nobody repairs ask for a smaller set of people who are told;
--   see breakages for each of them.
with repairs as (
    select builder_id, count(*) filter (where turn = 'broke') as breakages, count(*) filter (where turn = 'fixed') as repaired,
           max(complete_at - bad_since) filter (where turn = 'fixed') as longest,
           sum(extract(epoch from complete_at - bad_since)::float8) filter (where turn = 'fixed') as seconds
    from report.build_facts
    -- What fixes a line that was never good repairs no breakage.
    where turn is not null and (turn = 'broke' or bad_since >= :since and good_build_id is not null)
      and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
    group by builder_id
), top as (
    select b.builder, r.*
    from repairs r
    join report.builders b using (builder_id)
    order by round(r.seconds::numeric, 3) desc nulls last, r.breakages desc, b.builder
    limit :limit
)
select t.builder, t.breakages, t.repaired, t.breakages - t.repaired as still_broken,
       p.both[1] as median_repair_seconds, p.both[2] as p90_repair_seconds,
       extract(epoch from t.longest)::float8 as longest_repair_seconds, t.seconds as repair_seconds
from top t
left join lateral (
    select percentile_cont(array[0.5, 0.9]) within group (order by extract(epoch from complete_at - bad_since)::float8) as both
    from report.build_facts
    where builder_id = t.builder_id and turn = 'fixed' and bad_since >= :since and good_build_id is not null
      and complete_at >= :since and complete_at < :until
      and (:branch is null or branch = :branch)
    offset 0
) p on true
order by round(t.seconds::numeric, 3) desc nulls last, t.breakages desc, t.builder
