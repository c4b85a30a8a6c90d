-- title: Savings by collapsing
-- group: Queue
-- question: How much work is saved by merging requests?
-- parameter: since timestamptz = 28 days | Requests that ended since then.
-- parameter: until timestamptz = now | And before then.
-- parameter: builder text | Only this builder.
-- parameter: project text | Only builders of this project.
-- parameter: limit bigint = 50 | Most rows.
-- column: builder | text | Name of the builder.
-- column: requests | count | Requests that ended.
-- column: collapsed | count | Of those, which were merged into another and not built.
-- column: share | percent | collapsed of requests.
-- column: mean_seconds | seconds | A build of this builder that ended on the days (UTC) of that time, on average.
-- column: saved_seconds | seconds | collapsed times mean_seconds: what building each of them would have taken.
-- chart: bars x=builder y=saved_seconds
-- read: Ordered by saved_seconds. A high share means that changes come faster than builds end: authors of merged changes
--   wait for one answer together, and a failure blames all of them. Where that hurts, add workers.
with requests as (
    select builder_id, builder, sum(requests) as requests, sum(collapsed) as collapsed
    from report.request_sums(:since, :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id, builder
    having sum(collapsed) > 0
), means as (
    select builder_id, sum(seconds) / nullif(sum(builds), 0) as mean_seconds
    from report.build_sums(report.utc_trunc('day', :since), :until)
    where (:builder is null or builder = :builder)
      and (:project is null or project = :project)
    group by builder_id
)
select r.builder, r.requests, r.collapsed, 100.0 * r.collapsed / r.requests as share, m.mean_seconds,
       r.collapsed * m.mean_seconds as saved_seconds
from requests r
left join means m using (builder_id)
order by saved_seconds desc nulls last, r.collapsed desc, r.builder
limit :limit
