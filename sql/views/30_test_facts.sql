create or replace view report.test_facts with (security_barrier) as
select r.name_id as test_id, n.name as test, n.path, r.builder_id, b.name as builder, b.project, s.build_id,
       s.step as step_number, s.name as set_name, r.result, r.seconds, r.message, r.complete_at, s.line
  from test_results r
  join report_builders b on b.id = r.builder_id
  join test_sets s on s.id = r.set_id
  join test_names n on n.id = r.name_id;
comment on view report.test_facts is
    'One row a test and run. Filter by complete_at; or by test_id, with builder_id or builder.';
comment on column report.test_facts.test_id is 'The test: the same in all builds and builders.';
comment on column report.test_facts.test is 'Its name.';
comment on column report.test_facts.path is 'The file it is in; empty: not said.';
comment on column report.test_facts.builder_id is 'The builder.';
comment on column report.test_facts.builder is 'The builder''s name.';
comment on column report.test_facts.project is 'The builder''s project, as of now; empty: none.';
comment on column report.test_facts.build_id is 'The build it ran in.';
comment on column report.test_facts.step_number is 'The number of the step that ran it.';
comment on column report.test_facts.set_name is 'What the step calls its tests.';
comment on column report.test_facts.result is 'passed, failed, skipped or error.';
comment on column report.test_facts.seconds is 'How long it ran, in seconds; null: not said.';
comment on column report.test_facts.message is 'What it said when it failed, cut short; null: nothing.';
comment on column report.test_facts.complete_at is 'When its step ended.';
comment on column report.test_facts.line is 'The line, as in build_facts.';
