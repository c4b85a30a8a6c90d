create or replace view report.request_months with (security_barrier) as
select d.builder_id, b.name as builder, b.project, d.month, d.requests, d.collapsed, d.started, d.for_worker, d.for_lock,
       d.for_back_off, d.worker_wait as worker_seconds, d.lock_wait as lock_seconds, d.back_off as back_off_seconds
  from request_months d
  join report_builders b on b.id = d.builder_id;
comment on view report.request_months is
    'One row a builder and month (UTC) in which requests of it ended: sums of request_facts, which stay when those are gone. request_sums() has whole months of these, and requests at both ends. Filter by month or builder.';
comment on column report.request_months.builder_id is 'The builder.';
comment on column report.request_months.builder is 'The builder''s name.';
comment on column report.request_months.project is 'The builder''s project, as of now; empty: none.';
comment on column report.request_months.month is 'The beginning of the month (UTC) in which the requests ended.';
comment on column report.request_months.requests is 'Requests that ended within it, built or not.';
comment on column report.request_months.collapsed is 'Of those, which became part of another one.';
comment on column report.request_months.started is 'Of those, which had a build and did not become part of another one. What follows is of these.';
comment on column report.request_months.for_worker is 'Which waited most for a free worker, or for their builder to be resumed.';
comment on column report.request_months.for_lock is 'Which waited most for a lock.';
comment on column report.request_months.for_back_off is 'Which waited most because a worker was lost before.';
comment on column report.request_months.worker_seconds is 'How long they waited for workers together, in seconds.';
comment on column report.request_months.lock_seconds is 'How long they waited for locks together, in seconds.';
comment on column report.request_months.back_off_seconds is 'How long they waited after losses together, in seconds.';
