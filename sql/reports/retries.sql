-- title: Lost builds
-- group: Workers and cost
-- question: Which workers lose builds, and what does that cost?
-- parameter: since timestamptz = 28 days | Builds that ended since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: worker text | Only this worker.
-- parameter: limit bigint = 50 | Most rows.
-- column: worker | text | Name of the worker.
-- column: lost | count | Builds that were lost with it (their requests are built again).
-- column: builders | count | Builders that they were of.
-- column: lost_seconds | seconds | How long those builds had run, together: work done twice.
-- column: cost | money | That, at hourly_cost by slot of the worker; empty without the label.
-- column: last_lost | time | When the last one was lost.
-- chart: bars x=worker y=lost
-- read: Ordered by lost. One worker with most of the losses is a machine to look at; many workers at one time, the
--   network.
with lost as (
    select worker_id, count(*) as lost, count(distinct builder_id) as builders, sum(seconds) as lost_seconds,
           max(complete_at) as last_lost
    from report.build_facts
    where complete_at >= :since and complete_at < :until and kind = 'lost'
      and (:builder is null or builder = :builder)
      and (:project is null or project = :project)
      and (:worker is null or worker = :worker)
    group by worker_id
)
select w.worker, l.lost, l.builders, l.lost_seconds,
       l.lost_seconds / 3600 * w.hourly_cost / greatest(coalesce(w.slots, 1), 1) as cost, l.last_lost
from lost l
join report.workers w using (worker_id)
order by l.lost desc, l.lost_seconds desc, w.worker
limit :limit
