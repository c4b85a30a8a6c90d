-- title: Lead time
-- group: Changes
-- question: How long does a change take to a good result?
-- parameter: since timestamptz = 28 days | Builds that ended since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: every text = week (day, week, month) | One row for each.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: branch text | Only this branch.
-- column: period | time | Begin of the day, week (Monday) or month (UTC) in which builds ended.
-- column: builds | count | Good builds (success, warnings) that had changes.
-- column: changes | count | Their changes, together.
-- column: median_seconds | seconds | From the moment that the oldest of its changes was made until it ended: half took no longer.
-- column: p90_seconds | seconds | 90 of 100 took no longer.
-- column: longest_seconds | seconds | The longest.
-- chart: line x=period y=median_seconds,p90_seconds
-- read: One of the DORA measures, of CI's part: it holds the time in which a change lay with its author before it was
--   pushed, the wait for a worker, and the build. The first and last period may be cut off.
select date_trunc(:every, complete_at, 'UTC') as period, count(*) as builds, sum(changes) as changes,
       percentile_cont(0.5) within group (order by lead_seconds) as median_seconds,
       percentile_cont(0.9) within group (order by lead_seconds) as p90_seconds,
       max(lead_seconds) as longest_seconds
from report.build_facts
where complete_at >= :since and complete_at < :until
  and kind = 'good' and lead_seconds is not null
  and (:builder is null or builder = :builder)
  and (:project is null or project = :project)
  and (:branch is null or branch = :branch)
group by 1
order by 1
