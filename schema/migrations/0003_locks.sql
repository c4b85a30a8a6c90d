-- Locks: who holds what, and who waits for it (docs/adr/0019).
--
-- Guarantees. How much of a lock is taken is the sum of its holds, read while the
-- lock's row is locked FOR UPDATE; so capacity is never passed, whoever races.
-- Rows of locks are locked in id order, never skipped, and never updated by taking
-- or giving back. All locks of a build or step are taken together or none.
-- A hold lives as long as its build's lease at most: builds_finish() deletes both.
--
-- The line. Who does not get its locks leaves a waiter with a ticket: a builder for
-- the foremost of its requests, which stay in the queue (so a backlog of any length
-- is one waiter); a request, where a function of the project decides of the locks;
-- a step of a running build. lock_walk() is the only judge of whose turn it is.

create table locks (
    id         bigint generated always as identity primary key,
    name       text not null unique,
    active     boolean not null default true,
    kind       text not null check (kind in ('master', 'worker')),
    capacity   int not null check (capacity >= 0),
    capacities jsonb not null default '{}'
);
comment on table locks is 'One row for each name ever defined; `active` says whether the active revision defines it. Locked by whoever takes something of it.';
comment on column locks.kind is 'master: one for the cluster. worker: one on each worker.';
comment on column locks.capacities is 'Of a worker lock: {worker: capacity} where it is another.';

create table worker_definitions (
    worker_name text primary key,
    locks       jsonb check (jsonb_array_length(locks) > 0),
    max_builds  int check (max_builds > 0),
    missing_after interval,
    trusted_only boolean not null default false
);
comment on table worker_definitions is 'What the active revision says of workers that the database must know; workers of which it says nothing have no row.';
comment on column worker_definitions.missing_after is 'After how long without a word of it its absence is told; null: an hour.';
comment on column worker_definitions.trusted_only is 'It takes no build of what an outsider announced: buildset_trusted().';

create function worker_takes_trusted_only(p_worker text) returns boolean
language sql stable
as $$ select exists (select from worker_definitions d where d.worker_name = p_worker and d.trusted_only) $$;

create table lock_holds (
    lock_id   bigint not null,
    worker_id bigint not null,
    build_id  bigint not null,
    step      int not null,
    mode      text not null check (mode in ('counting', 'exclusive')),
    units     int not null check (units > 0),
    since     timestamptz not null default tidemill_now(),
    primary key (lock_id, worker_id, build_id, step)
);
comment on table lock_holds is 'Who holds what of a lock: rows come with a claim or a step and go with its end or its lease.';
comment on column lock_holds.worker_id is 'Of a worker lock: on which worker. 0: of a master lock.';
comment on column lock_holds.step is 'The number of the step that holds it; 0: the build.';
create index lock_holds_build on lock_holds (build_id);

create table lock_waiters (
    ticket     bigint generated always as identity primary key,
    builder_id bigint,
    request_id bigint unique,
    build_id   bigint,
    step       int,
    worker_id  bigint,
    accesses   jsonb not null,
    since      timestamptz not null default tidemill_now(),
    turn_at    timestamptz,
    unique (build_id, step),
    check ((builder_id is null) <> (build_id is null)),
    check ((build_id is null) = (step is null) and (build_id is null) = (worker_id is null))
);
comment on table lock_waiters is 'The line, in the order of tickets: a builder (for the foremost of its requests), a request, or a step of a build. A waiter that ended is found by looking and does not block.';
comment on column lock_waiters.accesses is 'The locks that it wants, as in lang::definition.';
comment on column lock_waiters.turn_at is 'Since when it could run and did not; after a while it holds up nobody.';
create unique index lock_waiters_builder on lock_waiters (builder_id) where request_id is null;

create table lock_waits (
    lock_id bigint not null,
    ticket  bigint not null references lock_waiters on delete cascade,
    primary key (lock_id, ticket)
);
comment on table lock_waits is 'In which lines a waiter stands.';
create index lock_waits_ticket on lock_waits (ticket);

-- How long a waiter that could run may leave its locks to nobody.
create function lock_turn() returns interval language sql immutable as $$ select interval '15 seconds' $$;
-- After how long a waiter for several locks keeps those that are free for itself.
create function lock_patience() returns interval language sql immutable as $$ select interval '10 minutes' $$;

