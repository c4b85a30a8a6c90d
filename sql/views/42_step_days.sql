create or replace view report.step_days with (security_barrier) as
select d.builder_id, b.name as builder, b.project, d.day, d.name as step, d.runs, d.bad, d.seconds,
       d.lock_wait as lock_seconds, d.spans as span_histogram
  from step_days d
  join report_builders b on b.id = d.builder_id;
comment on view report.step_days is
    'One row a builder, day (UTC) and name of a step: sums of the steps of builds that ended then, which stay when those are gone. Filter by day or builder.';
comment on column report.step_days.builder_id is 'The builder.';
comment on column report.step_days.builder is 'The builder''s name.';
comment on column report.step_days.project is 'The builder''s project, as of now; empty: none.';
comment on column report.step_days.day is 'The beginning of the day (UTC) in which the builds ended.';
comment on column report.step_days.step is 'The steps'' name.';
comment on column report.step_days.runs is 'How often it ran.';
comment on column report.step_days.bad is 'Of those, with the result failure or exception.';
comment on column report.step_days.seconds is 'How long the runs took together, in seconds.';
comment on column report.step_days.lock_seconds is 'How much of that they waited for locks, in seconds.';
comment on column report.step_days.span_histogram is 'How long each took, as a histogram: for histogram_sum and histogram_percentile.';
