create or replace view report.step_months with (security_barrier) as
select d.builder_id, b.name as builder, b.project, d.month, d.name as step, d.runs, d.bad, d.seconds,
       d.lock_wait as lock_seconds, d.spans as span_histogram
  from step_months d
  join report_builders b on b.id = d.builder_id;
comment on view report.step_months is
    'One row a builder, month (UTC) and name of a step: sums of the steps of builds that ended then, which stay when those are gone. step_sums() has whole months of these, and days at both ends. Filter by month or builder.';
comment on column report.step_months.builder_id is 'The builder.';
comment on column report.step_months.builder is 'The builder''s name.';
comment on column report.step_months.project is 'The builder''s project, as of now; empty: none.';
comment on column report.step_months.month is 'The beginning of the month (UTC) in which the builds ended.';
comment on column report.step_months.step is 'The steps'' name.';
comment on column report.step_months.runs is 'How often it ran.';
comment on column report.step_months.bad is 'Of those, with the result failure or exception.';
comment on column report.step_months.seconds is 'How long the runs took together, in seconds.';
comment on column report.step_months.lock_seconds is 'How much of that they waited for locks, in seconds.';
comment on column report.step_months.span_histogram is 'How long each took, as a histogram: for histogram_sum and histogram_percentile.';
