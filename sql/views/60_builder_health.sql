-- Verdicts by line, counts by day, by builder: what it costs does not grow with
-- history, and for one builder it reads that one's rows.
create or replace view report.builder_health with (security_barrier) as
select b.id as builder_id, b.name as builder, b.project, results_word((l.last).results) as last_results,
       l.complete_at as last_complete_at, coalesce(d.builds_7d, 0) as builds_7d, coalesce(d.good_7d, 0) as good_7d,
       d.good_7d / nullif(d.good_7d + d.bad_7d, 0)::double precision as success_rate_7d,
       coalesce(d.builds_28d, 0) as builds_28d,
       d.good_28d / nullif(d.good_28d + d.bad_28d, 0)::double precision as success_rate_28d,
       report.histogram_percentile(d.spans_28d, 0.5) as median_seconds_28d,
       report.histogram_percentile(d.waits_28d, 0.5) as median_queue_seconds_28d,
       d.seconds_28d / nullif(d.builds_28d, 0) as mean_seconds_28d,
       (l.last).bad_since as broken_since, (l.last).bad_build_id as broken_by_build_id, coalesce(l.lines, 0) as lines,
       coalesce(l.bad_lines, 0) as bad_lines, l.oldest_bad_since, b.active, b.paused
  from report_builders b
 cross join lateral (
       select count(*) as lines, count(*) filter (where s.results = 2) as bad_lines,
              min(s.bad_since) filter (where s.results = 2) as oldest_bad_since, max(s.complete_at) as complete_at,
              (array_agg(s order by s.complete_at desc))[1] as last
         from line_states s
        where s.builder_id = b.id and s.complete_at > now() - interval '28 days') l
 cross join lateral (
       select sum(x.builds) as builds_28d, sum(x.success + x.warnings) as good_28d,
              sum(x.failure + x.exception) as bad_28d,
              sum(x.builds) filter (where x.day > now() - interval '7 days') as builds_7d,
              sum(x.success + x.warnings) filter (where x.day > now() - interval '7 days') as good_7d,
              sum(x.failure + x.exception) filter (where x.day > now() - interval '7 days') as bad_7d,
              sum(x.seconds) as seconds_28d,
              report.histogram_sum(x.spans) as spans_28d, report.histogram_sum(x.waits) as waits_28d
         from build_days x
        where x.builder_id = b.id and x.day > now() - interval '28 days') d;
comment on view report.builder_health is
    'One row a builder: how it stands now. Days are of UTC, today is one of the 7 or 28. Select only what you need: medians cost most.';
comment on column report.builder_health.builder_id is 'The builder.';
comment on column report.builder_health.builder is 'The builder''s name.';
comment on column report.builder_health.project is 'The builder''s project; empty: none.';
comment on column report.builder_health.last_results is
    'Its last verdict, on any line: success, warnings or failure; null: none within 28 days.';
comment on column report.builder_health.last_complete_at is 'When that build ended.';
comment on column report.builder_health.builds_7d is 'Builds that ended within 7 days.';
comment on column report.builder_health.good_7d is 'Of those, good ones (success, warnings).';
comment on column report.builder_health.success_rate_7d is
    'Good ones among those that were good, failures or exceptions, 0 to 1; null: there were none.';
comment on column report.builder_health.builds_28d is 'Builds that ended within 28 days.';
comment on column report.builder_health.success_rate_28d is 'As success_rate_7d, of 28 days.';
comment on column report.builder_health.median_seconds_28d is
    'How long its builds ran, the median of 28 days in seconds; null: there were none.';
comment on column report.builder_health.median_queue_seconds_28d is
    'How long they had waited, the median of 28 days in seconds; null: there were none.';
comment on column report.builder_health.mean_seconds_28d is 'How long they ran on average, in seconds; null: there were none.';
comment on column report.builder_health.broken_since is
    'Since when the line of the last verdict is broken; null: it is good, or never was.';
comment on column report.builder_health.broken_by_build_id is 'The build that broke it.';
comment on column report.builder_health.lines is 'Lines (branches of its codebases) with a verdict within 28 days.';
comment on column report.builder_health.bad_lines is 'Of those, lines whose last verdict is failure.';
comment on column report.builder_health.oldest_bad_since is 'Since when the longest broken of those is broken; null: none is.';
comment on column report.builder_health.active is 'Whether the active revision defines the builder.';
comment on column report.builder_health.paused is 'Whether people paused it.';
