-- Notices: who is to be told what, and what became of it.
--
-- The planner reads the event stream by a place that is one row for all
-- notifiers (event_readers) and commits the deliveries with the new place.
-- A sender claims deliveries under a lease of its own, by destination.

create table destinations (
    id         bigint generated always as identity primary key,
    kind       text not null check (kind in ('mail', 'irc', 'http', 'forge')),
    name       text not null,
    not_before timestamptz,
    failures   int not null default 0,
    error      text,
    failed_at  timestamptz,
    unique (kind, name)
);
comment on table destinations is
    'What notices are handed to: a mail relay, an IRC network, a server. Written when one goes down or comes back, never by what is sent.';
comment on column destinations.name is 'Host and port, or the name of the network.';
comment on column destinations.not_before is 'It is down: nothing is sent there until then. Null: it takes what comes.';

create table deliveries (
    id             bigint generated always as identity primary key,
    -- What is told, by which revision's words.
    xid            bigint not null,
    event_id       bigint not null,
    at             timestamptz not null,
    reporter       text not null,
    generator      int not null,
    moment         text not null check (moment in ('start', 'end', 'buildset', 'request', 'worker', 'test')),
    revision_id    bigint not null,
    mode           text not null default '',
    builder_id     bigint,
    build_id       bigint,
    buildset_id    bigint,
    request_id     bigint,
    worker_id      bigint,
    -- To whom.
    destination_id bigint not null,
    address        text not null,
    facts          jsonb not null default '{}',
    order_key      text,
    message_id     text not null default gen_random_uuid()::text,
    -- And what became of it.
    state          text not null default 'due'
                   check (state in ('due', 'sending', 'sent', 'parked', 'folded', 'superseded', 'expired')),
    planned_at     timestamptz not null default tidemill_now(),
    not_before     timestamptz not null default tidemill_now(),
    expires_at     timestamptz not null,
    attempts       int not null default 0,
    holder         text,
    held_until     timestamptz,
    folded_into    bigint,
    gathered       boolean not null default false,
    unsure         boolean not null default false,
    answer         text,
    ended_at       timestamptz,
    check ((state = 'sending') = (holder is not null and held_until is not null)),
    check ((state = 'folded') = (folded_into is not null)),
    check ((state in ('due', 'sending')) = (ended_at is null))
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
comment on table deliveries is
    'One notice to one address, planned once for each event. No foreign keys: it outlives neither revision nor build, and retention deletes it first.';
comment on column deliveries.facts is 'What the plan knew and the send needs: the forge''s commit, a channel, why this person.';
comment on column deliveries.order_key is 'Deliveries with the same key go one after the other in the order of id; null: in any order.';
comment on column deliveries.message_id is 'The same for every attempt: Message-ID of a mail, webhook-id of a hook.';
comment on column deliveries.gathered is 'Waits for others to its address, and goes with them: one of them is claimed at a time.';
comment on column deliveries.unsure is
    'It was perhaps taken: a sender was lost, or the connection, before the answer. So it goes by itself and as it was.';
comment on column deliveries.answer is 'What the other side said, or why it was not sent, in a line.';
-- Told once, whoever plans.
create unique index deliveries_once on deliveries (xid, event_id, reporter, generator, address, build_id) nulls not distinct;
create index deliveries_due on deliveries (destination_id, not_before, id) where state = 'due';
create index deliveries_address on deliveries (destination_id, reporter, address, id) where state in ('due', 'sending');
create index deliveries_held on deliveries (held_until) where state = 'sending';
create index deliveries_order on deliveries (order_key, id) where state in ('due', 'sending') and order_key is not null;
create index deliveries_told on deliveries (order_key, id) where state = 'sent' and order_key is not null;
create index deliveries_folded on deliveries (folded_into) where folded_into is not null;
create index deliveries_build on deliveries (build_id) where build_id is not null;
create index deliveries_ended on deliveries (ended_at) where ended_at is not null;
create index deliveries_parked on deliveries (id) where state = 'parked';

-- Takes deliveries for a sender: of each destination at most so many, the
-- longest due first, none before an earlier one of the same order, none of a
-- destination that is down, none of a moment that this release has no words for. p_kinds' destinations that are not in p_busy get
-- p_each; those in it what is free of theirs. Of IRC only the networks of p_irc:
-- who holds the connection says it.
create function deliveries_claim(p_kinds text[], p_busy bigint[], p_free int[], p_each int, p_most int,
                                 p_irc text[], p_moments text[], p_holder text, p_term interval)
returns setof deliveries
language sql
as $$
    with free as materialized (
        select d.id, coalesce(b.free, p_each) as free
          from destinations d
          left join unnest(p_busy, p_free) b(id, free) on b.id = d.id
         where d.kind = any(p_kinds) and coalesce(b.free, p_each) > 0
           and (d.kind <> 'irc' or d.name = any(p_irc))
           and (d.not_before is null or d.not_before <= tidemill_now())
    ), picked as materialized (
        select x.id
          from free f
         cross join lateral (
               select q.id
                 from deliveries q
                where q.destination_id = f.id and q.state = 'due' and q.not_before <= tidemill_now()
                  and q.moment = any(p_moments)
                  and (q.order_key is null
                       or not exists (select from deliveries e
                                       where e.order_key = q.order_key and e.state in ('due', 'sending') and e.id < q.id))
                  -- Its others are to go with it: whoever has them waits for it.
                  and (not q.gathered
                       or not exists (select from deliveries e
                                       where e.destination_id = q.destination_id and e.reporter = q.reporter
                                         and e.address = q.address and e.gathered and e.id < q.id
                                         and e.state in ('due', 'sending')
                                         and (e.state = 'sending' or e.not_before <= tidemill_now())))
                order by q.not_before, q.id
                limit f.free
                  for no key update skip locked) x
         limit p_most
    )
    update deliveries d
       set state = 'sending', holder = p_holder, held_until = tidemill_now() + p_term, attempts = d.attempts + 1
      from picked p
     where d.id = p.id and d.state = 'due'
    returning d.*
$$;

-- Proves links that leave the house in mails; the same for all notifiers and masters.
alter table cluster add column link_key text not null default gen_random_uuid()::text || gen_random_uuid()::text;
comment on column cluster.link_key is 'Key of the proofs in links of mails, such as the one that ends them.';

-- Notices that people do not want any more: «unsubscribe» in a mail.
create table notice_optouts (
    address    text not null,
    reporter   text not null,
    created_at timestamptz not null default tidemill_now(),
    primary key (address, reporter)
);
comment on table notice_optouts is 'Addresses that asked not to be told by a reporter; an empty reporter is all of them.';

-- One connection to an IRC network over all notifiers.
create table notifier_leases (
    network    text primary key,
    holder     text not null,
    held_until timestamptz not null
);
comment on table notifier_leases is
    'Who speaks on a network, by the name of its reporter; another one takes it over when the time is past.';

-- What channels and nicks settled with the bot.
create table irc_places (
    network text not null,
    place   text not null,
    settled jsonb,
    watched bigint[] not null default '{}',
    primary key (network, place)
);
comment on table irc_places is
    'A channel or nick of a network, in the small letters of IRC. Read by who plans: nothing is told in a muted place.';
comment on column irc_places.settled is 'Events, silence, whether the bot is there (with the channel''s key); null: as the project file says.';
comment on column irc_places.watched is 'Running builds of whose end it asked to hear.';

-- What somebody asked a notifier for and a master does: it knows the rules.
create table control_requests (
    id         bigint generated always as identity primary key,
    kind       text not null check (kind in ('force', 'stop')),
    builder    text not null,
    wish       jsonb not null,
    asked_by   text not null,
    asked_at   timestamptz not null default tidemill_now(),
    expires_at timestamptz not null,
    state      text not null default 'open' check (state in ('open', 'done', 'refused', 'expired')),
    answer     jsonb,
    ended_at   timestamptz,
    check ((state = 'open') = (ended_at is null))
);
comment on table control_requests is
    'Wishes of people on IRC. A notifier may only ask; the masters answer, by the functions that serve pages and REST.';
comment on column control_requests.wish is 'Of force: branch, revision, codebase, project, properties, reason; of stop: the reason.';
comment on column control_requests.asked_by is 'irc:ACCOUNT, for the record.';
comment on column control_requests.answer is 'Ids of requests, numbers of builds, or why not.';
create index control_requests_open on control_requests (id) where state = 'open';
create index control_requests_ended on control_requests (ended_at) where ended_at is not null;
