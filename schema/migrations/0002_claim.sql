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

create type claim_row as (
    build_id     bigint,
    session_id   bigint,
    token        text,
    attempt      int,
    builder_id   bigint,
    builder      text,
    number       bigint,
    request_id   bigint,
    revision     text,
    properties   jsonb,
    sourcestamps jsonb,
    reason       text,
    fresh        boolean,  -- false: delivered again
    lane         bigint,   -- of a fresh one: where it came from,
    ticket       bigint    -- for the caller's low bounds
);

-- p_sessions, p_polls, p_free, p_newest: one element for each waiting poll.
-- p_tokens: random lease tokens, at least as many as the free slots together.
-- p_lanes, p_lows: lanes that may hold work for these sessions, each with the
-- ticket from which to look. p_term: term of the new leases.
create function claim_builds(
    p_sessions bigint[], p_polls bigint[], p_free int[], p_newest bigint[],
    p_tokens text[], p_lanes bigint[], p_lows bigint[], p_term interval
) returns setof claim_row
language plpgsql as $$
declare
    v_free      int[] := p_free;
    v_workers   bigint[] := array_fill(null::bigint, array[cardinality(p_sessions)]);
    v_names     text[] := array_fill(null::text, array[cardinality(p_sessions)]);
    v_left      int;
    v_revision  bigint;
    v_level     int;
    v_redeliver bigint[] := '{}';
    v_slots     int[];
    v_n         int;
    r           record;
    took        record;
    -- what was taken, element by element
    t_lane bigint[] := '{}';  t_ticket bigint[] := '{}';  t_request bigint[] := '{}';
    t_attempt int[] := '{}';  t_builder bigint[] := '{}'; t_slot int[] := '{}';
    v_builds bigint[];
begin
    select a.revision_id, c.vocabulary into v_revision, v_level
      from active_revision a join config_revisions c on c.id = a.revision_id;

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
        if r.state <> 'open' or r.paused or r.vocabulary < coalesce(v_level, 0) then
            v_free[v_n] := 0;
        end if;
    end loop;

    -- Open builds that a poll does not know of; and is the poll a stale copy?
    for r in
        select p.ord::int as n, u.ids,
               coalesce((select b.poll from builds b where b.session_id = p.session
                          order by b.session_id desc, b.id desc limit 1), -1) as newest_poll
          from unnest(p_sessions, p_newest) with ordinality as p(session, newest, ord)
          left join lateral (
               select array_agg(b.id) as ids from builds b
                where b.session_id = p.session and b.id > p.newest and b.state <> 'finished') u on true
    loop
        if v_workers[r.n] is null then
            v_free[r.n] := 0;
            continue;
        end if;
        if r.newest_poll >= p_polls[r.n] then
            v_free[r.n] := 0;
        end if;
        if r.ids is not null then
            v_redeliver := v_redeliver || r.ids;
            v_free[r.n] := greatest(0, v_free[r.n] - cardinality(r.ids));
        end if;
    end loop;

    v_left := (select coalesce(sum(f), 0) from unnest(v_free) f);

    if v_left > 0 and v_revision is not null then
        for r in
            select l.lane, l.low, n.builder_id, b.any_worker
              from unnest(p_lanes, p_lows) as l(lane, low)
              join lanes n on n.id = l.lane
              join builders b on b.id = n.builder_id and b.active
              cross join lateral (
                  select q.request_id from request_queue q
                   where q.lane = l.lane and q.ticket >= l.low
                   order by q.ticket limit 1) head
             order by max(n.priority) over (partition by n.builder_id) desc,
                      min(head.request_id) over (partition by n.builder_id),
                      n.priority desc
        loop
            exit when v_left = 0;
            select array_agg(x.i) into v_slots from (
                select i
                  from generate_subscripts(p_sessions, 1) i, generate_series(1, v_free[i])
                 where r.any_worker or exists (
                       select 1 from builder_workers w
                        where w.builder_id = r.builder_id and w.worker_name = v_names[i])
                 order by random() limit v_left) x;
            continue when v_slots is null;
            for took in
                delete from request_queue d
                 where d.lane = r.lane and d.ticket = any(array(
                       select c.ticket from request_queue c
                        where c.lane = r.lane and c.ticket >= r.low
                        order by c.ticket limit cardinality(v_slots)
                          for update skip locked))
                returning d.ticket, d.request_id, d.attempt
            loop
                t_lane := t_lane || r.lane;
                t_ticket := t_ticket || took.ticket;
                t_request := t_request || took.request_id;
                t_attempt := t_attempt || took.attempt;
                t_builder := t_builder || r.builder_id;
                v_n := v_slots[cardinality(v_slots)];
                v_slots := trim_array(v_slots, 1);
                t_slot := t_slot || v_n;
                v_free[v_n] := v_free[v_n] - 1;
                v_left := v_left - 1;
            end loop;
        end loop;
    end if;

    if cardinality(t_request) > 0 then
        with taken as (
            select t.request_id, t.attempt, t.builder_id, t.slot, t.ord,
                   p_sessions[t.slot] as session_id, build_number_next(t.builder_id) as number
              from unnest(t_request, t_attempt, t_builder, t_slot) with ordinality
                   as t(request_id, attempt, builder_id, slot, ord)
             order by t.ord
        ), made as (
            insert into builds (builder_id, number, request_id, worker_id, session_id, poll,
                                attempt, token, revision_id, properties)
            select t.builder_id, t.number, t.request_id, v_workers[t.slot], t.session_id, p_polls[t.slot],
                   t.attempt, p_tokens[t.ord], v_revision,
                   b.default_properties || s.properties || b.properties || jsonb_build_object(
                       'buildername', jsonb_build_array(b.name, 'Builder'),
                       'builderid', jsonb_build_array(b.id, 'Builder'),
                       'workername', jsonb_build_array(v_names[t.slot], 'Worker'),
                       'buildnumber', jsonb_build_array(t.number, 'Build'))
              from taken t
              join build_requests q on q.id = t.request_id
              join buildsets s on s.id = q.buildset_id
              join builders b on b.id = t.builder_id
             order by t.ord
            returning id, session_id, token, builder_id, number, request_id
        ), leased as (
            insert into leases (build_id, session_id, token, expires_at)
            select id, session_id, token, tidemill_now() + p_term from made
        ), told as (
            insert into events (kind, builder_id, build_id, data)
            select 'builds.new', builder_id, id, jsonb_build_object('number', number, 'buildrequestid', request_id)
              from made
        )
        select array_agg(id) into v_builds from made;
    end if;

    return query
    select b.id, b.session_id, b.token, b.attempt, b.builder_id, bu.name, b.number, b.request_id,
           c.hash, b.properties,
           (select coalesce(jsonb_agg(jsonb_build_object(
                       'codebase', ss.codebase, 'repository', ss.repository, 'project', ss.project,
                       'branch', ss.branch, 'revision', ss.revision) order by ss.codebase), '[]')
              from buildset_sourcestamps x join sourcestamps ss on ss.id = x.sourcestamp_id
             where x.buildset_id = q.buildset_id),
           s.reason,
           f.fresh, t.lane, t.ticket
      from (select unnest(v_redeliver), false
            union all
            select unnest(v_builds), true) as f(build, fresh)
      join builds b on b.id = f.build
      join builders bu on bu.id = b.builder_id
      join config_revisions c on c.id = b.revision_id
      join build_requests q on q.id = b.request_id
      join buildsets s on s.id = q.buildset_id
      left join unnest(t_request, t_lane, t_ticket) as t(request_id, lane, ticket)
        on f.fresh and t.request_id = b.request_id;
end $$;
