create or replace view report.build_months with (security_barrier) as
select d.builder_id, b.name as builder, b.project, d.month, d.builds, d.success, d.warnings, d.failure,
       d.skipped, d.exception, d.retry, d.cancelled, d.broke, d.fixed,
       d.seconds, d.waited as queue_seconds, d.log_bytes, d.spans as span_histogram, d.waits as wait_histogram,
       d.led, d.led_changes, d.longest_lead as longest_lead_seconds, d.leads as lead_histogram
  from build_months d
  join report_builders b on b.id = d.builder_id;
comment on view report.build_months is
    'One row a builder and month (UTC) in which builds of it ended: sums of build_facts, which stay when those are gone. build_sums() has whole months of these, and days at both ends. Filter by month or builder.';
comment on column report.build_months.builder_id is 'The builder.';
comment on column report.build_months.builder is 'The builder''s name.';
comment on column report.build_months.project is 'The builder''s project, as of now; empty: none.';
comment on column report.build_months.month is 'The beginning of the month (UTC).';
comment on column report.build_months.builds is 'Builds that ended within it.';
comment on column report.build_months.success is 'Of those, with the result success.';
comment on column report.build_months.warnings is 'Of those, with the result warnings.';
comment on column report.build_months.failure is 'Of those, with the result failure.';
comment on column report.build_months.skipped is 'Of those, with the result skipped.';
comment on column report.build_months.exception is 'Of those, with the result exception.';
comment on column report.build_months.retry is 'Of those, lost ones: with the result retry.';
comment on column report.build_months.cancelled is 'Of those, with the result cancelled.';
comment on column report.build_months.broke is 'Of those, which broke their line: a failure after a good one.';
comment on column report.build_months.fixed is 'Of those, which fixed their line: good after a failure.';
comment on column report.build_months.seconds is 'How long the builds ran together, in seconds.';
comment on column report.build_months.queue_seconds is 'How long they had waited together, in seconds, as build_facts.queue_seconds.';
comment on column report.build_months.log_bytes is 'Size of their logs together, in bytes.';
comment on column report.build_months.span_histogram is 'How long each ran, as a histogram: for histogram_sum and histogram_percentile.';
comment on column report.build_months.wait_histogram is 'How long each had waited, as a histogram.';
comment on column report.build_months.led is 'Good builds (success, warnings) that had changes.';
comment on column report.build_months.led_changes is 'Their changes, together.';
comment on column report.build_months.longest_lead_seconds is 'The longest time from the oldest change of one of those to its end, in seconds; 0 without any.';
comment on column report.build_months.lead_histogram is 'That time of each of those, as a histogram.';
