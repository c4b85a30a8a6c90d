-- Triggers: a running build starts builds of triggerable schedulers.
--
-- What a trigger makes commits with its row, under the lock of the build's
-- lease; the key (build, step, nth) makes it once, however often the worker has
-- to ask. While a build waits, its trigger does; when nobody waits any more the
-- loop of any replica cancels what is left of it (schema::triggers).

create table triggers (
    id         bigint generated always as identity primary key,
    build_id   bigint not null,
    step       int not null,
    nth        int not null,
    state      text not null check (state in ('waiting', 'over')),
    after_stop boolean not null,
    created_at timestamptz not null default tidemill_now(),
    unique (build_id, step, nth)
);
comment on table triggers is
    'One call of a step that starts builds: the nth of its step. `waiting` while the build waits for them, until it is over and so are they, or are asked to be.';
comment on column triggers.after_stop is 'Made by a step that runs although its build was stopped before: only the end of the build cancels what it waits for.';
-- Few rows: the builds that wait right now.
create index triggers_waiting on triggers (build_id) where state = 'waiting';
-- For triggers_prune().
create index triggers_over on triggers (created_at) where state = 'over';

create table trigger_buildsets (
    trigger_id  bigint not null references triggers on delete cascade,
    position    int not null,
    scheduler   text not null,
    buildset_id bigint,
    unimportant boolean not null,
    primary key (trigger_id, position)
);
comment on table trigger_buildsets is 'What a trigger made, in the order in which it was asked for.';
comment on column trigger_buildsets.buildset_id is 'Null where the scheduler only remembers that it was triggered, and starts builds later.';

-- Builds that a build started, also the rebuilds of them.
create index buildsets_parent on buildsets (parent_build_id) where parent_build_id is not null;

-- How many builds stand above this one, each triggered by the next; counted up to `most`.
create function build_depth(build bigint, most int) returns int
language sql stable
as $$
    with recursive up(id, depth) as (
        select build, 0
        union all
        select p.parent_build_id, up.depth + 1
          from up
         cross join lateral (
               select s.parent_build_id
                 from builds b
                 join build_requests r on r.id = b.request_id
                 join buildsets s on s.id = r.buildset_id
                where b.id = up.id and s.parent_build_id is not null limit 1) p
         where up.depth < most
    )
    select max(depth) from up
$$;
