-- What the views of `report` are made of, beside the tables and not in `report`:
-- nobody but they selects from it.

-- Projects of which the caller sees nothing. current_user is who asks, also within
-- a view of another owner. `usage`: what a role's members have of it without SET ROLE,
-- as with any other right. A grant to a role that is gone grants nothing.
create or replace view report_hidden_projects as
select p.name
  from projects p
 where not p.public
   and not exists (select from report_grants g
                     join pg_catalog.pg_roles r on r.rolname = g.role
                    where (g.project is null or g.project = p.name) and pg_catalog.pg_has_role(r.oid, 'usage'))
   -- Who owns the tables could read them anyway.
   and not (select pg_catalog.pg_has_role(c.relowner, 'usage')
              from pg_catalog.pg_class c where c.oid = 'builders'::pg_catalog.regclass);
comment on view report_hidden_projects is 'Names of projects of which the caller sees nothing in `report`.';

-- Hashed subplans, computed once a query: an anti-join's estimate goes astray where
-- `projects` was never analysed. A virtual builder says of what project it is by a
-- property of who asked; what builds under it may be of another, and is hidden with that.
create or replace view report_builders as
select b.id, b.name, b.project, b.tags, b.description, b.active, b.paused, b.virtual
  from builders b
 where b.project not in (select h.name from report_hidden_projects h)
   and not (b.virtual
            and b.id in (select l.virtual_id from lanes l join builders r on r.id = l.builder_id
                          where r.project in (select h.name from report_hidden_projects h)));
comment on view report_builders is 'Builders of which the caller sees something in `report`.';

-- A result in the word that REST and pages use.
create or replace function results_word(code smallint) returns text
language sql immutable parallel safe
return (array['success', 'warnings', 'failure', 'skipped', 'exception', 'retry', 'cancelled'])[code + 1];

-- Whose fault a result is, as far as it tells.
create or replace function results_kind(code smallint) returns text
language sql immutable parallel safe
return (array['good', 'good', 'tests', 'skipped', 'infrastructure', 'lost', 'cancelled'])[code + 1];

create or replace function seconds_of(span interval) returns double precision
language sql immutable parallel safe
return extract(epoch from span)::double precision;

-- A repository's address without who logs in there: a password may stand in it.
create or replace function address_shown(address text) returns text
language sql immutable parallel safe
return regexp_replace(address, '^([A-Za-z][A-Za-z0-9+.-]*://)[^/]*@', '\1');

-- A label that is a plain number; null otherwise.
create or replace function label_number(label text) returns double precision
language sql immutable parallel safe
return case when label ~ '^[0-9]{1,9}(\.[0-9]{1,9})?$' then label::double precision end;
