-- Requests: why they wait, in words.
--
-- The reasons and their words stand here and nowhere else; read/waiting.rs has the
-- same reasons as an enum, and a test compares the two.

-- «in about 4 min», «2 h»: a length of time as people say it.
create function about(p interval) returns text
language sql immutable
as $$
    select case when s < 90 then greatest(1, round(s))::int || ' s'
                when s < 5400 then round(s / 60)::int || ' min'
                when s < 129600 then round(s / 3600)::int || ' h'
                else round(s / 86400)::int || ' days' end
      from (select extract(epoch from p)) x(s)
$$;

-- Why an open request has no build, as [{"why": …, "text": …, and what belongs to it}];
-- empty for one that has a build or is over. With p_full also what takes longer to
-- find out: when a worker is expected to be free, and how many go first.
--
-- Each look-up is one probe of an index or reads no more than a bounded number of
-- rows, but for the sessions, of which there are as many as workers.
create function request_waiting(p_request bigint, p_full boolean) returns jsonb
language plpgsql stable
as $$
declare
    v_all     jsonb := '[]';
    v_names   text[];
    v_needs   int;
    v_lock    text;
    v_ahead   bigint;
    v_soonest interval;
    r record;   -- the request
    p record;   -- its place
    b record;   -- its builder
    w record;   -- workers that may build it
    v_trusted boolean;
    v_chosen  text;   -- what is with the worker that was chosen for it
