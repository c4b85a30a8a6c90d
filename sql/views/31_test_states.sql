create or replace view report.test_states with (security_barrier) as
select t.name_id as test_id, n.name as test, t.builder_id, b.name as builder, b.project, t.failing, t.since,
       t.since_build, t.good_build, t.line, n.path, t.complete_at
  from test_states t
  join report_builders b on b.id = t.builder_id
  join test_names n on n.id = t.name_id;
comment on view report.test_states is 'One row a test that ever failed, builder and line: how it stands there.';
comment on column report.test_states.test_id is 'The test, as in test_facts.';
comment on column report.test_states.test is 'Its name.';
comment on column report.test_states.builder_id is 'The builder.';
comment on column report.test_states.builder is 'The builder''s name.';
comment on column report.test_states.project is 'The builder''s project, as of now; empty: none.';
comment on column report.test_states.failing is 'Whether it failed when it last ran.';
comment on column report.test_states.since is 'Since when that is so.';
comment on column report.test_states.since_build is 'The first build of which that is so.';
comment on column report.test_states.good_build is 'The last build in which it passed before it began to fail; null: none of its 20 runs before on the builder.';
comment on column report.test_states.line is 'The line, as in build_facts.';
comment on column report.test_states.path is 'The file it is in; empty: not said.';
comment on column report.test_states.complete_at is 'When it last ran.';
