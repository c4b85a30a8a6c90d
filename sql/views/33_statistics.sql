create or replace view report.statistics with (security_barrier) as
select f.build_id, f.builder_id, b.name as builder, b.project, f.number, f.complete_at, f.branch,
       x.step as step_number, s.name as step, x.name, x.value, f.revision
  from build_facts f
  join report_builders b on b.id = f.builder_id
  join step_statistics x on x.build_id = f.build_id
  join steps s on s.build_id = x.build_id and s.number = x.step;
comment on view report.statistics is
    'One row a number that a step set (warnings, tests, sizes, any other) in a finished build, as long as the build itself is kept. Filter by complete_at and builder.';
comment on column report.statistics.build_id is 'The build.';
comment on column report.statistics.builder_id is 'Its builder.';
comment on column report.statistics.builder is 'The builder''s name.';
comment on column report.statistics.project is 'The builder''s project, as of now; empty: none.';
comment on column report.statistics.number is 'The build''s number.';
comment on column report.statistics.complete_at is 'When the build ended.';
comment on column report.statistics.branch is 'The build''s branch; null: the repository''s default.';
comment on column report.statistics.step_number is 'The number of the step within the build.';
comment on column report.statistics.step is 'The step''s name.';
comment on column report.statistics.name is 'What the number is of, such as warnings.';
comment on column report.statistics.value is 'The number.';
comment on column report.statistics.revision is 'The build''s revision; null: the newest.';
