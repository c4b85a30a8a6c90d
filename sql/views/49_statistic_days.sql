create or replace view report.statistic_days with (security_barrier) as
select d.builder_id, b.name as builder, b.project, d.name, d.day, d.step, d.runs, d.total, d.lowest, d.highest, d.newest,
       d.newest_at, d.newest_build as newest_build_id
  from statistic_days d
  join report_builders b on b.id = d.builder_id;
comment on view report.statistic_days is
    'One row a builder, number that a step set, day (UTC) and name of the step: sums of statistics, which stay when those are gone. Filter by name with day, or by builder.';
comment on column report.statistic_days.builder_id is 'The builder.';
comment on column report.statistic_days.builder is 'The builder''s name.';
comment on column report.statistic_days.project is 'The builder''s project, as of now; empty: none.';
comment on column report.statistic_days.name is 'What the number is of, such as warnings.';
comment on column report.statistic_days.day is 'The beginning of the day (UTC) in which the builds ended.';
comment on column report.statistic_days.step is 'The step''s name.';
comment on column report.statistic_days.runs is 'How often the number was set.';
comment on column report.statistic_days.total is 'All of them together.';
comment on column report.statistic_days.lowest is 'The lowest.';
comment on column report.statistic_days.highest is 'The highest.';
comment on column report.statistic_days.newest is 'Of the build that ended last.';
comment on column report.statistic_days.newest_at is 'When that one ended.';
comment on column report.statistic_days.newest_build_id is 'That build.';
