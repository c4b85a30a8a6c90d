create or replace view report.worker_online with (security_barrier) as
select s.worker_id, w.name as worker, s.opened_at, s.seen_at as until, s.slots, s.state = 'open' as open, s.release
  from worker_sessions s
  join workers w on w.id = s.worker_id;
comment on view report.worker_online is 'One row a session of a worker: from when to when it was connected.';
comment on column report.worker_online.worker_id is 'The worker.';
comment on column report.worker_online.worker is 'The worker''s name.';
comment on column report.worker_online.opened_at is 'When the session began.';
comment on column report.worker_online.until is 'When the worker was last heard in it; of one that goes on this moves every 15 s.';
comment on column report.worker_online.slots is 'How many builds it ran at once.';
comment on column report.worker_online.open is 'Whether no end of it is known. A worker that fell silent leaves it open until it comes back.';
comment on column report.worker_online.release is 'The release of Tidemill that it ran.';
