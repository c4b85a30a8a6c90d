-- Hooks: deliveries, changes that wait for an approval, and what is trusted.

create table hook_deliveries (
    id          bigint generated always as identity primary key,
    dialect     text not null,
    delivery    text,
    signed      bytea,
    body        bytea not null,
    status      smallint not null default 202,
    answer      jsonb,
    received_at timestamptz not null default tidemill_now(),
    unique (dialect, delivery),
    unique (dialect, signed)
);
comment on table hook_deliveries is
    'What hooks were sent and took, so that the same again gets the same answer and makes no second change. Written in the transaction that stores the changes.';
comment on column hook_deliveries.delivery is 'The id that the sender gave it; null without one.';
comment on column hook_deliveries.signed is
    'SHA-256 of a body that was signed and that no honest sender signs twice: one that was recorded and comes again under another id is no second delivery. Null for others.';
comment on column hook_deliveries.body is 'SHA-256 of the body: the same id with another body is refused.';
comment on column hook_deliveries.answer is 'Null only inside the transaction that writes it.';
create index hook_deliveries_received on hook_deliveries (received_at);

create table held_changes (
    id          bigint generated always as identity primary key,
    delivery_id bigint,
    dialect     text not null,
    pull        text not null,
    repository  text not null,
    branch      text,
    revision    text not null,
    change      jsonb not null,
    why         text not null,
    state       text not null default 'waiting' check (state in ('waiting', 'approved', 'refused', 'superseded')),
    held_at     timestamptz not null default tidemill_now(),
    decided_at  timestamptz,
    decided_by  text,
    change_id   bigint,
    check ((state = 'waiting') = (decided_at is null)),
    check ((state = 'approved') = (change_id is not null))
);
comment on table held_changes is
    'Changes of outsiders that wait for somebody to approve them. Stored apart, so that no reader of changes has to skip any: the change is inserted when it is approved, with the (xid, id) of then.';
comment on column held_changes.pull is 'Which pull request it is the newest of; a newer one supersedes those that still wait.';
comment on column held_changes.change is 'As it came: model::NewChange.';
comment on column held_changes.change_id is 'What the approval inserted. No foreign key: changes may be removed before.';
create unique index held_changes_waiting on held_changes (dialect, pull) where state = 'waiting';

-- A branch of a repository, and a revision, as numbers that an index takes
-- whatever the length of the texts; who looks compares those too. Null is null.
create function branch_place(repository text, branch text) returns bigint
language sql immutable
as $$ select hashtextextended(branch, hashtextextended(repository, 2)) $$;
create function revision_place(revision text) returns bigint
language sql immutable
as $$ select hashtextextended(revision, 3) $$;

-- Where a forge keeps what is proposed to a repository: anybody's commits may be
-- there. As model::repository::is_proposal.
create function is_proposal(branch text) returns boolean
language sql immutable
as $$ select branch ~ '^refs/(pull|pull-requests|merge-requests|changes)/' $$;

create index held_changes_branch on held_changes (branch_place(repository, branch));
create index held_changes_revision on held_changes (revision_place(revision));

create index changes_outside_branch on changes (branch_place(repository, branch)) where outsider is not null;
create index changes_outside_revision on changes (revision_place(revision)) where outsider is not null;
create index changes_own_proposals on changes (branch_place(repository, branch)) where outsider is null and branch like 'refs/%';

-- Whether builds of a buildset may use secrets: no change of an outsider led to
-- it, and none of its sources is what an outsider announced: neither by the
-- branch (a pull request's own) nor by the revision, whoever asked for the
-- build; nor is one a pull request of which nobody trusted announced anything.
-- What a trusted change announced in the very same words is trusted: the
-- commit was merged as it was. A buildset that a build asked for is at most as
-- trusted as that one: it may have been handed properties.
create function buildset_trusted(buildset bigint) returns boolean
language sql stable
as $$
    with recursive family(id) as (
        select buildset
        union
        select q.buildset_id
          from family f
         cross join lateral (select s.parent_build_id from buildsets s where s.id = f.id limit 1) s
         cross join lateral (select b.request_id from builds b where b.id = s.parent_build_id limit 1) b
         cross join lateral (select r.buildset_id from build_requests r where r.id = b.request_id limit 1) q
    )
    select not exists (
               select 1 from family f join buildset_changes x on x.buildset_id = f.id
                cross join lateral (select c.outsider from changes c where c.id = x.change_id limit 1) c
                where c.outsider is not null)
       and not exists (
               select 1 from family f join buildset_sourcestamps x on x.buildset_id = f.id
                cross join lateral (select p.* from sourcestamps p where p.id = x.sourcestamp_id limit 1) s
                where (exists (select 1 from changes c
                                where branch_place(c.repository, c.branch) = branch_place(s.repository, s.branch)
                                  and c.repository = s.repository and c.branch = s.branch and c.outsider is not null)
                       or exists (select 1 from changes c
                                   where revision_place(c.revision) = revision_place(s.revision)
                                     and c.revision = s.revision and c.outsider is not null)
                       or exists (select 1 from held_changes h
                                   where branch_place(h.repository, h.branch) = branch_place(s.repository, s.branch)
                                     and h.repository = s.repository and h.branch = s.branch)
                       or exists (select 1 from held_changes h
                                   where revision_place(h.revision) = revision_place(s.revision)
                                     and h.revision = s.revision)
                       or (is_proposal(s.branch)
                           and not exists (select 1 from changes c
                                            where branch_place(c.repository, c.branch) = branch_place(s.repository, s.branch)
                                              and c.repository = s.repository and c.branch = s.branch
                                              and c.outsider is null and c.branch like 'refs/%')))
                  and not exists (select 1 from changes t where t.sourcestamp_id = s.id and t.outsider is null))
$$;
