create or replace view report.step_facts with (security_barrier) as
select f.build_id, f.builder_id, b.name as builder, b.project, s.number as step_number, s.name as step,
       s.started_at, s.complete_at, results_word(s.results) as results,
       seconds_of(s.complete_at - s.started_at) as seconds, seconds_of(coalesce(s.lock_wait, '0')) as lock_seconds,
       f.complete_at as build_complete_at, f.number, f.branch, f.worker_id, f.revision
  from build_facts f
  join report_builders b on b.id = f.builder_id
  join steps s on s.build_id = f.build_id;
comment on view report.step_facts is
    'One row a step of a finished build, as long as the build itself is kept. Filter by build_complete_at, builder or build_id: the time of a step has no index. For long ranges take step_days.';
comment on column report.step_facts.build_id is 'The build it is of.';
comment on column report.step_facts.builder_id is 'The build''s builder.';
comment on column report.step_facts.builder is 'The builder''s name.';
comment on column report.step_facts.project is 'The builder''s project, as of now; empty: none.';
comment on column report.step_facts.step_number is 'Its number within the build, from 1.';
comment on column report.step_facts.step is 'Its name.';
comment on column report.step_facts.started_at is 'When it began.';
comment on column report.step_facts.complete_at is 'When it ended; null if its build ended without it.';
comment on column report.step_facts.results is 'success, warnings, failure, skipped, exception, retry or cancelled; null as complete_at.';
comment on column report.step_facts.seconds is 'From its beginning to its end, in seconds; null as complete_at.';
comment on column report.step_facts.lock_seconds is 'How long it waited for its locks, in seconds.';
comment on column report.step_facts.build_complete_at is 'When its build ended.';
comment on column report.step_facts.number is 'The build''s number.';
comment on column report.step_facts.branch is 'The build''s branch; null: the repository''s default.';
comment on column report.step_facts.worker_id is 'The worker it ran on.';
comment on column report.step_facts.revision is 'The build''s revision; null: the newest.';
