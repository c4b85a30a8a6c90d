create or replace view report.worker_months with (security_barrier) as
select u.worker_id, w.name as worker, u.month, u.project, u.builds, u.lost, u.seconds as busy_seconds
  from worker_months u
  left join workers w on w.id = u.worker_id
 where u.project not in (select h.name from report_hidden_projects h);
comment on view report.worker_months is
    'One row a worker, month (UTC) and project: how long it was busy. Projects that you do not see are not among them. worker_sums() has whole months of these, and hours at both ends. Filter by month or worker_id.';
comment on column report.worker_months.worker_id is 'The worker.';
comment on column report.worker_months.worker is 'The worker''s name; null if it is gone.';
comment on column report.worker_months.month is 'The beginning of the month (UTC).';
comment on column report.worker_months.project is 'The project that its builders were of then; empty: none. Of a virtual builder: that of one that builds under its name.';
comment on column report.worker_months.builds is 'Builds that ended within the month.';
comment on column report.worker_months.lost is 'Of those, lost ones (results retry).';
comment on column report.worker_months.busy_seconds is 'Time that builds ran within the month, in seconds; two at once count twice.';
