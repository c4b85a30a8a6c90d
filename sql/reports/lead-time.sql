-- title: Lead time
-- group: Changes
-- question: How long does a change take to a good result?
-- parameter: since timestamptz = 28 days | How far back; whole days (UTC), with a branch exactly.
-- parameter: until timestamptz = now | Until when.
-- parameter: every text = week (day, week, month) | One row for each.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: branch text | Only this branch.
-- column: period | time | Begin of the day, week (Monday) or month (UTC) in which builds ended.
-- column: builds | count | Good builds (success, warnings) that had changes.
-- column: changes | count | Their changes, together.
-- column: median_seconds | seconds | From the moment that the oldest of its changes was made until it ended: half took no
--   longer (from a histogram, within a fifth; with a branch exact).
-- column: p90_seconds | seconds | 90 of 100 took no longer (the same).
-- column: longest_seconds | seconds | The longest.
-- chart: line x=period y=median_seconds,p90_seconds
-- read: One of the DORA measures, of CI's part: it holds the time in which a change lay with its author before it was
--   pushed, the wait for a worker, and the build. The first and last period may be cut off.
with sums as (
    select day, led, led_changes, lead_histogram, longest_lead_seconds
    from report.total_days
    where :branch is null and :builder is null and :project is null
      and day >= report.utc_trunc('day', :since) and day < :until
    union all
    select day, led, led_changes, lead_histogram, longest_lead_seconds
    from report.build_days
    where :branch is null and (:builder is not null or :project is not null)
      and day >= report.utc_trunc('day', :since) and day < :until
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
)
select date_trunc(:every, day, 'UTC') as period, sum(led) as builds, sum(led_changes) as changes,
       report.histogram_percentile(report.histogram_sum(lead_histogram), 0.5) as median_seconds,
       report.histogram_percentile(report.histogram_sum(lead_histogram), 0.9) as p90_seconds,
       max(longest_lead_seconds) filter (where led > 0) as longest_seconds
from sums
group by 1
having sum(led) > 0
union all
select date_trunc(:every, complete_at, 'UTC'), count(*), sum(changes),
       percentile_cont(0.5) within group (order by lead_seconds),
       percentile_cont(0.9) within group (order by lead_seconds),
       max(lead_seconds)
from report.build_facts
where branch = :branch
  and complete_at >= :since and complete_at < :until
  and kind = 'good' and lead_seconds is not null
  and (:builder is null or builder = :builder)
  and (:project is null or project = :project)
group by 1
order by 1
