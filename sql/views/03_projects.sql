create or replace view report.projects with (security_barrier) as
select n.project, coalesce(p.public, true) as public, coalesce(p.description, '') as description,
       (select count(*) from builders b where b.project = n.project and b.active) as builders
  from (select name as project from projects union select b.project from report_builders b where b.project <> '') n
  left join projects p on p.name = n.project
 where n.project not in (select h.name from report_hidden_projects h);
comment on view report.projects is 'One row a project that is defined or that a builder names.';
comment on column report.projects.project is 'Its name.';
comment on column report.projects.public is 'False: only roles that were granted it see it and what is of it.';
comment on column report.projects.description is 'What its author says of it; may be empty.';
comment on column report.projects.builders is 'How many builders of it the active revision defines.';
