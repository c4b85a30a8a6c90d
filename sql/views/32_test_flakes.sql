create or replace view report.test_flakes with (security_barrier) as
select t.name_id as test_id, n.name as test, t.builder_id, b.name as builder, b.project, t.at, t.revision,
       t.passed_build, t.failed_build, t.line, n.path
  from test_flakes t
  join report_builders b on b.id = t.builder_id
  join test_names n on n.id = t.name_id;
comment on view report.test_flakes is
    'One row a proof that a test is flaky: it passed and failed on the same sources of a builder. Filter by at.';
comment on column report.test_flakes.test_id is 'The test, as in test_facts.';
comment on column report.test_flakes.test is 'Its name.';
comment on column report.test_flakes.builder_id is 'The builder.';
comment on column report.test_flakes.builder is 'The builder''s name.';
comment on column report.test_flakes.project is 'The builder''s project, as of now; empty: none.';
comment on column report.test_flakes.at is 'When the second of the two builds ended.';
comment on column report.test_flakes.revision is 'What both built; null: not said.';
comment on column report.test_flakes.passed_build is 'The build in which it passed.';
comment on column report.test_flakes.failed_build is 'The build in which it failed.';
comment on column report.test_flakes.line is 'The line, as in build_facts.';
comment on column report.test_flakes.path is 'The file it is in; empty: not said.';
