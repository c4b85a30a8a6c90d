-- title: Breakages
-- group: Changes
-- question: Who broke what, who fixed it, and how long did it take?
-- parameter: since timestamptz = 28 days | Breakages since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: branch text | Only this branch.
-- parameter: limit bigint = 100 | Most rows.
-- column: broke_at | time | End of the build that failed after a good one.
-- column: builder | text | Name of the builder.
-- column: branch | text | Branch of its first source stamp.
-- column: number | count | Number of that build.
-- column: revision | text | What it built.
-- column: failed_step | text | The step that failed first.
-- column: blamed | text | Authors of the changes since the last good build.
-- column: fixed_at | time | End of the first good build after that; empty: it is still broken.
-- column: fixed_number | count | Number of that one.
-- column: fixed_by | text | Authors of its changes.
-- column: repair_seconds | seconds | From broke_at to fixed_at.
-- chart: bars x=builder,number y=repair_seconds
-- read: Newest first. A row without fixed_at is broken now, or was given up. Several authors were blamed when builds
--   merged their changes.
with days as (
    select day, sum(sum(broke)) over (order by day desc) as broke
    from report.total_days
    where :builder is null and :project is null and :branch is null
      and day >= :since and day <= :until - interval '24 hours'
    group by day
), newest as (
    -- By the sums, eight times as many as asked for since then: not all of them may be seen, or still be there.
    select coalesce(max(day), '-infinity') as since from days where broke >= 8 * least(:limit, 1000000)
), late as (
    select build_id, builder_id, builder, branch, number, revision, failed_step, blamed, complete_at
    from report.build_facts
    where turn = 'broke' and complete_at >= (select since from newest) and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
    order by complete_at desc, build_id desc
    limit :limit
), enough as (
    select count(*) >= :limit or (select since = '-infinity' from newest) as yes from late
), broke as (
    select * from late where (select yes from enough)
    union all
    select build_id, builder_id, builder, branch, number, revision, failed_step, blamed, complete_at
    from report.build_facts
    where not (select yes from enough)
      and turn = 'broke' and complete_at >= :since and complete_at < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:branch is null or branch = :branch)
    order by complete_at desc, build_id desc
    limit :limit
)
select b.complete_at as broke_at, b.builder, b.branch, b.number, b.revision, b.failed_step,
       array_to_string(b.blamed, ', ') as blamed,
       f.complete_at as fixed_at, f.number as fixed_number, a.fixed_by,
       extract(epoch from f.complete_at - b.complete_at)::float8 as repair_seconds
from broke b
left join lateral (
    select build_id, number, complete_at
    from report.build_facts
    where turn = 'fixed' and builder_id = b.builder_id and bad_build_id = b.build_id and complete_at >= b.complete_at
    offset 0
) f on true
left join lateral (
    select string_agg(distinct author, ', ') as fixed_by
    from report.change_facts
    where build_id = f.build_id and builder_id = b.builder_id and complete_at = f.complete_at
    offset 0
) a on true
order by b.complete_at desc, b.build_id desc
