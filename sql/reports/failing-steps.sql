-- title: Steps that fail
-- group: Health
-- question: Which steps fail most often?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC).
-- parameter: until timestamptz = now | Until when.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 25 | Most rows.
-- column: builder | text | Name of the builder.
-- column: step | text | Name of the step.
-- column: runs | count | How often it ran in builds that ended in that time.
-- column: bad | count | Of those, with failure or exception.
-- column: failure_rate | percent | bad of runs.
-- column: seconds | seconds | Its running time, all runs together.
-- chart: bars x=builder,step y=bad
-- read: Ordered by bad. A step that fails often and stands late in its build is worth running earlier.
with steps as (
    select builder_id, step, sum(runs) as runs, sum(bad) as bad, sum(seconds) as seconds
    from report.step_sums(report.utc_trunc('day', :since), :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, step
    having sum(bad) > 0
)
select b.builder, s.step, s.runs, s.bad, 100.0 * s.bad / nullif(s.runs, 0) as failure_rate, s.seconds
from steps s
join report.builders b using (builder_id)
order by s.bad desc, failure_rate desc, b.builder, s.step
limit :limit
