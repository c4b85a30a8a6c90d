create or replace view report.total_hours with (security_barrier) as
select t.hour, nullif(t.project, '') as private_project, t.builds, t.success, t.warnings, t.failure,
       t.skipped, t.exception, t.retry, t.cancelled, t.broke, t.fixed,
       t.seconds, t.waited as queue_seconds, t.log_bytes, t.spans as span_histogram, t.waits as wait_histogram,
       t.led, t.led_changes, t.longest_lead as longest_lead_seconds, t.leads as lead_histogram
  from total_hours t
 where t.project not in (select h.name from report_hidden_projects h);
comment on view report.total_hours is
    'Sums of build_facts of all builders by hour (UTC): one row for those whose project was public when they ended, and one for each project that was not. Add up the rows. Builds of a project that became private since are still among those of the others. Filter by hour.';
comment on column report.total_hours.hour is 'The beginning of the hour (UTC).';
comment on column report.total_hours.private_project is 'The project, of one that was not public when they ended; null: all others together.';
comment on column report.total_hours.builds is 'Builds that ended within it.';
comment on column report.total_hours.success is 'Of those, with the result success.';
comment on column report.total_hours.warnings is 'Of those, with the result warnings.';
comment on column report.total_hours.failure is 'Of those, with the result failure.';
comment on column report.total_hours.skipped is 'Of those, with the result skipped.';
comment on column report.total_hours.exception is 'Of those, with the result exception.';
comment on column report.total_hours.retry is 'Of those, lost ones: with the result retry.';
comment on column report.total_hours.cancelled is 'Of those, with the result cancelled.';
comment on column report.total_hours.broke is 'Of those, which broke their line: a failure after a good one.';
comment on column report.total_hours.fixed is 'Of those, which fixed their line: good after a failure.';
comment on column report.total_hours.seconds is 'How long the builds ran together, in seconds.';
comment on column report.total_hours.queue_seconds is 'How long they had waited together, in seconds, as build_facts.queue_seconds.';
comment on column report.total_hours.log_bytes is 'Size of their logs together, in bytes.';
comment on column report.total_hours.span_histogram is 'How long each ran, as a histogram: for histogram_sum and histogram_percentile.';
comment on column report.total_hours.wait_histogram is 'How long each had waited, as a histogram.';
comment on column report.total_hours.led is 'Good builds (success, warnings) that had changes.';
comment on column report.total_hours.led_changes is 'Their changes, together.';
comment on column report.total_hours.longest_lead_seconds is 'The longest time from the oldest change of one of those to its end, in seconds; 0 without any.';
comment on column report.total_hours.lead_histogram is 'That time of each of those, as a histogram.';
