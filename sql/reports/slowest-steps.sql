-- title: Slowest steps
-- group: Speed
-- question: Which steps take the most time of all?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 25 | Most rows.
-- column: builder | text | Name of the builder.
-- column: step | text | Name of the step.
-- column: runs | count | How often it ran in builds that ended in that time.
-- column: total_seconds | seconds | Its running time, all runs together.
-- column: share | percent | Of the running time of all steps that fit the filters.
-- column: mean_seconds | seconds | A run, on average.
-- column: median_seconds | seconds | Half of the runs took no longer (from a histogram, within a fifth).
-- column: p95_seconds | seconds | 95 of 100 took no longer (from a histogram, within a fifth).
-- column: lock_seconds | seconds | Waiting for locks, all runs together.
-- chart: bars x=builder,step y=total_seconds
-- read: Speed up what stands first: a step that takes a tenth of all time and becomes twice as fast gives back a
--   twentieth of all workers. Ordered by total_seconds, to the millisecond.
with steps as (
    select builder_id, step, sum(runs) as runs, sum(seconds) as total_seconds, sum(lock_seconds) as lock_seconds
    from report.step_sums(report.utc_trunc('day', :since), :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, step
), top as (
    select b.builder, s.*, 100.0 * s.total_seconds / nullif(sum(s.total_seconds) over (), 0) as share
    from steps s
    join report.builders b using (builder_id)
    order by round(s.total_seconds::numeric, 3) desc, b.builder, s.step
    limit :limit
)
select t.builder, t.step, t.runs, t.total_seconds, t.share, t.total_seconds / nullif(t.runs, 0) as mean_seconds,
       report.histogram_percentile(h.spans, 0.5) as median_seconds,
       report.histogram_percentile(h.spans, 0.95) as p95_seconds,
       t.lock_seconds
from top t
left join lateral (
    select report.histogram_sum(span_histogram) as spans
    from report.step_sums(report.utc_trunc('day', :since), :until)
    where builder_id = t.builder_id and step = t.step
    offset 0
) h on true
order by round(t.total_seconds::numeric, 3) desc, t.builder, t.step
