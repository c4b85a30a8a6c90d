create or replace view report.worker_use with (security_barrier) as
select u.worker_id, w.name as worker, u.hour, u.builder_id, b.name as builder, b.project, u.builds, u.lost,
       u.seconds as busy_seconds
  from worker_hours u
  join report_builders b on b.id = u.builder_id
  left join workers w on w.id = u.worker_id;
comment on view report.worker_use is
    'One row a worker, hour and builder: how long it was busy. Builds of projects that you do not see are not among them. Filter by hour or worker_id.';
comment on column report.worker_use.worker_id is 'The worker.';
comment on column report.worker_use.worker is 'The worker''s name; null if it is gone.';
comment on column report.worker_use.hour is 'The beginning of the hour (UTC).';
comment on column report.worker_use.builder_id is 'The builder.';
comment on column report.worker_use.builder is 'The builder''s name.';
comment on column report.worker_use.project is 'The builder''s project, as of now; empty: none.';
comment on column report.worker_use.builds is 'Builds that ended within the hour.';
comment on column report.worker_use.lost is 'Of those, lost ones (results retry).';
comment on column report.worker_use.busy_seconds is 'Time that builds ran within the hour, in seconds; two at once count twice.';
