-- The claim, in one round trip for all polls that wait in a replica.
--
-- Guarantees. A request is claimed once, whoever races (SKIP LOCKED on its queue
-- row, which the claim deletes). A session's claims are serialized by its row
-- lock; a poll that is not newer than the session's newest build gets nothing
-- new; builds above `newest` that are still open are delivered again and count
-- against the free slots. If the reply is lost, the next poll gets the same
-- builds; if this transaction dies, nothing happened.
--
-- Order. Builders by their highest waiting priority, then by their oldest
-- request; within a builder by priority, then age; a random free slot (D-42).
--
-- Fair shares (docs/adr/0024). Where a project has a share, what has the same
-- priority goes in the order of live builds by share of the projects: each build
-- that is given counts at once, so that free slots are dealt out one by one. What
-- runs is counted without a lock: two replicas may be off by what they give in the
-- same moment.
--
-- Whom. A lane holds what the same workers may take: of those of its builder, one
-- that was chosen, and of what outsiders sent those that take it. A worker that
-- takes trusted changes only looks once more at what it gets from a lane of trusted
-- ones, because what is trusted may change while it waits: then it moves apart.
--
-- Where the project has policies, the replica decides and names what is to go
-- where (p_picks_…): exactly those pairs are claimed that are still there, if the
-- revision by which it decided is still the active one.
--
-- Locks (0003_locks.sql). A builder with locks, or a worker whose definition has
-- some, is claimed for one request at a time, each with all of its locks or not at
-- all; who does not get them leaves a waiter and stays in the queue. Where neither
-- has locks nothing of that is looked at. Locks that a function of the project
-- decides come with the pick (p_picks_locks); without one such a builder is left alone.
--
-- Only numbers come back: what a build starts with is immutable, and replicas
-- keep it in memory (schema::claims::payloads).
--
-- Plans. Each look-up is written so that one plan only is left: while a snapshot
-- is held the statistics say that hot tables are empty, and a walk over all of
-- their dead rows looks cheap. Rows that were found and locked are written
-- through their ctid; a range of (session_id, id) instead of an equality leaves
-- only the index that begins with the session.

create type claim_row as (
    slot         int,      -- which of the polls got it, from 1; 0: another revision is the active one
    build_id     bigint,   -- null: the row says how much of the poll's `free` could be used
    token        int,      -- which of the tokens is its, from 1; null: delivered again, the rest too
    attempt      int,
    builder_id   bigint,
    shown_id     bigint,   -- the builder that it appears under: its own, or a virtual one
    number       bigint,
    request_id   bigint,
    buildset_id  bigint,
    settings_id  bigint,
    revision_id  bigint,
    worker_id    bigint,
    lane         bigint,   -- where it came from,
    ticket       bigint,   -- for the caller's low bounds
    usable       int       -- without a build: slots, fewer than the poll said, that may take something
);

-- The builder itself, while it is a virtual one: a revision may define one of its name.
create function virtual_of(p_virtual bigint) returns bigint
language sql stable
as $$ select case when p_virtual is not null then (select v.id from builders v where v.id = p_virtual and v.virtual) end $$;

-- Puts a request that a claim took out of the queue into the lane of what is not
-- trusted: workers that take trusted changes only do not look there.
create function request_distrust(p_request bigint, p_buildset bigint, p_attempt int) returns void
language plpgsql
as $$
declare
    r record;
begin
    update build_requests q set trusted = false where q.id = p_request and q.complete_at is null
    returning q.builder_id, q.priority, q.worker_name, q.virtual_id into r;
    insert into request_queue (lane, request_id, buildset_id, attempt)
    values (lane_of(r.builder_id, r.priority, r.worker_name, false, r.virtual_id), p_request, p_buildset, p_attempt);
end $$;

-- Which of the free slots each row gets, as its place: what is not trusted none of a
-- picky worker, and null if there is no other. At least as many slots as rows.
create function claim_seats(p_trusted boolean[], p_picky boolean[]) returns int[]
language plpgsql immutable
as $$
declare
    v_seats int[] := array_fill(null::int, array[cardinality(p_trusted)]);
    v_free  int[];