-- The accesses of a build (with those of its worker's definition) or of a step, each
-- as the place where it is taken. A lock named twice is taken once: exclusively if
-- either is, else for the sum. More units than there are is all of them. Count 0
-- takes nothing (D-45).
create function lock_places(p_own jsonb, p_worker bigint, p_build boolean)
returns table (lock_id bigint, worker_id bigint, exclusive boolean, units int, capacity int)
language sql stable
as $$
    select l.id, k.worker, bool_or(a.mode = 'exclusive'),
           case when bool_or(a.mode = 'exclusive') then 1
                else greatest(1, least(sum(a.count), k.capacity))::int end, k.capacity
      from (select x.* from jsonb_to_recordset(p_own) x(lock text, mode text, count bigint)
             union all
            select x.* from workers w
              join worker_definitions d on d.worker_name = w.name
             cross join jsonb_to_recordset(d.locks) x(lock text, mode text, count bigint)
             where p_build and w.id = p_worker) a
      join locks l on l.name = a.lock
     cross join lateral (
           select case when l.kind = 'worker' then p_worker else 0 end as worker,
                  case when l.kind = 'worker' and l.capacities <> '{}'
                       then coalesce((select (l.capacities ->> w.name)::int from workers w where w.id = p_worker), l.capacity)
                       else l.capacity end as capacity) k
     where a.mode = 'exclusive' or a.count > 0
     group by l.id, k.worker, k.capacity
     order by l.id
$$;

-- Whether any of them is a lock of workers.
create function locks_of_workers(p_own jsonb) returns boolean
language sql stable
as $$
    select exists (select from jsonb_to_recordset(p_own) x(lock text)
                     join locks l on l.name = x.lock and l.kind = 'worker')
$$;

-- Locks the rows of all locks that are named, in id order.
create function locks_lock(p_accesses jsonb[]) returns void
language sql volatile
as $$
    select from locks l
     where l.name in (select x.lock from unnest(p_accesses) a cross join jsonb_to_recordset(a) x(lock text))
     order by l.id for update
$$;

-- The judge. Walks the lines of these locks in the order of tickets and says of each
-- waiter whether its locks could be had now; then, where one is given (p_own, on
-- p_worker; p_step_of: the build of which it is a step, null for a build), whether its
-- could: the row without ticket. Waiters from p_before on come after it.
--
-- A waiter counts if it has not ended and, for a build, if a connected worker with a
-- free slot could take it. One that could run now keeps its locks from all that come
-- after it. One that lacks a single lock stands before them at that lock, so that no
-- counting comer passes an earlier exclusive one (D-45); the locks that it could have
-- stay free for others until it has waited for lock_patience(), and after that for
-- steps of builds that hold something: what it lacks may be theirs, or be held by who
-- waits for them. One that could run for lock_turn() and did not (a function of the
-- project says no, its worker fell silent) holds up nobody until its locks were taken
-- again.
--
-- A lock whose kind changed: what is held of it as one of the cluster counts on every
-- worker, and what is held of it on workers counts together.
--
-- The window is bounded: what stands behind 500 others may be passed.
create function lock_walk(p_locks bigint[], p_before bigint, p_own jsonb, p_worker bigint, p_step_of bigint)
returns table (ticket bigint, may boolean)
language plpgsql
as $$
#variable_conflict use_column
declare
    v_now       timestamptz := tidemill_now();
    -- what is taken of each place, with what those before keep for themselves
    s_key text[] := '{}'; s_used bigint[] := '{}'; s_shut boolean[] := '{}';
    -- and what they keep out of patience only
    k_used bigint[] := '{}'; k_shut boolean[] := '{}'; v_kept boolean := false; v_holds boolean;
    -- workers with a free slot, once somebody asks
    f_worker bigint[]; f_name text[];
    -- an option: where it would be, what of that is missing, and what of this only
    -- because others keep it out of patience
    o_at int[]; o_exclusive boolean[]; o_units int[]; o_missing int[]; o_kept int[];
    -- the best one
    b_at int[]; b_exclusive boolean[]; b_units int[]; b_missing int[]; b_kept int[];
    v_here boolean; v_options bigint[]; v_worker bigint; v_at int; v_fits boolean;
    v_used bigint; v_shut boolean; v_room boolean;
    w record; p record;
begin
    for w in
        select k.ticket, k.builder_id, k.request_id, k.build_id, k.step, k.worker_id, k.accesses, k.since, k.turn_at,
               k.build_id is null as build, false as comer
          from (select distinct x.ticket
                  from unnest(p_locks) l(id)
                 cross join lateral (select t.ticket from lock_waits t
                                      where t.lock_id = l.id and t.ticket < coalesce(p_before, 9223372036854775807)
                                      order by t.ticket limit 500) x
                 order by 1 limit 500) t
          join lock_waiters k on k.ticket = t.ticket
         union all
        select null, null, null, p_step_of, null, p_worker, p_own, null, null, p_step_of is null, true
         where p_own is not null
         order by ticket nulls last
    loop
        if w.comer or w.build_id is not null then
            v_here := w.comer or exists (select from leases l where l.build_id = w.build_id);
            v_options := array[w.worker_id];
        else
            if w.request_id is not null then
                v_here := exists (select from request_queue q where q.request_id = w.request_id);
            else
                v_here := exists (select from lanes n where n.builder_id = w.builder_id
                                     and (select q.ticket from request_queue q where q.lane = n.id limit 1) is not null);
            end if;
            if v_here and f_worker is null then
                select coalesce(array_agg(s.worker_id), '{}'), coalesce(array_agg(u.name), '{}') into f_worker, f_name
                  from worker_sessions s
                  join workers u on u.id = s.worker_id and not u.paused
                  left join (select l.session_id, count(*) as n from leases l group by 1) busy on busy.session_id = s.id
                 where s.state = 'open' and s.slots > coalesce(busy.n, 0)
                   and s.seen_at > v_now - interval '45 seconds'
                   and s.vocabulary >= (select c.vocabulary from active_revision a
                                          join config_revisions c on c.id = a.revision_id);
            end if;
            v_options := array(
                select u.id from builders b
                 cross join unnest(f_worker, f_name) u(id, name)
                 where b.id = w.builder_id and b.active and not b.paused and v_here
                   and (b.any_worker or exists (select from builder_workers y
                                                 where y.builder_id = b.id and y.worker_name = u.name))
                   -- Something of it waits that this worker may take.
                   and exists (select from lanes n
                                where n.builder_id = b.id and (n.worker_name is null or n.worker_name = u.name)
                                  and (n.trusted or not worker_takes_trusted_only(u.name))
                                  and (select q.ticket from request_queue q where q.lane = n.id limit 1) is not null)
                 order by u.id limit 100);
        end if;
        if not v_here then
            -- Over: what it waited for has no need of it. Another walk may be at it.
            delete from lock_waiters k where k.ticket = (
                select x.ticket from lock_waiters x where x.ticket = w.ticket for update skip locked);
            continue;
        end if;

        v_holds := v_kept and w.build_id is not null
                   and exists (select from lock_holds h where h.build_id = w.build_id);
        b_missing := null;
        foreach v_worker in array v_options loop
            o_at := '{}'; o_exclusive := '{}'; o_units := '{}'; o_missing := '{}'; o_kept := '{}';
            for p in select * from lock_places(w.accesses, v_worker, w.build) loop
                v_at := array_position(s_key, p.lock_id || ':' || p.worker_id);
                if v_at is null then
                    v_at := cardinality(s_key) + 1;
                    s_key[v_at] := p.lock_id || ':' || p.worker_id;
                    select coalesce(sum(h.units), 0), coalesce(bool_or(h.mode = 'exclusive'), false)
                      into v_used, v_shut
                      from (select x.units, x.mode from lock_holds x where x.lock_id = p.lock_id and x.worker_id = 0
                             union all
                            select x.units, x.mode from lock_holds x
                             where x.lock_id = p.lock_id and x.worker_id >= greatest(1, p.worker_id)
                               and x.worker_id <= case p.worker_id when 0 then 9223372036854775807 else p.worker_id end) h;
                    s_used[v_at] := v_used;
                    s_shut[v_at] := v_shut;
                    k_used[v_at] := 0;
                    k_shut[v_at] := false;
                end if;
                v_room := not s_shut[v_at] and p.capacity > 0
                          and case when p.exclusive then s_used[v_at] = 0 else s_used[v_at] + p.units <= p.capacity end;
                v_fits := v_room and (v_holds or not k_shut[v_at]
                          and case when p.exclusive then k_used[v_at] = 0
                                   else s_used[v_at] + k_used[v_at] + p.units <= p.capacity end);
                o_at := o_at || v_at;
                o_exclusive := o_exclusive || p.exclusive;
                o_units := o_units || p.units;
                if not v_fits then
                    o_missing := o_missing || v_at;
                end if;
                if v_room and not v_fits then
                    o_kept := o_kept || v_at;
                end if;
            end loop;
            if b_missing is null or cardinality(o_missing) < cardinality(b_missing) then
                b_at := o_at; b_exclusive := o_exclusive; b_units := o_units; b_missing := o_missing;
                b_kept := o_kept;
            end if;
            exit when cardinality(b_missing) = 0;
        end loop;

        ticket := w.ticket;
        may := coalesce(cardinality(b_missing) = 0, false);
        return next;
        continue when w.comer or b_missing is null;
        if w.build_id is null and may <> (w.turn_at is not null) then
            update lock_waiters k set turn_at = case when may then v_now end where k.ticket = (
                select x.ticket from lock_waiters x where x.ticket = w.ticket for update skip locked);
        end if;
        continue when may and w.turn_at < v_now - lock_turn();
        for i in 1 .. cardinality(b_at) loop
            if may or b_missing = array[b_at[i]] and b_kept = '{}' then
                s_used[b_at[i]] := s_used[b_at[i]] + b_units[i];
                s_shut[b_at[i]] := s_shut[b_at[i]] or b_exclusive[i];
            elsif b_missing = array[b_at[i]] or w.since <= v_now - lock_patience() then
                k_used[b_at[i]] := k_used[b_at[i]] + b_units[i];
                k_shut[b_at[i]] := k_shut[b_at[i]] or b_exclusive[i];
                v_kept := true;
            end if;
        end loop;
    end loop;
end $$;

-- Takes all of these locks for a build (step 0) or a step of it, or none. p_before:
-- its ticket, if it stands in line.
create function lock_take(p_own jsonb, p_worker bigint, p_build_id bigint, p_step int, p_before bigint) returns boolean
language plpgsql
as $$
declare
    v_locks bigint[];
begin
    v_locks := array(
        select l.id from locks l
         where l.id in (select p.lock_id from lock_places(p_own, p_worker, p_step = 0) p)
         order by l.id for update);
    if cardinality(v_locks) = 0 then
        return true;
    end if;
    if not (select k.may from lock_walk(v_locks, p_before, p_own, p_worker, case when p_step > 0 then p_build_id end) k
             where k.ticket is null) then
        return false;
    end if;
    insert into lock_holds (lock_id, worker_id, build_id, step, mode, units)
    select p.lock_id, p.worker_id, p_build_id, p_step,
           case when p.exclusive then 'exclusive' else 'counting' end, p.units
      from lock_places(p_own, p_worker, p_step = 0) p;
    return true;
end $$;

-- Stands in line; who does already keeps its place. p_guards: locks of the worker's
-- definition that it was tried with.
create function lock_wait(p_builder bigint, p_request bigint, p_build bigint, p_step int, p_worker bigint,
                          p_own jsonb, p_guards jsonb) returns void
language plpgsql
as $$
declare
    v_ticket bigint;
begin
    -- Locked: a walk that holds no lock's row may just find it dead, and delete it.
    select w.ticket into v_ticket from lock_waiters w
     where case when p_build is not null then w.build_id = p_build and w.step = p_step
                when p_request is not null then w.request_id = p_request
                else w.builder_id = p_builder and w.request_id is null end
       for update;
    if v_ticket is null then
        insert into lock_waiters (builder_id, request_id, build_id, step, worker_id, accesses)
        values (p_builder, p_request, p_build, p_step, p_worker, p_own)
        on conflict do nothing returning ticket into v_ticket;
    else
        update lock_waiters w set accesses = p_own where w.ticket = v_ticket and w.accesses <> p_own;
        if found then
            delete from lock_waits t where t.ticket = v_ticket;
        end if;
    end if;
    insert into lock_waits (lock_id, ticket)
    select distinct l.id, v_ticket
      from jsonb_to_recordset(p_own || coalesce(p_guards, '[]')) x(lock text, mode text, count bigint)
      join locks l on l.name = x.lock
     where v_ticket is not null and (x.mode = 'exclusive' or x.count > 0)
    on conflict do nothing;
end $$;

-- A step asks for its locks, under its build's lease, which the caller has locked.
-- Asked again after it got them, it has them.
create function lock_ask(p_build bigint, p_step int, p_own jsonb) returns boolean
language plpgsql
as $$
declare
    v_worker bigint;
    v_ticket bigint;
begin
    if exists (select from lock_holds h where h.build_id = p_build and h.step = p_step) then
        return true;
    end if;
    select b.worker_id into v_worker from builds b where b.id = p_build;
    select w.ticket into v_ticket from lock_waiters w where w.build_id = p_build and w.step = p_step;
    if lock_take(p_own, v_worker, p_build, p_step, v_ticket) then
        delete from lock_waiters w where w.ticket = v_ticket;
        return true;
    end if;
    perform lock_wait(null, null, p_build, p_step, v_worker, p_own, null);
    return false;
end $$;

-- Whose turn it is at these locks, after something of them was given back: lanes to
-- look into, builds whose steps ask again. Waits for whoever is just about to stand in
-- line.
create function lock_turns(p_locks bigint[]) returns table (lane bigint, build_id bigint)
language plpgsql
as $$
#variable_conflict use_column
begin
    perform from locks l where l.id = any(p_locks) order by l.id for share;
    return query
    select n.id, w.build_id
      from lock_walk(p_locks, null, null, null, null) k
      join lock_waiters w on w.ticket = k.ticket
      left join lanes n on n.builder_id = w.builder_id
     where k.may;
end $$;

-- Builders, and requests of them, that stand in line and whose turn it is not.
create function lock_blocked(p_builders bigint[]) returns table (builder_id bigint, request_id bigint)
language sql volatile
as $$
    select w.builder_id, w.request_id
      from lock_walk(array(select distinct t.lock_id from lock_waiters w join lock_waits t on t.ticket = w.ticket
                            where w.builder_id = any(p_builders)), null, null, null, null) k
      join lock_waiters w on w.ticket = k.ticket
     where not k.may and w.builder_id = any(p_builders)
$$;

-- What a waiter waits for, in words.
create function lock_waiter_says(p_ticket bigint) returns text
language sql stable
as $$
    select string_agg(format('lock %s %s', k.name, coalesce(k.held, 'which others wait for before it')), '; '
                      order by k.held is null, k.name)
      from (select l.name,
                   (select case when min(h.others) > 1 then format('held by build %s #%s and %s more',
                                                                   min(h.builder), min(h.number), min(h.others) - 1)
                                else format('held by build %s #%s', min(h.builder), min(h.number)) end
                      from (select u.name as builder, b.number, count(*) over () as others
                              from lock_holds x join builds b on b.id = x.build_id join builders u on u.id = b.builder_id
                             where x.lock_id = l.id and x.worker_id in (0, w.worker_id)
                                or x.lock_id = l.id and w.worker_id is null
                             order by x.since, x.build_id limit 1) h
                    having count(*) > 0) as held
              from lock_waiters w join lock_waits t on t.ticket = w.ticket join locks l on l.id = t.lock_id
             where w.ticket = p_ticket) k
     where k.held is not null
        or not exists (select from lock_waits t join lock_holds h on h.lock_id = t.lock_id where t.ticket = p_ticket)
$$;

-- The same of a request in the queue; null if it waits for no lock.
create function lock_waits_of(p_request bigint) returns text
language sql stable
as $$
    select coalesce(
        (select lock_waiter_says(w.ticket) from lock_waiters w where w.request_id = r.id),
        (select lock_waiter_says(w.ticket) from lock_waiters w
          where w.builder_id = r.builder_id and w.request_id is null),
        (select 'its locks: the function `locks` of its builder failed, see the builder''s page'
           from builders b
           join active_revision a on true
           join policy_failures f on f.revision_id = a.revision_id and f.subject = 'builder' and f.name = b.name
                                 and f.policy = 'locks' and f.last_at > tidemill_now() - interval '1 minute'
          where b.id = r.builder_id and b.lock_rule))
      from build_requests r where r.id = p_request
$$;
