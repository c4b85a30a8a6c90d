create or replace view report.log_volume with (security_barrier) as
select d.day, d.builder_id, b.name as builder, b.project, d.log_bytes, d.builds
  from build_days d
  join report_builders b on b.id = d.builder_id;
comment on view report.log_volume is 'One row a builder and day (UTC): how much its builds logged. Filter by day or builder.';
comment on column report.log_volume.day is 'The beginning of the day (UTC).';
comment on column report.log_volume.builder_id is 'The builder.';
comment on column report.log_volume.builder is 'The builder''s name.';
comment on column report.log_volume.project is 'The builder''s project, as of now; empty: none.';
comment on column report.log_volume.log_bytes is 'Size of the logs of builds that ended then, in bytes, as text; on disk it is less.';
comment on column report.log_volume.builds is 'Builds that ended then.';
