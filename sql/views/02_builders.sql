create or replace view report.builders with (security_barrier) as
select b.id as builder_id, b.name as builder, b.project, b.tags, b.description, b.active, b.paused, b.virtual
  from report_builders b;
comment on view report.builders is 'One row a builder, also one that no revision defines any more.';
comment on column report.builders.builder_id is 'Its id, as in REST; lasts as long as the name.';
comment on column report.builders.builder is 'Its name.';
comment on column report.builders.project is 'The project it belongs to; empty: none.';
comment on column report.builders.tags is 'Its tags.';
comment on column report.builders.description is 'What its author says of it; may be empty.';
comment on column report.builders.active is 'Whether the active revision defines it.';
comment on column report.builders.paused is 'Whether people paused it: nothing of it starts.';
comment on column report.builders.virtual is 'Whether builds of another builder appear under its name (virtual_builder_name).';