begin
    select q.id, q.buildset_id, q.builder_id, q.priority, q.complete_at, q.collapsed_into, q.worker_name into r
      from build_requests q where q.id = p_request;
    if not found or r.complete_at is not null then
        return v_all;
    end if;
    if r.collapsed_into is not null then
        return jsonb_build_array(jsonb_build_object('why', 'collapsed', 'request', r.collapsed_into,
            'text', 'request ' || r.collapsed_into || ', which it became part of'));
    end if;
    select u.name, u.active, u.paused, u.any_worker, u.max_attempts, u.expires_after, u.requires into b
      from builders u where u.id = r.builder_id;

    select q.why, q.until, q.attempt, q.said into p from request_waits q where q.request_id = p_request;
    if found then
        v_all := v_all || case p.why
            when 'back-off' then jsonb_build_object('why', 'back-off', 'until', floor(extract(epoch from p.until))::bigint,
                'attempt', p.attempt, 'of', b.max_attempts,
                'text', 'another attempt, after a back-off: number ' || p.attempt || ' of ' || b.max_attempts
                        || ', not before ' || to_char(p.until at time zone 'UTC', 'HH24:MI:SS') || ' UTC')
            when 'refused' then jsonb_build_object('why', 'refused', 'until', floor(extract(epoch from p.until))::bigint,
                'policy', 'canStartBuild', 'said', p.said,
                'text', 'its function canStartBuild, which said no' || coalesce(': ' || nullif(p.said, ''), '')
                        || '; it is asked again at ' || to_char(p.until at time zone 'UTC', 'HH24:MI:SS') || ' UTC')
            else jsonb_build_object('why', p.why, 'text', 'a ' || p.why) end;
    else
        select q.lane, q.ticket into p from request_queue q where q.request_id = p_request limit 1;
        if not found then
            return v_all;
        end if;
    end if;

    if not b.active then
        v_all := v_all || jsonb_build_object('why', 'inactive', 'text', 'its builder, which is not in the active configuration');
    end if;
    if b.paused then
        v_all := v_all || jsonb_build_object('why', 'paused', 'text', 'its builder, which is paused');
    end if;
    if v_all <> '[]' then
        return v_all;
    end if;

    if r.worker_name is not null and not b.any_worker
       and not exists (select from builder_workers x where x.builder_id = r.builder_id and x.worker_name = r.worker_name)
    then
        return v_all || jsonb_build_object('why', 'chosen-worker', 'worker', r.worker_name, 'state', 'not-allowed',
            'text', 'worker ' || r.worker_name || ', which was chosen for it and is none that its builder may use');
    end if;
    v_trusted := not exists (select from worker_definitions d where d.trusted_only) or buildset_trusted(r.buildset_id);
    select count(*) filter (where k.takes) as connected, count(*) filter (where k.takes and not k.paused) as active,
           max(k.vocabulary) filter (where k.takes) as vocabulary, count(*) filter (where not k.takes) as picky,
           coalesce(sum(greatest(0, k.slots - k.busy)) filter (where k.takes and not k.paused), 0) as free into w
      from (select s.slots, s.vocabulary, n.paused, v_trusted or not worker_takes_trusted_only(n.name) as takes,
                   (select count(*) from leases l where l.session_id = s.id) as busy
              from worker_sessions s
              join workers n on n.id = s.worker_id
             -- Connected as pages say it: heard of by a replica, which notes it every 15 s.
             where s.state = 'open' and s.seen_at > tidemill_now() - interval '45 seconds'
               and (r.worker_name is null or n.name = r.worker_name)
               and (b.any_worker or exists (select from builder_workers x
                                             where x.builder_id = r.builder_id and x.worker_name = n.name))) k;
    if r.worker_name is not null then
        v_chosen := case when w.connected = 0 and w.picky > 0 then 'takes trusted changes only'
                         when w.connected = 0 then 'is not connected'
                         when w.active = 0 then 'is paused'
                         when w.free = 0 then 'is busy' end;
    end if;
    select v.vocabulary into v_needs from active_revision a join config_revisions v on v.id = a.revision_id;

    if r.worker_name is not null and w.active = 0 then
        return v_all || jsonb_build_object('why', 'chosen-worker', 'worker', r.worker_name,
            'state', case when w.picky > 0 then 'trusted-only' when w.connected = 0 then 'absent' else 'paused' end,
            'text', 'worker ' || r.worker_name || ', which was chosen for it and ' || v_chosen);
    elsif w.connected = 0 and w.picky > 0 then
        return v_all || jsonb_build_object('why', 'trusted-only', 'workers', w.picky,
            'text', 'a worker that builds what outsiders sent: '
                    || case w.picky when 1 then 'the one that may build it and is connected takes'
                            else 'all ' || w.picky || ' that may build it and are connected take' end
                    || ' trusted changes only');
    elsif w.connected = 0 then
        v_names := array(select x.worker_name from builder_workers x where x.builder_id = r.builder_id
                          order by x.worker_name limit 10);
        return v_all || jsonb_build_object('why', 'no-worker', 'workers', to_jsonb(v_names),
            'requires', b.requires,
            'text', 'a worker that may build it: none is connected'
                    || coalesce(' that fits ' || b.requires, '')
                    || case when p_full and cardinality(v_names) > 0
                            then ' of ' || array_to_string(v_names, ', ') else '' end
                    || case when p_full and b.expires_after is not null
                            then '; without one for ' || about(b.expires_after) || ' it ends' else '' end);
    elsif w.vocabulary < v_needs then
        return v_all || jsonb_build_object('why', 'vocabulary', 'needs', v_needs, 'have', w.vocabulary,
            'text', 'a worker of a newer release: the project file needs level ' || v_needs
                    || ' of the vocabulary, and those that may build it have at most ' || w.vocabulary);
    elsif w.active = 0 then
        return v_all || jsonb_build_object('why', 'workers-paused', 'workers', w.connected,
            'text', 'a worker that may build it: all ' || w.connected || ' that are connected are paused');
    end if;

    v_lock := lock_waits_of(p_request);
    if v_lock is not null then
        v_all := v_all || jsonb_build_object('why', 'lock', 'text', v_lock);
    end if;
    if w.free > 0 and v_lock is null then
        v_all := v_all || coalesce(
            (select jsonb_build_object('why', 'refused', 'policy', f.policy, 'said', f.said,
                        'since', floor(extract(epoch from f.since))::bigint,
                        'text', 'its function ' || f.policy || ', which '
                                || case when f.policy = 'canStartBuild' then 'said no' else 'chose nothing of its builder' end
                                || coalesce(': ' || nullif(f.said, ''), '')
                                || ' (since ' || to_char(f.since at time zone 'UTC', 'HH24:MI:SS') || ' UTC)')
               from policy_refusals f
              where f.builder_id = r.builder_id and f.request_id in (0, r.id)
              order by f.request_id limit 1),
            jsonb_build_object('why', 'free', 'text', 'a free worker'));
    elsif w.free = 0 then
        if p_full then
            -- Of builds without a history nothing is expected.
            select min(greatest(interval '1 second', e.whole - (tidemill_now() - o.started_at)))
                       filter (where e.whole is not null) into v_soonest
              from (select d.builder_id, d.number, d.started_at
                      from leases l
                      join worker_sessions s on s.id = l.session_id and s.state = 'open'
                      join workers n on n.id = s.worker_id and not n.paused
                      join builds d on d.id = l.build_id
                     where (r.worker_name is null or n.name = r.worker_name)
                       and (b.any_worker or exists (select from builder_workers x
                                                     where x.builder_id = r.builder_id and x.worker_name = n.name))
                     order by l.build_id limit 20) o
             cross join lateral (select build_time_expected(o.builder_id, o.number) as whole) e;
        end if;
        v_all := v_all || case when r.worker_name is not null then
            jsonb_build_object('why', 'chosen-worker', 'worker', r.worker_name, 'state', 'busy',
                'seconds', round(extract(epoch from v_soonest)),
                'text', 'worker ' || r.worker_name || ', which was chosen for it and is busy'
                        || coalesce(', expected to be free in about ' || about(v_soonest), ''))
        else
            jsonb_build_object('why', 'busy', 'workers', w.active,
            'seconds', round(extract(epoch from v_soonest)),
            'text', 'a free worker' || case when not p_full then '' else
                    ': ' || case w.active when 1 then 'the one' else 'all ' || w.active end
                    || ' that may build it ' || case w.active when 1 then 'is' else 'are' end || ' busy'
                    || coalesce(', the next is expected to be free in about ' || about(v_soonest), '') end)
        end;
    end if;

    if p_full then
        -- Counted as far as it matters to people.
        -- Of lanes for other workers than the chosen one nothing goes first.
        select (select coalesce(sum(k.n), 0)
                  from lanes l
                 cross join lateral (select count(*) as n from (select from request_queue q
                                                                 where q.lane = l.id and q.ticket < p.ticket
                                                                 limit 1000) x) k
                 where l.builder_id = r.builder_id and l.priority = r.priority
                   and (l.worker_name is null or l.worker_name = r.worker_name))
             + (select coalesce(sum(k.n), 0)
                  from lanes l
                 cross join lateral (select count(*) as n from (select from request_queue q
                                                                 where q.lane = l.id limit 1000) x) k
                 where l.builder_id = r.builder_id and l.priority > r.priority
                   and (l.worker_name is null or l.worker_name = r.worker_name)) into v_ahead;
        if v_ahead > 0 then
            v_all := v_all || jsonb_build_object('why', 'queue', 'ahead', v_ahead,
                'text', case when v_ahead = 1 then '1 request of its builder that goes first'
                             else case when v_ahead >= 1000 then '1000 requests or more' else v_ahead || ' requests' end
                                  || ' of its builder that go first' end);
        end if;
    end if;
    return v_all;
end $$;

-- The same in one line; null for one that waits for nothing.
create function request_waits_for(p_request bigint) returns text
language sql stable
as $$
    select string_agg(e ->> 'text', '; ' order by n)
      from jsonb_array_elements(request_waiting(p_request, false)) with ordinality x(e, n)
$$;

create table worker_labels (
    worker_name text primary key,
    labels      jsonb not null
);
comment on table worker_labels is 'Labels that the active revision gives to workers, over what they say of themselves.';

-- Readers of the event stream that act on it, each once for all replicas.
create table event_readers (
    name text primary key,
    xid  bigint not null,
    id   bigint not null
);
comment on table event_readers is
    'How far a service of the project has read the event stream. Taken FOR UPDATE SKIP LOCKED; what it did and the new place commit together.';
