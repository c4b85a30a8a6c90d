create or replace view report.branch_months with (security_barrier) as
select d.builder_id, b.name as builder, b.project, d.month, d.branch, d.builds, d.good, d.failed,
       d.last_at as last_complete_at, d.good_at as last_good_at, d.failed_at as last_failed_at
  from branch_months d
  join report_builders b on b.id = d.builder_id;
comment on view report.branch_months is
    'One row a builder, month (UTC) and branch in which builds of it ended: sums of build_facts, which stay when those are gone. branch_sums() has whole months of these, and builds at both ends. Filter by month or builder.';
comment on column report.branch_months.builder_id is 'The builder.';
comment on column report.branch_months.builder is 'The builder''s name.';
comment on column report.branch_months.project is 'The builder''s project, as of now; empty: none.';
comment on column report.branch_months.month is 'The beginning of the month (UTC) in which the builds ended.';
comment on column report.branch_months.branch is 'Branch of their first source stamp by codebase; null: the repository''s default.';
comment on column report.branch_months.builds is 'Builds that ended within it.';
comment on column report.branch_months.good is 'Of those, with the result success or warnings.';
comment on column report.branch_months.failed is 'Of those, with the result failure.';
comment on column report.branch_months.last_complete_at is 'When the last of all of them ended.';
comment on column report.branch_months.last_good_at is 'When the last good one ended; null: none was.';
comment on column report.branch_months.last_failed_at is 'When the last failure ended; null: none was.';
