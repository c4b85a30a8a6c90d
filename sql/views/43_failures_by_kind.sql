create or replace view report.failures_by_kind with (security_barrier) as
select d.day, d.builder_id, b.name as builder, b.project, d.builds, d.success + d.warnings as good,
       d.failure as tests, d.exception as infrastructure, d.cancelled, d.retry as lost, d.skipped
  from build_days d
  join report_builders b on b.id = d.builder_id;
comment on view report.failures_by_kind is
    'One row a builder and day (UTC): whose matter its builds'' ends were. Filter by day or builder.';
comment on column report.failures_by_kind.day is 'The beginning of the day (UTC).';
comment on column report.failures_by_kind.builder_id is 'The builder.';
comment on column report.failures_by_kind.builder is 'The builder''s name.';
comment on column report.failures_by_kind.project is 'The builder''s project, as of now; empty: none.';
comment on column report.failures_by_kind.builds is 'Builds that ended within it.';
comment on column report.failures_by_kind.good is 'Of those, good ones (success, warnings).';
comment on column report.failures_by_kind.tests is 'Of those, failures: what was built is at fault.';
comment on column report.failures_by_kind.infrastructure is 'Of those, exceptions: what builds is at fault.';
comment on column report.failures_by_kind.cancelled is 'Of those, cancelled ones.';
comment on column report.failures_by_kind.lost is 'Of those, lost ones (retry): their worker fell silent.';
comment on column report.failures_by_kind.skipped is 'Of those, skipped ones.';