begin
    v_free := array(select k from generate_subscripts(p_picky, 1) k where not p_picky[k] order by k);
    for i in 1 .. cardinality(p_trusted) loop
        if not p_trusted[i] then
            v_seats[i] := v_free[1];
            v_free := v_free[2:];
        end if;
    end loop;
    v_free := array(select k from generate_subscripts(p_picky, 1) k where k <> all(array_remove(v_seats, null)) order by k);
    for i in 1 .. cardinality(p_trusted) loop
        if p_trusted[i] then
            v_seats[i] := v_free[1];
            v_free := v_free[2:];
        end if;
    end loop;
    return v_seats;
end $$;

-- p_sessions, p_polls, p_free, p_newest: one element for each waiting poll.
-- p_tokens: random lease tokens, at least as many as the free slots together.
-- p_lanes, p_lows: lanes that may hold work for these sessions, each with the
-- ticket from which to look. p_term: term of the new leases.
-- p_picks_…: for each pair the place in the queue and the number of the poll, in
-- the order of importance; then p_lanes is empty. p_revision: by which was decided, that
-- there is nothing to decide too; 0: by none. Of another one than the active nothing is
-- claimed, and a row with slot 0 says so.
-- p_picks_locks: for each pair the locks of its builder, null where it has none; or
-- empty, if no builder of the revision has any.
create function claim_builds(
    p_sessions bigint[], p_polls bigint[], p_free int[], p_newest bigint[],
    p_tokens text[], p_lanes bigint[], p_lows bigint[], p_term interval,
    p_revision bigint, p_picks_lane bigint[], p_picks_ticket bigint[], p_picks_slot int[],
    p_picks_locks jsonb[]
) returns setof claim_row
language plpgsql
-- One plan a connection: it does not change with the arrays.
set plan_cache_mode = force_generic_plan
as $$
declare
    v_free      int[] := p_free;
    v_levels    int[] := array_fill(0, array[cardinality(p_sessions)]);  -- vocabularies
    v_workers   bigint[] := array_fill(null::bigint, array[cardinality(p_sessions)]);
    v_names     text[] := array_fill(null::text, array[cardinality(p_sessions)]);
    v_slots     int[] := '{}';  -- free slots in random order, each as the number of its poll
    v_may       int[];          -- those of them that may build the lane,
    v_places    int[];          -- and where they stand in v_slots
    v_most      int[] := array_fill(null::int, array[cardinality(p_sessions)]);    -- max_builds, less what runs
    v_guards    jsonb[] := array_fill(null::jsonb, array[cardinality(p_sessions)]);  -- locks of the worker's definition
    v_guarded   boolean := false;  -- any of them
    v_picky     boolean[] := array_fill(false, array[cardinality(p_sessions)]);  -- takes trusted changes only
    v_some_picky boolean := false;  -- any of them
    v_all       boolean;           -- all free slots may build the lane
    v_fair      boolean;           -- some project has a share
    v_before_pass int;             -- how many were taken before this pass over the lanes
    v_most_each int;               -- of a lane at once
    v_depth     int;               -- rows of a lane in a fair order
    v_seats     int[];             -- which of v_may each row gets
    v_lanes     refcursor;
    v_limited   boolean := false;  -- any max_builds
    v_locked    boolean := false;  -- the rows of all locks that this claim may take
    v_left      int;
    v_revision  bigint;
    v_level     int;
    v_number    regclass;
    v_n         int;
    r           record;
    took        record;
    -- what was taken, element by element
    t_lane bigint[] := '{}';    t_ticket bigint[] := '{}';   t_request bigint[] := '{}';
    t_attempt int[] := '{}';    t_builder bigint[] := '{}';  t_settings bigint[] := '{}';
    t_number regclass[] := '{}'; t_slot int[] := '{}';      t_buildset bigint[] := '{}';
    t_build bigint[] := '{}';    -- where it had to be known before: it holds locks
    t_virtual bigint[] := '{}';  -- the virtual builder that it appears under
    -- one lane, or pick, with locks
    v_own       jsonb;
    v_before    bigint;
    v_build     bigint;
    v_tried     bigint[];  -- workers on which its locks are not to be had
    v_places_taken int[];
