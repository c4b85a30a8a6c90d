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
language plpgsql
-- One plan a connection, by keys: it does not change with the arrays or with
-- what the statistics say at the moment.
set plan_cache_mode = force_generic_plan
as $$
declare
    v_free      int[] := p_free;
    v_workers   bigint[] := array_fill(null::bigint, array[cardinality(p_sessions)]);
    v_names     text[] := array_fill(null::text, array[cardinality(p_sessions)]);
    v_left      int;
    v_revision  bigint;
    v_level     int;
    v_hash      text;
    v_redeliver bigint[] := '{}';
    v_slots     int[];
    v_n         int;
    r           record;
    took        record;
    -- what was taken, element by element
    t_lane bigint[] := '{}';  t_ticket bigint[] := '{}';  t_request bigint[] := '{}';
    t_attempt int[] := '{}';  t_builder bigint[] := '{}'; t_slot int[] := '{}';
begin
    select a.revision_id, c.vocabulary, c.hash into v_revision, v_level, v_hash
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
            with gone as (
                delete from request_queue d
                 where d.lane = r.lane and d.ticket = any(array(
                       select c.ticket from request_queue c
                        where c.lane = r.lane and c.ticket >= r.low
                        order by c.ticket limit cardinality(v_slots)
                          for update skip locked))
                returning d.ticket, d.request_id, d.attempt
            )
            select count(*)::int as n, array_agg(ticket) as tickets, array_agg(request_id) as requests,
                   array_agg(attempt) as attempts
              into took from gone;
            continue when took.n = 0;
            t_ticket := t_ticket || took.tickets;
            t_request := t_request || took.requests;
            t_attempt := t_attempt || took.attempts;
            t_lane := t_lane || array_fill(r.lane, array[took.n]);
            t_builder := t_builder || array_fill(r.builder_id, array[took.n]);
            t_slot := t_slot || v_slots[1:took.n];
            for i in 1 .. took.n loop
                v_free[v_slots[i]] := v_free[v_slots[i]] - 1;
            end loop;
            v_left := v_left - took.n;
        end loop;
    end if;

    if cardinality(t_request) > 0 then
        return query
        with taken as materialized (
            select nextval('builds_id_seq') as id, build_number_next(t.builder_id) as number,
                   t.request_id, t.attempt, t.builder_id, b.name as builder, t.slot, t.lane, t.ticket,
                   p_sessions[t.slot] as session_id, p_tokens[t.ord] as token,
                   b.default_properties || s.properties || b.properties as properties, s.reason,
                   (select coalesce(jsonb_agg(jsonb_build_object(
                                'codebase', ss.codebase, 'repository', ss.repository, 'project', ss.project,
                                'branch', ss.branch, 'revision', ss.revision) order by ss.codebase), '[]')
                      from buildset_sourcestamps x join sourcestamps ss on ss.id = x.sourcestamp_id
                     where x.buildset_id = s.id) as sourcestamps
              from unnest(t_request, t_attempt, t_builder, t_slot, t_lane, t_ticket) with ordinality
                   as t(request_id, attempt, builder_id, slot, lane, ticket, ord)
              join build_requests q on q.id = any(t_request) and q.id = t.request_id
             cross join lateral (select * from buildsets k where k.id = q.buildset_id limit 1) s
             cross join lateral (select * from builders k where k.id = t.builder_id limit 1) b
        ), made as materialized (
            select t.*, t.properties || jsonb_build_object(
                       'buildername', jsonb_build_array(t.builder, 'Builder'),
                       'builderid', jsonb_build_array(t.builder_id, 'Builder'),
                       'workername', jsonb_build_array(v_names[t.slot], 'Worker'),
                       'buildnumber', jsonb_build_array(t.number, 'Build')) as all_properties
              from taken t
        ), stored as (
            insert into builds (id, builder_id, number, request_id, worker_id, session_id, poll,
                                attempt, token, revision_id, properties)
            select m.id, m.builder_id, m.number, m.request_id, v_workers[m.slot], m.session_id, p_polls[m.slot],
                   m.attempt, m.token, v_revision, m.all_properties
              from made m
        ), leased as (
            insert into leases (build_id, session_id, token, expires_at)
            select m.id, m.session_id, m.token, tidemill_now() + p_term from made m
        ), told as (
            insert into events (kind, builder_id, build_id, data)
            select 'builds.new', m.builder_id, m.id,
                   jsonb_build_object('number', m.number, 'buildrequestid', m.request_id)
              from made m
        )
        select m.id, m.session_id, m.token, m.attempt, m.builder_id, m.builder, m.number, m.request_id,
               v_hash, m.all_properties, m.sourcestamps, m.reason, true, m.lane, m.ticket
          from made m;
        get diagnostics v_n = row_count;
        if v_n <> cardinality(t_request) then
            raise exception 'claimed % queue rows but found % of their requests', cardinality(t_request), v_n;
        end if;
    end if;

    if cardinality(v_redeliver) > 0 then
        return query
        select b.id, b.session_id, b.token, b.attempt, b.builder_id, u.name, b.number, b.request_id,
               c.hash, b.properties, (select coalesce(jsonb_agg(jsonb_build_object(
                                'codebase', ss.codebase, 'repository', ss.repository, 'project', ss.project,
                                'branch', ss.branch, 'revision', ss.revision) order by ss.codebase), '[]')
                      from buildset_sourcestamps x join sourcestamps ss on ss.id = x.sourcestamp_id
                     where x.buildset_id = s.id), s.reason, false, null::bigint, null::bigint
          from builds b
          join builders u on u.id = b.builder_id
          join config_revisions c on c.id = b.revision_id
          join build_requests q on q.id = b.request_id
          join buildsets s on s.id = q.buildset_id
         where b.id = any(v_redeliver);
    end if;
end $$;
