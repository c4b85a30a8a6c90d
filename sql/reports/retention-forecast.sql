-- title: Storage of logs by retention
-- group: Storage
-- question: How much do logs need if they are kept for so many days, now and later?
-- parameter: since timestamptz = 90 days | The days (UTC) that the forecast is made of: those from here on that are over.
-- parameter: until timestamptz = now | Until when.
-- parameter: ahead bigint = 90 | Days that the forecast looks ahead.
-- parameter: project text | Only builders of this project.
-- column: keep_days | count | Logs of so many days are kept.
-- column: now_bytes | bytes | Logs of builds that ended in the keep_days whole days before the day of until.
-- column: forecast_bytes | bytes | The same, `ahead` days later.
-- column: growth | percent | forecast_bytes more than now_bytes; empty if there is nothing now.
-- column: bytes_per_day | bytes | A day of the time asked for, on average.
-- column: trend_bytes_per_day | bytes | By so much a day has more than the one before it (least squares).
-- chart: bars x=keep_days y=now_bytes,forecast_bytes
-- read: Days to come are taken from a straight line through the days from `since` on (days without builds are zero, and no
--   day is below zero). Sizes are before compression, which most often makes a tenth of it.
with volume as (
    select (extract(epoch from day - report.utc_trunc('day', :until)) / 86400)::int as n, sum(log_bytes)::float8 as log_bytes
    from (
        select day, log_bytes
        from report.total_days
        where :project is null
          and day >= report.utc_trunc('day', :until) - interval '730 days' and day < report.utc_trunc('day', :until)
        union all
        select day, log_bytes
        from report.build_days
        where project = :project
          and day >= report.utc_trunc('day', :until) - interval '730 days' and day < report.utc_trunc('day', :until)
    ) d
    group by day
), seen as (
    select n, coalesce(v.log_bytes, 0) as log_bytes
    from generate_series(
             (extract(epoch from report.utc_trunc('day', :since) - report.utc_trunc('day', :until)) / 86400)::int, -1) n
    left join volume v using (n)
), line as (
    select coalesce(regr_slope(log_bytes, n), 0) as slope,
           coalesce(regr_intercept(log_bytes, n), avg(log_bytes), 0) as intercept,
           coalesce(avg(log_bytes), 0) as mean
    from seen
)
select k.keep_days, p.bytes as now_bytes, o.bytes + f.bytes as forecast_bytes,
       100.0 * ((o.bytes + f.bytes) / nullif(p.bytes, 0) - 1) as growth,
       l.mean as bytes_per_day, l.slope as trend_bytes_per_day
from unnest(array[7, 30, 90, 180, 365, 730]) as k (keep_days)
cross join line l
cross join lateral (select coalesce(sum(log_bytes), 0) as bytes from volume where n >= -k.keep_days) p
cross join lateral (select coalesce(sum(log_bytes), 0) as bytes from volume where n >= :ahead - k.keep_days) o
cross join lateral (
    select coalesce(sum(greatest(0, l.intercept + l.slope * d)), 0) as bytes
    from generate_series(greatest(0, :ahead - k.keep_days), :ahead - 1) d
) f
order by k.keep_days