begin
    -- The row locks come first, in id order; what is read after them is current.
    for r in
        select s.id, s.worker_id, w.name, w.paused, s.vocabulary, s.state
          from worker_sessions s join workers w on w.id = s.worker_id
         where s.id = any(p_sessions)
         order by s.id
           for update of s
    loop
        v_n := array_position(p_sessions, r.id);
        if r.state = 'open' then
            v_workers[v_n] := r.worker_id;
            v_names[v_n] := r.name;
        end if;
        v_levels[v_n] := r.vocabulary;
        if r.state <> 'open' or r.paused then
            v_free[v_n] := 0;
        end if;
    end loop;

    -- Below nothing waits; but a statement sees what is committed when it begins. So
    -- the one that reads builders reads the revision once more, and nothing is claimed
    -- if another one was activated in between: the next claim finds it.
    for r in
        select a.revision_id, c.vocabulary, d.worker_name, d.locks, d.max_builds, d.trusted_only
          from active_revision a
          join config_revisions c on c.id = a.revision_id
          left join worker_definitions d on d.worker_name = any(v_names)
    loop
        v_revision := r.revision_id;
        v_level := r.vocabulary;
        continue when r.worker_name is null;
        v_n := array_position(v_names, r.worker_name);
        v_guards[v_n] := r.locks;
        v_guarded := v_guarded or r.locks is not null;
        v_most[v_n] := r.max_builds;
        v_limited := v_limited or r.max_builds is not null;
        v_picky[v_n] := r.trusted_only;
        v_some_picky := v_some_picky or r.trusted_only;
    end loop;
    if p_revision > 0 and v_revision <> p_revision then
        v_free := array_fill(0, array[cardinality(v_free)]);
        return next row(0, null, null, null, null, null, null, null, null, null, null, null, null, null, null)::claim_row;
    end if;
    for i in 1 .. cardinality(v_free) loop
        if v_levels[i] < coalesce(v_level, 0) then
            v_free[i] := 0;
        end if;
    end loop;

    -- Open builds that a poll does not know of; and is the poll a stale copy?
    for r in
        select p.ord::int as n, u.ids,
               coalesce((select b.poll from builds b
                          where b.session_id >= p.session and b.session_id <= p.session
                          order by b.session_id desc, b.id desc limit 1), -1) as newest_poll
          from unnest(p_sessions, p_newest) with ordinality as p(session, newest, ord)
          left join lateral (
               select array_agg(k.id) as ids from (
                      select b.id from builds b
                       where (b.session_id, b.id) > (p.session, p.newest) and b.session_id <= p.session
                         and b.state <> 'finished'
                       order by b.session_id, b.id) k) u on true
    loop
        if v_workers[r.n] is null then
            v_free[r.n] := 0;
            continue;
        end if;
        if r.newest_poll >= p_polls[r.n] then
            v_free[r.n] := 0;
        end if;
        if r.ids is not null then
            v_free[r.n] := greatest(0, v_free[r.n] - cardinality(r.ids));
            return query
            select r.n, b, null::int, null::int, null::bigint, null::bigint, null::bigint, null::bigint,
                   null::bigint, null::bigint, null::bigint, null::bigint, null::bigint, null::bigint, null::int
              from unnest(r.ids) b;
        end if;
    end loop;

    if v_limited then
        -- All together: a look at each worker's would read the leases of all once more.
        for r in
            select s.worker_id, count(*)::int as n
              from leases l join worker_sessions s on s.id = l.session_id
             where s.worker_id = any(v_workers) group by s.worker_id
        loop
            v_n := array_position(v_workers, r.worker_id);
            v_most[v_n] := v_most[v_n] - r.n;
        end loop;
        for i in 1 .. cardinality(v_free) loop
            v_free[i] := greatest(0, least(v_free[i], v_most[i]));
        end loop;
    end if;

    -- That nothing went to such a slot does not say that its lane is empty.
    return query
    select u.slot::int, null::bigint, null::int, null::int, null::bigint, null::bigint, null::bigint, null::bigint,
           null::bigint, null::bigint, null::bigint, null::bigint, null::bigint, null::bigint, u.free
      from unnest(v_free, p_free) with ordinality u(free, said, slot) where u.free < u.said;

    if cardinality(p_picks_lane) > 0 then
        if v_revision = p_revision then
            if v_some_picky then
                -- What is trusted no longer is put apart, and so is not there for this pick.
                for r in
                    select k.here, k.request_id
                      from unnest(p_picks_lane, p_picks_ticket, p_picks_slot) p(lane, ticket, slot)
                      join lanes n on n.id = p.lane and n.trusted
                     cross join lateral (
                           select q.ctid as here, q.request_id, q.buildset_id from request_queue q
                            where q.lane = p.lane and q.ticket = p.ticket
                              for update skip locked) k
                     where v_picky[p.slot] and not buildset_trusted(k.buildset_id)
                loop
                    delete from request_queue where ctid = r.here returning request_id, buildset_id, attempt into took;
                    perform request_distrust(took.request_id, took.buildset_id, took.attempt);
                end loop;
            end if;
            with wanted as materialized (
                select p.lane, p.ticket, p.slot, n.builder_id, virtual_of(n.virtual_id) as virtual_id, b.settings_id,
                       row_number() over (partition by p.slot order by p.ord) as nth,
                       b.locks is not null or b.lock_rule or v_guards[p.slot] is not null as locks
                  from unnest(p_picks_lane, p_picks_ticket, p_picks_slot) with ordinality p(lane, ticket, slot, ord)
                  join lanes n on n.id = p.lane
                  join builders b on b.id = n.builder_id and b.active and not b.paused
                  join active_revision a on a.revision_id = p_revision
                 where (b.any_worker
                        or exists (select from builder_workers w
                                    where w.builder_id = b.id and w.worker_name = v_names[p.slot]))
                   and (n.worker_name is null or n.worker_name = v_names[p.slot])
                   and (n.trusted or not v_picky[p.slot])
            ), gone as (
                delete from request_queue
                 where ctid = any(array(
                       select q.here from wanted x
                        cross join lateral (
                              select k.ctid as here from request_queue k
                               where k.lane = x.lane and k.ticket = x.ticket
                                 for update skip locked) q
                        where x.nth <= v_free[x.slot] and not x.locks))
                returning lane, ticket, request_id, buildset_id, attempt
            )
            select coalesce(array_agg(g.lane), '{}'), coalesce(array_agg(g.ticket), '{}'),
                   coalesce(array_agg(g.request_id), '{}'), coalesce(array_agg(g.buildset_id), '{}'),
                   coalesce(array_agg(g.attempt), '{}'), coalesce(array_agg(x.builder_id), '{}'),
                   coalesce(array_agg(x.settings_id), '{}'), coalesce(array_agg(x.slot), '{}'),
                   coalesce(array_agg(('build_number_' || coalesce(x.virtual_id, x.builder_id))::regclass), '{}'),
                   coalesce(array_agg(x.virtual_id), '{}')
              into t_lane, t_ticket, t_request, t_buildset, t_attempt, t_builder, t_settings, t_slot, t_number, t_virtual
              from gone g join wanted x on x.lane = g.lane and x.ticket = g.ticket;
            t_build := array_fill(null::bigint, array[cardinality(t_request)]);
            if cardinality(p_picks_locks) > 0 or v_guarded then
                perform locks_lock(p_picks_locks || v_guards);
                for r in
                    select p.lane, p.ticket, p.slot, n.builder_id, virtual_of(n.virtual_id) as virtual_id, b.settings_id, b.lock_rule, k.request_id,
                           case when b.lock_rule then p_picks_locks[p.ord] else b.locks end as own
                      from unnest(p_picks_lane, p_picks_ticket, p_picks_slot) with ordinality p(lane, ticket, slot, ord)
                      join lanes n on n.id = p.lane
                      join builders b on b.id = n.builder_id and b.active and not b.paused
                      join active_revision a on a.revision_id = p_revision
                      join request_queue k on k.lane = p.lane and k.ticket = p.ticket
                     where (b.locks is not null or b.lock_rule or v_guards[p.slot] is not null)
                       and (b.any_worker
                            or exists (select from builder_workers w
                                        where w.builder_id = b.id and w.worker_name = v_names[p.slot]))
                       and (n.worker_name is null or n.worker_name = v_names[p.slot])
                       and (n.trusted or not v_picky[p.slot])
                     order by p.ord
                loop
                    continue when r.lock_rule and r.own is null
                          or v_free[r.slot] <= (select count(*) from unnest(t_slot) s where s = r.slot);
                    v_own := coalesce(r.own, '[]');
                    select w.ticket into v_before from lock_waiters w
                     where w.builder_id = r.builder_id
                       and w.request_id is not distinct from case when r.lock_rule then r.request_id end;
                    v_build := nextval('builds_id_seq');
                    if not lock_take(v_own, v_workers[r.slot], v_build, 0, v_before) then
                        perform lock_wait(r.builder_id, case when r.lock_rule then r.request_id end, null, null, null,
                                          v_own, v_guards[r.slot]);
                        continue;
                    end if;
                    delete from request_queue
                     where ctid = (select k.ctid from request_queue k
                                    where k.lane = r.lane and k.ticket = r.ticket for update skip locked)
                    returning request_id, buildset_id, attempt into took;
                    if not found then
                        delete from lock_holds where build_id = v_build;
                        continue;
                    end if;
                    delete from lock_waiters where ticket = v_before;
                    t_lane := t_lane || r.lane;
                    t_ticket := t_ticket || r.ticket;
                    t_request := t_request || took.request_id;
                    t_buildset := t_buildset || took.buildset_id;
                    t_attempt := t_attempt || took.attempt;
                    t_builder := t_builder || r.builder_id;
                    t_settings := t_settings || r.settings_id;
                    t_slot := t_slot || r.slot;
                    t_virtual := t_virtual || r.virtual_id;
                    t_number := t_number || ('build_number_' || coalesce(r.virtual_id, r.builder_id))::regclass;
                    t_build := t_build || v_build;
                end loop;
            end if;
        end if;
    elsif v_revision is not null then
        v_slots := array(select i from generate_subscripts(v_free, 1) i, generate_series(1, v_free[i]) order by random());
    end if;
    v_left := cardinality(v_slots);

    v_fair := v_left > 0 and exists (select from project_shares);
    while v_left > 0 loop
        v_before_pass := cardinality(t_request);
        if v_fair then
            -- As many rows of each lane as matter, and few together; another pass takes what is left.
            v_depth := greatest(1, least(v_left, 2000 / cardinality(p_lanes)));
            v_most_each := 1;
            open v_lanes for
            select l.lane, l.low, n.builder_id, n.worker_name as chosen, n.trusted, virtual_of(n.virtual_id) as virtual_id,
                   b.any_worker, b.settings_id, b.locks, b.lock_rule,
                   (select a.revision_id from active_revision a) as revision_id,
                   case when not b.any_worker then array(
                       select w.worker_name from builder_workers w
                        where w.builder_id = b.id and w.worker_name = any(v_names)) end as workers
              from unnest(p_lanes, p_lows) as l(lane, low)
              join lanes n on n.id = l.lane
              join builders b on b.id = n.builder_id and b.active and not b.paused
              left join project_shares h on h.project = b.project
              left join (select u.project, count(*) as n
                           from (select k.builder_id from leases k union all select unnest(t_builder)) k
                           join builders u on u.id = k.builder_id
                          group by u.project) live on live.project = b.project
             cross join lateral (
                  select q.request_id from request_queue q
                   where q.lane = l.lane and q.ticket >= l.low
                   order by q.ticket limit v_depth) head
             order by n.priority desc,
                      (coalesce(live.n, 0) - 1
                       + row_number() over (partition by b.project, n.priority order by head.request_id))
                      / coalesce(h.share, 1),
                      head.request_id;
        else
            v_most_each := v_left;
            open v_lanes for
            select l.lane, l.low, n.builder_id, n.worker_name as chosen, n.trusted, virtual_of(n.virtual_id) as virtual_id,
                   b.any_worker, b.settings_id, b.locks, b.lock_rule,
                   (select a.revision_id from active_revision a) as revision_id,
                   case when not b.any_worker then array(
                       select w.worker_name from builder_workers w
                        where w.builder_id = b.id and w.worker_name = any(v_names)) end as workers
              from unnest(p_lanes, p_lows) as l(lane, low)
              join lanes n on n.id = l.lane
              join builders b on b.id = n.builder_id and b.active and not b.paused
              cross join lateral (
                  select q.request_id from request_queue q
                   where q.lane = l.lane and q.ticket >= l.low
                   order by q.ticket limit 1) head
             order by max(n.priority) over (partition by n.builder_id) desc,
                      min(head.request_id) over (partition by n.builder_id),
                      n.priority desc, head.request_id;
        end if;
        loop
            fetch v_lanes into r;
            exit when not found or v_left = 0 or r.revision_id is distinct from v_revision;
            continue when r.lock_rule;
            v_all := r.any_worker and r.chosen is null and (r.trusted or not v_some_picky);
            if v_all then
                v_may := v_slots;
            else
                select array_agg(u.i order by u.place), array_agg(u.place::int order by u.place)
                  into v_may, v_places
                  from unnest(v_slots) with ordinality u(i, place)
                 where (r.any_worker or v_names[u.i] = any(r.workers))
                   and (r.chosen is null or v_names[u.i] = r.chosen)
                   and (r.trusted or not v_picky[u.i]);
                continue when v_may is null;
            end if;
            if r.locks is not null or v_guarded then
                if not v_locked then
                    perform locks_lock(v_guards || array(select b.locks from unnest(p_lanes) l join lanes n on n.id = l
                                                           join builders b on b.id = n.builder_id));
                    v_locked := true;
                end if;
                v_own := coalesce(r.locks, '[]');
                v_tried := '{}';
                v_places_taken := '{}';
                select w.ticket into v_before from lock_waiters w
                 where w.builder_id = r.builder_id and w.request_id is null;
                for i in 1 .. cardinality(v_may) loop
                    exit when cardinality(v_places_taken) >= v_most_each;
                    continue when v_workers[v_may[i]] = any(v_tried);
                    v_build := nextval('builds_id_seq');
                    if not lock_take(v_own, v_workers[v_may[i]], v_build, 0, v_before) then
                        v_tried := v_tried || v_workers[v_may[i]];
                        exit when not v_guarded and not locks_of_workers(v_own);
                        continue;
                    end if;
                    delete from request_queue
                     where ctid = (select c.ctid from request_queue c
                                    where c.lane = r.lane and c.ticket >= r.low
                                    order by c.ticket limit 1 for update skip locked)
                    returning ticket, request_id, buildset_id, attempt into took;
                    if not found then
                        delete from lock_holds where build_id = v_build;
                        exit;
                    end if;
                    if v_picky[v_may[i]] and r.trusted and not buildset_trusted(took.buildset_id) then
                        delete from lock_holds where build_id = v_build;
                        perform request_distrust(took.request_id, took.buildset_id, took.attempt);
                        continue;
                    end if;
                    delete from lock_waiters where ticket = v_before;
                    v_before := null;
                    t_ticket := t_ticket || took.ticket;
                    t_request := t_request || took.request_id;
                    t_buildset := t_buildset || took.buildset_id;
                    t_attempt := t_attempt || took.attempt;
                    t_lane := t_lane || r.lane;
                    t_builder := t_builder || r.builder_id;
                    t_virtual := t_virtual || r.virtual_id;
                    t_settings := t_settings || r.settings_id;
                    t_number := t_number || ('build_number_' || coalesce(r.virtual_id, r.builder_id))::regclass;
                    t_slot := t_slot || v_may[i];
                    t_build := t_build || v_build;
                    v_places_taken := v_places_taken || case when v_all then i else v_places[i] end;
                end loop;
                v_left := v_left - cardinality(v_places_taken);
                v_slots := array(select u.i from unnest(v_slots) with ordinality u(i, place)
                                  where u.place <> all(v_places_taken) order by u.place);
                if cardinality(v_tried) > 0
                   and (select c.ticket from request_queue c where c.lane = r.lane and c.ticket >= r.low limit 1) is not null
                then
                    perform lock_wait(r.builder_id, null, null, null, null, v_own,
                                      (select jsonb_agg(g) from unnest(v_workers, v_guards) k(worker, guards)
                                        cross join jsonb_array_elements(k.guards) g where k.worker = any(v_tried)));
                end if;
                continue;
            end if;
            with gone as (
                delete from request_queue
                 where ctid = any(array(
                       select c.ctid from request_queue c
                        where c.lane = r.lane and c.ticket >= r.low
                        order by c.ticket limit least(cardinality(v_may), v_most_each)
                          for update skip locked))
                returning ticket, request_id, buildset_id, attempt
            )
            select count(*)::int as n, array_agg(ticket) as tickets, array_agg(request_id) as requests,
                   array_agg(buildset_id) as buildsets, array_agg(attempt) as attempts
              into took from gone;
            continue when took.n = 0;
            if v_some_picky and r.trusted then
                v_seats := claim_seats(array(select buildset_trusted(g) from unnest(took.buildsets) g),
                                       array(select v_picky[m] from unnest(v_may) m));
                if array_position(v_seats, null) is not null then
                    perform request_distrust(u.request, u.buildset, u.attempt)
                       from unnest(took.requests, took.buildsets, took.attempts, v_seats) u(request, buildset, attempt, seat)
                      where u.seat is null;
                end if;
                select count(*)::int as n, array_agg(u.ticket) as tickets, array_agg(u.request) as requests,
                       array_agg(u.buildset) as buildsets, array_agg(u.attempt) as attempts, array_agg(u.seat) as seats
                  into took
                  from unnest(took.tickets, took.requests, took.buildsets, took.attempts, v_seats)
                       u(ticket, request, buildset, attempt, seat)
                 where u.seat is not null;
                continue when took.n = 0;
                v_seats := took.seats;
            else
                v_seats := null;
            end if;
            v_number := 'build_number_' || coalesce(r.virtual_id, r.builder_id);
            t_ticket := t_ticket || took.tickets;
            t_request := t_request || took.requests;
            t_buildset := t_buildset || took.buildsets;
            t_attempt := t_attempt || took.attempts;
            t_lane := t_lane || array_fill(r.lane, array[took.n]);
            t_builder := t_builder || array_fill(r.builder_id, array[took.n]);
            t_virtual := t_virtual || array_fill(r.virtual_id, array[took.n]);
            t_settings := t_settings || array_fill(r.settings_id, array[took.n]);
            t_number := t_number || array_fill(v_number, array[took.n]);
            t_slot := t_slot || case when v_seats is null then v_may[1:took.n]
                                     else array(select v_may[k] from unnest(v_seats) k) end;
            t_build := t_build || array_fill(null::bigint, array[took.n]);
            v_left := v_left - took.n;
            if v_seats is null and v_all then
                v_slots := v_slots[took.n + 1:];
            else
                v_places_taken := case when v_seats is null then v_places[1:took.n]
                                       when v_all then v_seats
                                       else array(select v_places[k] from unnest(v_seats) k) end;
                v_slots := array(select u.i from unnest(v_slots) with ordinality u(i, place)
                                  where u.place <> all(v_places_taken) order by u.place);
            end if;
        end loop;
        close v_lanes;
        exit when not v_fair or cardinality(t_request) = v_before_pass;
    end loop;

    if cardinality(t_request) > 0 then
        return query
        with made as materialized (
            select coalesce(t.build, nextval('builds_id_seq')) as id, nextval(t.number) as number, t.request_id, t.attempt, t.builder_id,
                   coalesce(t.virtual_id, t.builder_id) as shown_id,
                   t.settings_id, t.buildset_id, t.slot, t.lane, t.ticket, t.ord::int as token
              from unnest(t_request, t_attempt, t_builder, t_settings, t_buildset, t_number, t_slot, t_lane, t_ticket,
                          t_build, t_virtual)
                   with ordinality
                   as t(request_id, attempt, builder_id, settings_id, buildset_id, number, slot, lane, ticket, build,
                        virtual_id, ord)
        ), stored as (
            insert into builds (id, builder_id, number, request_id, worker_id, session_id, poll,
                                attempt, token, revision_id, settings_id)
            select m.id, m.shown_id, m.number, m.request_id, v_workers[m.slot], p_sessions[m.slot], p_polls[m.slot],
                   m.attempt, p_tokens[m.token], v_revision, m.settings_id
              from made m
        ), leased as (
            insert into leases (build_id, session_id, token, expires_at, builder_id)
            select m.id, p_sessions[m.slot], p_tokens[m.token], tidemill_now() + p_term, m.builder_id from made m
        ), told as (
            insert into events (kind, builder_id, build_id, data)
            select 'builds.new', m.shown_id, m.id,
                   jsonb_build_object('number', m.number, 'buildrequestid', m.request_id)
              from made m
        )
        select m.slot, m.id, m.token, m.attempt, m.builder_id, m.shown_id, m.number, m.request_id, m.buildset_id, m.settings_id,
               v_revision, v_workers[m.slot], m.lane, m.ticket, null::int
          from made m;
    end if;
end $$;
