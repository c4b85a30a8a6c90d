-- title: Steps that became slower
-- group: Speed
-- question: Which steps became slower: since when, by how much, and what changed then?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: factor double precision = 1.2 | At least so many times as slow as before.
-- parameter: runs bigint = 10 | Needed on either side of the change.
-- parameter: limit bigint = 25 | Most rows.
-- column: builder | text | Name of the builder.
-- column: step | text | Name of the step.
-- column: slower_since | time | The day (UTC) from which on it is slower.
-- column: before_seconds | seconds | A run before that day, on average.
-- column: after_seconds | seconds | A run from that day on, on average.
-- column: factor | number | after_seconds by before_seconds.
-- column: runs_after | count | Runs from that day on.
-- column: extra_seconds | seconds | What it has cost: runs_after times what a run takes longer.
-- column: certainty | number | F of the split (how much of the days' spread it explains); above 15 it is hardly chance.
-- column: changes | text | Of that day's builds of this builder: authors and revisions, at most five.
-- chart: bars x=builder,step y=before_seconds,after_seconds
-- read: For each step the days are split where the two parts differ most (least squares over the means of days, weighed by
--   runs); splits that chance explains (certainty below 15) are left out. The change is in one of the builds of the day
--   slower_since, or since the last run before it. Ordered by extra_seconds. Looked at are the 100 times `limit` steps with
--   most running time, as none costs more than it takes. A time of more than 92 days is split by months (UTC, the first and
--   the last as a whole) before: only steps with `runs` on either side of that split, and slower after it by half of what
--   `factor` asks for, are split by days, at most the 10 times `limit` for which it has cost most.
with looked_at as (
    select s.builder_id, b.builder, s.step
    from (
        select builder_id, step, sum(seconds) as seconds
        from report.step_sums(report.utc_trunc('day', :since), :until)
        where (:builder is null or builder = :builder)
          and (:project is null or project = :project)
        group by builder_id, step
    ) s
    join report.builders b using (builder_id)
    order by round(s.seconds::numeric, 3) desc, b.builder, s.step
    limit 100 * least(:limit, 1000000)
), months as (
    select l.builder_id, l.builder, l.step, m.month,
           coalesce(sum(m.runs) over before, 0)::float8 as n1, coalesce(sum(m.seconds) over before, 0) as s1,
           (sum(m.runs) over whole)::float8 as n, sum(m.seconds) over whole as s
    from looked_at l
    cross join lateral (
        select month, runs, seconds
        from report.step_months
        where :until - :since > interval '92 days'
          and builder_id = l.builder_id and step = l.step and runs > 0
          and month >= report.utc_trunc('month', :since) and month < :until
        offset 0
    ) m
    window whole as (partition by l.builder_id, l.step),
           before as (partition by l.builder_id, l.step order by m.month rows between unbounded preceding and 1 preceding)
), parts as (
    select distinct on (builder_id, step)
           builder_id, builder, step, n - n1 as n2, s1 / n1 as m1, (s - s1) / (n - n1) as m2
    from months
    where n1 >= :runs and n - n1 >= :runs
    order by builder_id, step, n1 * (n - n1) / n * power((s - s1) / (n - n1) - s1 / n1, 2) desc, month
), candidates as (
    (
        select builder_id, builder, step
        from parts
        where m2 >= m1 * (1 + (:factor - 1) / 2)
        order by n2 * (m2 - m1) desc, builder, step
        limit 10 * least(:limit, 1000000)
    )
    union all
    select builder_id, builder, step
    from looked_at
    where :until - :since <= interval '92 days'
), days as (
    select c.builder_id, c.builder, c.step, d.day, d.runs, d.seconds, d.seconds * d.seconds / d.runs as squares
    from candidates c
    cross join lateral (
        select day, runs, seconds
        from report.step_days
        where builder_id = c.builder_id and step = c.step and runs > 0
          and day >= report.utc_trunc('day', :since) and day < :until
        offset 0
    ) d
), running as (
    select builder_id, builder, step, day,
           coalesce(sum(runs) over before, 0)::float8 as n1, coalesce(sum(seconds) over before, 0) as s1,
           (sum(runs) over whole)::float8 as n, sum(seconds) over whole as s, sum(squares) over whole as q,
           count(*) over whole as days
    from days
    window whole as (partition by builder_id, step),
           before as (partition by builder_id, step order by day rows between unbounded preceding and 1 preceding)
), split as (
    select builder_id, builder, step, day, days, n - n1 as n2, s1 / n1 as m1, (s - s1) / (n - n1) as m2,
           n1 * (n - n1) / n * power((s - s1) / (n - n1) - s1 / n1, 2) as between_parts,
           q - s * s / n as total
    from running
    where days >= 4 and n1 >= :runs and n - n1 >= :runs
), best as (
    select distinct on (builder_id, step) *,
           between_parts / (greatest(total - between_parts, 1e-9 * total + 1e-12) / (days - 2)) as certainty
    from split
    order by builder_id, step, between_parts desc, day
), slower as (
    select builder_id, builder, step, day, m1, m2, n2, certainty, n2 * (m2 - m1) as extra_seconds
    from best
    where m1 > 0 and m2 >= m1 * :factor and certainty >= 15
    order by extra_seconds desc, builder, step
    limit :limit
)
select s.builder, s.step, s.day as slower_since, s.m1 as before_seconds, s.m2 as after_seconds, s.m2 / s.m1 as factor,
       s.n2::bigint as runs_after, s.extra_seconds, s.certainty, c.changes
from slower s
left join lateral (
    select string_agg(said, ', ' order by change_id) as changes
    from (
        select distinct change_id, author || ' ' || left(coalesce(revision, ''), 12) as said
        from report.change_facts
        where builder_id = s.builder_id and complete_at >= s.day and complete_at < s.day + interval '1 day'
        order by change_id
        limit 5
    ) of_that_day
) c on true
order by s.extra_seconds desc, s.builder, s.step
