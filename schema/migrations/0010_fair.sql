-- Who gets what: fair shares of projects, and what functions of the project refuse.

create table project_shares (
    project text primary key,
    share   double precision not null check (share > 0 and share < 'infinity')
);
comment on table project_shares is
    'Shares that the active revision gives to projects (docs/adr/0024); without a row at all claims know nothing of them. A project without a row has the share 1.';

create table policy_refusals (
    builder_id bigint not null references builders on delete cascade,
    request_id bigint not null,
    policy     text not null,
    said       text not null default '',
    since      timestamptz not null default tidemill_now(),
    primary key (builder_id, request_id)
);
comment on table policy_refusals is
    'What functions of the project said no to when they were asked last, for people. Written only when that changes.';
comment on column policy_refusals.request_id is '0: the builder as a whole, of which nothing is to start.';
comment on column policy_refusals.said is 'The reason that the function gave; empty without one.';
