-- title: Notices
-- group: Notices
-- question: Who is told how much, how fast, and what was not delivered?
-- parameter: since timestamptz = 7 days | Notices planned since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only about builds of this builder.
-- parameter: project text | Only about builders of this project.
-- parameter: limit bigint = 50 | Most rows.
-- column: reporter | text | Name of the reporter in the project file.
-- column: kind | text | What it sends to: mail, irc, http, …
-- column: destination | text | The server or network.
-- column: notices | count | Planned notices.
-- column: sent | count | Of those, which were sent, alone or folded into another.
-- column: given_up | count | Which were refused for good, or grew too old.
-- column: superseded | count | Which were old news before they could be sent.
-- column: waiting | count | Which are not over yet.
-- column: mean_attempts | number | How often one was tried, on average.
-- column: median_seconds | seconds | Half of the sent were sent no later after they were planned.
-- column: p95_seconds | seconds | 95 of 100.
-- chart: stacked x=reporter,kind y=sent,given_up,superseded,waiting
-- read: Ordered by notices. What was given up is on the page Notices, and `tidemill notify deliveries --failed` shows why.
select reporter, destination_kind as kind, destination, count(*) as notices,
       count(*) filter (where state in ('sent', 'folded')) as sent,
       count(*) filter (where state in ('parked', 'expired')) as given_up,
       count(*) filter (where state = 'superseded') as superseded,
       count(*) filter (where state in ('due', 'sending')) as waiting,
       avg(attempts) as mean_attempts,
       percentile_cont(0.5) within group (order by seconds) filter (where state in ('sent', 'folded')) as median_seconds,
       percentile_cont(0.95) within group (order by seconds) filter (where state in ('sent', 'folded')) as p95_seconds
from report.notices
where planned_at >= :since and planned_at < :until
  and (:builder is null or builder = :builder)
  and (:project is null or project = :project)
group by reporter, destination_kind, destination
order by notices desc, reporter, kind, destination
limit :limit
