create or replace view report.lock_waits with (security_barrier) as
select l.name as lock, f.builder_id, b.name as builder, b.project, f.request_id, f.build_id, f.step, f.since,
       f.ended_at, seconds_of(f.ended_at - f.since) as seconds
  from lock_wait_facts f
  join report_builders b on b.id = f.builder_id
  join locks l on l.id = f.lock_id;
comment on view report.lock_waits is
    'One row a wait in the line of a lock that is over. Who waits for several locks has a row for each. Filter by ended_at and builder.';
comment on column report.lock_waits.lock is 'The lock''s name.';
comment on column report.lock_waits.builder_id is 'The builder that waited.';
comment on column report.lock_waits.builder is 'The builder''s name.';
comment on column report.lock_waits.project is 'The builder''s project, as of now; empty: none.';
comment on column report.lock_waits.request_id is 'The request that waited; null: the foremost of its builder, or a step.';
comment on column report.lock_waits.build_id is 'The build whose step waited; null: something that was not yet built.';
comment on column report.lock_waits.step is 'The number of that step; null as build_id.';
comment on column report.lock_waits.since is 'When it joined the line.';
comment on column report.lock_waits.ended_at is 'When it left the line: it got the lock, or did not need it any more.';
comment on column report.lock_waits.seconds is 'How long that was, in seconds.';
