-- Schedulers that follow others, and which of all have something to do.

create table scheduler_upstreams (
    scheduler_id bigint not null references schedulers on delete cascade,
    buildset_id  bigint not null references buildsets on delete cascade,
    primary key (scheduler_id, buildset_id)
);
comment on table scheduler_upstreams is
    'Buildsets whose end a Dependent scheduler waits for: made by its upstream while it was active (D-29). Gone with their end.';
create index scheduler_upstreams_buildset on scheduler_upstreams (buildset_id);

-- Active schedulers that have something to do at `now`, given how far changes
-- and buildsets have come: one left alone after a failure whose time has come, a
-- timer, a wish of somebody, and what is past the cursors of those who look.
create function schedulers_ready(now timestamptz, change_xid bigint, change_id bigint, event_xid bigint, event_id bigint)
returns setof schedulers
language sql stable
as $$
    select * from schedulers s
     where s.active and (s.retry_at is null or s.retry_at <= now)
       and (s.retry_at is not null or s.next_at <= now or s.run_asked_at is not null
            or s.watches and (s.cursor_xid, s.cursor_id) < (change_xid, change_id)
            or s.hears and (s.heard_xid, s.heard_id) < (event_xid, event_id))
$$;
