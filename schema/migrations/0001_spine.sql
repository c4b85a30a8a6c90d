-- The spine: a commit becomes a build.
--
-- Conventions. Ids are bigint identities. A column `xid` holds the id of the
-- writing transaction (pg_current_xact_id() as bigint); the pair (xid, id) is
-- the only order in which a cursor may read a table, because ids commit out of
-- order. State columns are text with a CHECK; docs/states.md draws them.
-- docs/data-model.md shows the whole, also what later issues add.
--
-- Tables that a claim, a batch or a finish writes have no foreign keys: each
-- would look up and lock a row of another table for every row written (four
-- for a build alone), and the writing statement has just read that row anyway. Retention deletes from the leaves up. Their fill factors leave room
-- for the one or two updates that each row gets, so that these touch no index
-- also while a held snapshot keeps old versions in their pages.

-- The only clock of deciding SQL. A test moves time by replacing this function
-- in its own database.
create function tidemill_now() returns timestamptz
language sql volatile parallel safe
as $$ select clock_timestamp() $$;

-- The id of this transaction, in the form stored in `xid` columns.
create function tidemill_xid() returns bigint
language sql volatile
as $$ select pg_current_xact_id()::text::bigint $$;

-- Every row written by a transaction below this id is visible or gone: what a
-- cursor may read up to. Held back by the oldest writer of the whole instance,
-- also in other databases.
create function tidemill_horizon() returns bigint
language sql volatile
as $$ select pg_snapshot_xmin(pg_current_snapshot())::text::bigint $$;

-- From best to worst (the codes are in another order).
create function results_rank(code smallint) returns int
language sql immutable parallel safe
as $$ select array_position(array[3, 0, 1, 2, 4, 5, 6]::smallint[], code) $$;

------------------------------------------------------------------ the cluster

create table cluster (
    one               boolean primary key default true check (one),
    system_identifier text   not null,
    epoch             bigint not null default 1 check (epoch > 0),
    oldest_release    text   not null,
    form_key          text   not null default gen_random_uuid()::text || gen_random_uuid()::text,
    roles_prefix      text
);
comment on table cluster is 'One row: which Postgres cluster this database lives in.';
comment on column cluster.system_identifier is
    'pg_control_system().system_identifier at the last migrate. Differs after a restore elsewhere: xids and cursors are then re-based.';
comment on column cluster.epoch is 'Raised when the database moved to another cluster; sessions of an older epoch are fenced.';
comment on column cluster.form_key is 'Proof, in the forms of our pages, that a post comes from one of them; the same for all replicas.';
comment on column cluster.roles_prefix is
    'Prefix of the roles that `tidemill migrate --roles` made; null without. Each migrate grants to those of them that exist.';
comment on column cluster.oldest_release is 'The oldest release of Tidemill that may run on this schema.';

create table masters (
    id         bigint generated always as identity primary key,
    name       text not null,
    release    text not null,
    url        text not null default '',
    started_at timestamptz not null default tidemill_now(),
    stopped_at timestamptz
);
comment on table masters is 'Replicas, one row for each start.';

create table beats (
    id         bigint generated always as identity primary key,
    master_id  bigint not null references masters on delete cascade,
    at         timestamptz not null,
    resumed_at timestamptz not null
);
comment on table beats is
    'Proof that the cluster could renew leases: each replica adds a row every few seconds. Rows are only added (a row updated so often would degrade under a held snapshot) and pruned after an hour.';
comment on column beats.resumed_at is 'Since when beats came without a gap; nothing is reaped until a full lease term after it.';

------------------------------------------------------------------ configuration

create table config_revisions (
    id         bigint generated always as identity primary key,
    hash       text not null unique,
    files      jsonb not null,
    definition jsonb not null,
    vocabulary int  not null,
    comment    text not null default '',
    created_by text not null default '',
    created_at timestamptz not null default tidemill_now()
);
comment on table config_revisions is 'Applied project files, never changed. `definition` is what evaluation gave, as in lang::definition.';

create table active_revision (
    one          boolean primary key default true check (one),
    revision_id  bigint not null references config_revisions,
    activated_at timestamptz not null default tidemill_now()
);
comment on table active_revision is 'One row (none before the first reconfig). Schedule loops lock it FOR SHARE while they decide.';

create table activations (
    id           bigint generated always as identity primary key,
    revision_id  bigint not null references config_revisions,
    activated_at timestamptz not null default tidemill_now(),
    activated_by text not null default '',
    comment      text not null default ''
);
comment on table activations is 'Which revision became the active one, when and by whom: the last row names the active one.';
create index activations_revision on activations (revision_id, id);

create table policy_failures (
    id          bigint generated always as identity unique,
    revision_id bigint not null references config_revisions on delete cascade,
    subject     text not null,
    name        text not null,
    policy      text not null,
    error       text not null,
    failures    bigint not null default 1,
    first_at    timestamptz not null default tidemill_now(),
    last_at     timestamptz not null default tidemill_now(),
    primary key (revision_id, subject, name, policy)
);
comment on table policy_failures is
    'Functions of a revision that failed when a master asked them: the last error with its traceback. A replica writes each at most every few seconds, so `failures` counts reports and not calls.';
comment on column policy_failures.subject is 'What the function belongs to: project, builder, scheduler, change source; `name` says which.';

create table builder_settings (
    id                 bigint generated always as identity primary key,
    hash               bytea not null unique,
    properties         jsonb not null,
    default_properties jsonb not null
);
comment on table builder_settings is
    'What builders give to their builds: interned by content and never changed, so that a build refers to what it was claimed with instead of holding a copy.';
comment on column builder_settings.properties is 'Set on each build: global ones and the builder''s own, as {name: [value, source]}.';
comment on column builder_settings.default_properties is 'Set where nothing else set them, in the same form.';

create table builders (
    id           bigint generated always as identity primary key,
    name         text not null unique,
    active       boolean not null default true,
    paused       boolean not null default false,
    tags         text[] not null default '{}',
    description  text not null default '',
    project      text not null default '',
    any_worker   boolean not null default false,
    requires     text,
    requires_of  text[],
    settings_id  bigint not null references builder_settings,
    max_attempts int not null default 5 check (max_attempts > 0),
    expires_after interval,
    steps        text[] not null default '{}',
    locks        jsonb check (jsonb_array_length(locks) > 0),
    lock_rule    boolean not null default false,
    virtual      boolean not null default false,
    created_at   timestamptz not null default tidemill_now()
);
comment on column builders.virtual is
    'Made by a request that asked for it (virtual_builder_name): builds appear under it, nothing is asked of it, and no revision retires it.';
comment on column builders.locks is 'Locks that each of its builds holds, as in lang::definition; null without.';
comment on column builders.lock_rule is 'They come from a function of the build: only a replica that asked it may claim.';
comment on table builders is 'One row for each name ever defined; `active` says whether the active revision defines it. Build numbers come from the sequence build_number_<id>.';

comment on column builders.paused is 'By people: its requests stay in the queue and none is claimed. No revision changes it.';
comment on column builders.requires is 'An expression over labels of workers (model::requires). Then builder_workers holds those that fit, and any_worker is false.';
comment on column builders.requires_of is 'Of which workers: names, or null for any.';
comment on column builders.expires_after is 'A request ends with EXCEPTION after no worker that may build it was heard for so long; null: it waits for ever.';

create table builder_workers (
    builder_id  bigint not null references builders on delete cascade,
    worker_name text not null,
    primary key (builder_id, worker_name)
);
comment on table builder_workers is 'Which workers may build it, by name: the worker may not be enrolled yet.';

-- The next number of a builder. A sequence never waits and is never rolled
-- back: a hot counter row would do both. Numbers may have gaps (D-43).
create function build_number_next(builder bigint) returns bigint
language sql volatile
as $$ select nextval(('build_number_' || builder)::regclass) $$;

-- With its owner's rights: a replica may run as a role that creates nothing.
create function builder_sequence() returns trigger
language plpgsql security definer
as $$
begin
    if tg_op = 'INSERT' then
        execute format('create sequence %I', 'build_number_' || new.id);
    else
        execute format('drop sequence if exists %I', 'build_number_' || old.id);
    end if;
    return null;
end $$;

create trigger builder_sequence after insert or delete on builders
    for each row execute function builder_sequence();

------------------------------------------------------------------ people and workers

create table user_tokens (
    id         bigint generated always as identity primary key,
    name       text not null unique,
    hash       bytea not null unique,
    scopes     text[] not null default '{control}',
    created_at timestamptz not null default tidemill_now(),
    expires_at timestamptz
);
comment on table user_tokens is 'API tokens of people and programs; never valid on the worker API.';

create table workers (
    id          bigint generated always as identity primary key,
    name        text not null unique,
    token_hash  bytea unique,
    paused      boolean not null default false,
    labels      jsonb not null default '{}',
    enrolled_at timestamptz not null default tidemill_now()
);
comment on table workers is 'Enrolled workers. The token is shown once and stored as SHA-256.';

comment on column workers.labels is 'What it said of itself at its last hello; the project may say otherwise (worker_labels).';

create table worker_sessions (
    id         bigint generated always as identity primary key,
    worker_id  bigint not null references workers on delete cascade,
    instance   text not null,
    epoch      bigint not null,
    release    text not null,
    protocol   int not null,
    vocabulary int not null,
    slots      int not null check (slots > 0),
    info       jsonb not null default '{}',
    state      text not null default 'open' check (state in ('open', 'superseded', 'closed')),
    free       int not null default 0,
    opened_at  timestamptz not null default tidemill_now(),
    seen_at    timestamptz not null default tidemill_now(),
    missing_at timestamptz
) with (fillfactor = 50);
comment on table worker_sessions is 'One life of a worker process. `seen_at` and `free` are written every 15 s for all sessions of a replica by one statement, for people only.';
comment on column worker_sessions.missing_at is 'When it was told that its worker stays away; null while it does not.';
create unique index worker_sessions_open on worker_sessions (worker_id) where state = 'open';
create index worker_sessions_worker on worker_sessions (worker_id, id);

------------------------------------------------------------------ changes

-- Differences that people want tried on top of a revision. Immutable; equal ones
-- are one row, found by the hash of all of it (model::Patch). Only workers that
-- hold a build of it, and people who ask for it by name, read the body.
create table patches (
    id         bigint generated always as identity primary key,
    hash       bytea not null unique,
    body       bytea not null check (octet_length(body) <= 10485760),
    size       bigint generated always as (octet_length(body)) stored,
    level      int not null check (level between 0 and 100),
    subdir     text not null,
    author     text not null,
    comment    text not null,
    created_at timestamptz not null default tidemill_now()
);

create table sourcestamps (
    id         bigint generated always as identity primary key,
    hash       bytea not null unique,
    codebase   text not null,
    repository text not null,
    project    text not null,
    branch     text,
    revision   text,
    patch_id   bigint references patches,
    created_at timestamptz not null default tidemill_now()
);

create index sourcestamps_patch on sourcestamps (patch_id) where patch_id is not null;

-- What is known of a patch without its body; null where there is none.
create function patch_known(patch bigint) returns jsonb
language sql stable
as $$
    select jsonb_build_object('id', p.id, 'hash', encode(p.hash, 'hex'), 'level', p.level, 'subdir', p.subdir,
                              'author', p.author, 'comment', p.comment, 'size', p.size)
      from patches p where p.id = patch
$$;
comment on table sourcestamps is 'Which version of one codebase to build; equal stamps are one row, found by the hash of their fields.';

create table change_sources (
    id         bigint generated always as identity primary key,
    name       text not null unique,
    active     boolean not null default true,
    definition jsonb not null,
    cursor     jsonb,
    next_at    timestamptz default tidemill_now(),
    poll_now   boolean not null default false,
    hold       bigint not null default 0,
    holder     bigint references masters on delete set null,
    held_until timestamptz,
    polled_at  timestamptz,
    good_at    timestamptz,
    error      text,
    errors     int not null default 0
);
comment on table change_sources is 'Pollers. A poll runs under the row''s lease (holder, held_until); its changes and the new cursor commit together.';
comment on column change_sources.cursor is 'What was seen; its shape is the poller''s. For git: {branch: last seen revision}. Null before the first poll, which emits nothing (D-38).';
comment on column change_sources.next_at is 'Null: nothing polls it, because it is one that others push to or that this release does not run.';
comment on column change_sources.poll_now is 'Somebody asked for a poll: of one that runs at that moment, for another after it.';
comment on column change_sources.hold is 'Rises with each poll: what a poll stores counts only while it is the newest.';

create table changes (
    id               bigint generated always as identity primary key,
    xid              bigint not null default tidemill_xid(),
    received_at      timestamptz not null default tidemill_now(),
    author           text not null,
    committer        text,
    comments         text not null,
    files            text[] not null,
    branch           text,
    revision         text,
    repository       text not null,
    project          text not null,
    codebase         text not null,
    category         text,
    revlink          text,
    when_at          timestamptz,
    properties       jsonb not null default '{}',
    parents          text[] not null default '{}',
    parent_ids       bigint[] not null default '{}',
    sourcestamp_id   bigint not null references sourcestamps,
    change_source_id bigint references change_sources on delete set null,
    idempotency_key  text unique,
    outsider         text
);
comment on column changes.outsider is
    'Why its author is not trusted, as the forge said; null: trusted. Builds of it get no secrets: buildset_trusted().';
comment on table changes is 'What came in, in the order of (xid, id). Text of authors is data and grants nothing.';
create index changes_cursor on changes (xid, id);
create index changes_sourcestamp on changes (sourcestamp_id);
comment on column changes.parents is 'Revisions that its commit was made from, as far as the source says.';
comment on column changes.parent_ids is 'The changes of those revisions; where none is known, the change before it on the same line. Smaller than its own id: a walk by falling id meets children first.';

-- A branch of a repository, and a commit of it, as a number that an index takes
-- whatever the length of the texts; who looks compares those too.
create function change_line(codebase text, repository text, project text, branch text) returns bigint
language sql immutable
as $$
    select hashtextextended(coalesce(branch, ''),
           hashtextextended(project, hashtextextended(repository, hashtextextended(codebase, 0))))
$$;
create function change_commit(codebase text, repository text, revision text) returns bigint
language sql immutable
as $$
    select hashtextextended(revision, hashtextextended(repository, hashtextextended(codebase, 1)))
$$;
create index changes_line on changes (change_line(codebase, repository, project, branch), id);
create index changes_commit on changes (change_commit(codebase, repository, revision), id) where revision is not null;

-- The newest change of a line, and of a commit. Written as the last row up to a
-- place of the index: by equality and order of id, the planner could walk back
-- over all changes to find one of a line that nobody touched for a year.
create function change_before(codebase text, repository text, project text, branch text) returns bigint
language sql stable
as $$
    select n.id
      from (select p.* from changes p
             where (change_line(p.codebase, p.repository, p.project, p.branch), p.id)
                   <= (change_line($1, $2, $3, $4), 9223372036854775807)
             order by change_line(p.codebase, p.repository, p.project, p.branch) desc, p.id desc limit 1) n
     where n.codebase = $1 and n.repository = $2 and n.project = $3 and n.branch is not distinct from $4
$$;
create function change_of_commit(codebase text, repository text, revision text) returns bigint
language sql stable
as $$
    select n.id
      from (select p.* from changes p
             where p.revision is not null
               and (change_commit(p.codebase, p.repository, p.revision), p.id)
                   <= (change_commit($1, $2, $3), 9223372036854775807)
             order by change_commit(p.codebase, p.repository, p.revision) desc, p.id desc limit 1) n
     where n.codebase = $1 and n.repository = $2 and n.revision = $3
$$;

create table schedulers (
    id         bigint generated always as identity primary key,
    name       text not null unique,
    active     boolean not null default true,
    enabled    boolean not null default true,
    definition jsonb not null,
    cursor_xid bigint not null,
    cursor_id  bigint not null,
    heard_xid  bigint not null default tidemill_horizon(),
    heard_id   bigint not null default 0,
    state      jsonb not null default '{}',
    next_at    timestamptz,
    retry_at   timestamptz,
    failures   int not null default 0,
    watches    boolean not null default true,
    hears      boolean not null default false,
    summary    text not null default '',
    enabled_at timestamptz,
    run_asked_at timestamptz,
    run_asked_by text,
    check ((retry_at is null) = (failures = 0)),
    check ((run_asked_at is null) = (run_asked_by is null))
);
comment on table schedulers is 'A cursor over changes and a small durable state. Taken FOR UPDATE SKIP LOCKED by the schedule loop of any replica.';
comment on column schedulers.heard_xid is 'With heard_id: a cursor over events, for one that hears of finished buildsets of other schedulers.';
comment on column schedulers.next_at is 'When a timer of `state` is due; null without one.';
comment on column schedulers.retry_at is 'A function of the project failed so many times in a row (`failures`): left alone until then or until a new revision, cursors and state as they were.';
comment on column schedulers.watches is 'Whether it looks at changes: the cursor of one that does not stays where it is.';
comment on column schedulers.hears is 'Whether it hears of buildsets of other schedulers.';
comment on column schedulers.summary is 'What it is doing, in words, as of its last look.';
comment on column schedulers.enabled_at is 'When it was enabled after it had been disabled: times before that are not caught up with.';
comment on column schedulers.run_asked_at is 'Somebody wants it to run now; null when that is done.';

------------------------------------------------------------------ what is to be built

create table buildsets (
    id                  bigint generated always as identity primary key,
    submitted_at        timestamptz not null default tidemill_now(),
    reason              text not null,
    scheduler           text not null default '',
    external_idstring   text,
    parent_build_id     bigint,
    parent_relationship text,
    rebuilt_build_id    bigint,
    dedupe_key          text,
    properties          jsonb not null default '{}',
    complete_at         timestamptz,
    results             smallint check (results between 0 and 6),
    check ((complete_at is null) = (results is null))
);
comment on table buildsets is 'One scheduling decision: sources, properties, and a request for each builder.';
create unique index buildsets_dedupe on buildsets (dedupe_key) where dedupe_key is not null;
comment on column buildsets.dedupe_key is 'Of whoever asked: asked again with the same key, this buildset is the answer and no other is made.';
comment on column buildsets.rebuilt_build_id is 'Of a rebuild: the build that was to be repeated; of a rebuild of that, the same first one.';

create table buildset_sourcestamps (
    buildset_id    bigint not null references buildsets on delete cascade,
    sourcestamp_id bigint not null references sourcestamps,
    primary key (buildset_id, sourcestamp_id)
);
comment on table buildset_sourcestamps is 'One source stamp for each codebase.';

create function buildset_stamps(buildset bigint) returns jsonb
language sql stable
as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'codebase', s.codebase, 'repository', s.repository, 'project', s.project,
               'branch', s.branch, 'revision', s.revision,
               'patch', patch_known(s.patch_id)) order by s.codebase), '[]')
      from buildset_sourcestamps x join sourcestamps s on s.id = x.sourcestamp_id
     where x.buildset_id = buildset
$$;

create table buildset_changes (
    buildset_id bigint not null references buildsets on delete cascade,
    change_id   bigint not null references changes on delete cascade,
    primary key (buildset_id, change_id)
);
comment on table buildset_changes is 'The changes that led to it: the blame list of its builds.';
create index buildset_changes_change on buildset_changes (change_id);

-- The newest of its changes as workers get them, oldest first. Null where none led to it.
create function buildset_blame(buildset bigint, most bigint) returns jsonb
language sql stable
as $$
    select jsonb_agg(jsonb_build_object(
               'author', h.author, 'committer', h.committer, 'comments', h.comments, 'files', h.files,
               'branch', h.branch, 'revision', h.revision, 'repository', h.repository, 'project', h.project,
               'codebase', h.codebase, 'category', h.category, 'revlink', h.revlink,
               'when', floor(extract(epoch from coalesce(h.when_at, h.received_at)))::bigint,
               'properties', h.properties) order by h.id)
      from (select x.change_id from buildset_changes x where x.buildset_id = buildset
             order by x.change_id desc limit most) newest
     cross join lateral (select c.* from changes c where c.id = newest.change_id limit 1) h
$$;

create table build_requests (
    id             bigint generated always as identity primary key,
    buildset_id    bigint not null references buildsets on delete cascade,
    builder_id     bigint not null,
    priority       int not null default 0,
    waited_for     boolean not null default false,
    submitted_at   timestamptz not null default tidemill_now(),
    complete_at    timestamptz,
    results        smallint check (results between 0 and 6 and results <> 5),
    complete_reason text,
    collapse_key   bytea,
    collapsed_into bigint,
    worker_name    text,
    trusted        boolean not null default true,
    virtual_id     bigint,
    check ((complete_at is null) = (results is null))
) with (fillfactor = 45);
comment on column build_requests.worker_name is 'Only this worker may build it; null: any that its builder names.';
comment on column build_requests.trusted is
    'False: what buildset_trusted() said of its buildset; it is not given to workers that take trusted changes only. Looked at once more by a claim of such a worker.';
comment on column build_requests.virtual_id is 'The virtual builder under which its builds appear.';
comment on table build_requests is
    'The wish for one build of one builder. Not written by a claim: it is pending while in request_queue or request_waits, collapsed while it waits for the request that it became part of, claimed while it has a lease, complete when complete_at is set. Never completed with RETRY (D-15).';
comment on column build_requests.complete_reason is 'Why it ended without a build that says it: cancelled by whom, superseded by what, no worker. Null where its builds tell.';
comment on column build_requests.collapse_key is
    'Requests of one builder with the same key become one while they are pending; null: this one never does. By the project''s rule when it was made.';
comment on column build_requests.collapsed_into is 'The newer request that it became part of, whose result it takes.';
create index build_requests_buildset on build_requests (buildset_id);
create index build_requests_builder on build_requests (builder_id, id);
-- Neither is touched when a request completes: that stays an update within the page.
create index build_requests_key on build_requests (builder_id, collapse_key, id) where collapse_key is not null;
create index build_requests_collapsed on build_requests (collapsed_into) where collapsed_into is not null;

create table lanes (
    id         bigint generated always as identity primary key,
    builder_id bigint not null references builders on delete cascade,
    priority   int not null,
    worker_name text,
    trusted    boolean not null default true,
    virtual_id bigint,
    unique nulls not distinct (builder_id, priority, worker_name, trusted, virtual_id)
);
comment on column lanes.worker_name is 'What only this worker may take, who was chosen for it; null: for all that the builder names.';
comment on column lanes.trusted is 'False: what outsiders sent, which workers for trusted changes do not take.';
comment on column lanes.virtual_id is 'Its builds appear under this virtual builder.';
comment on table lanes is 'A builder at one priority, apart for what not every one of its workers may take. Within a lane the queue''s key rises with time, so a claim starts at a remembered low bound and never walks over dead rows.';

-- The lane of these terms, made if it is not there.
create function lane_of(p_builder bigint, p_priority int, p_worker text, p_trusted boolean, p_virtual bigint)
returns bigint
language plpgsql
as $$
declare
    v_lane bigint;
begin
    for i in 1 .. 2 loop
        select l.id into v_lane from lanes l
         where l.builder_id = p_builder and l.priority = p_priority and l.trusted = p_trusted
           and l.worker_name is not distinct from p_worker and l.virtual_id is not distinct from p_virtual;
        exit when v_lane is not null;
        insert into lanes (builder_id, priority, worker_name, trusted, virtual_id)
        values (p_builder, p_priority, p_worker, p_trusted, p_virtual) on conflict do nothing;
    end loop;
    return v_lane;
end $$;

create sequence request_ticket;
create table request_queue (
    lane        bigint not null,
    ticket      bigint not null default nextval('request_ticket'),
    request_id  bigint not null,
    buildset_id bigint not null,
    attempt     int not null default 1,
    primary key (lane, ticket)
);
comment on table request_queue is
    'What could start now, and nothing else: rows come with a new ticket and go with the claim. No foreign keys: checked by the transaction that also writes the request.';
create index request_queue_request on request_queue (request_id);

create table request_waits (
    request_id bigint primary key,
    lane       bigint not null,
    attempt    int not null,
    why        text not null check (why in ('back-off', 'refused')),
    until      timestamptz,
    said       text
);
comment on column request_waits.said is 'Of one that a function of the project refused: what it said.';
comment on table request_waits is 'What cannot start yet; moved to request_queue with a new ticket when `until` has passed.';
create index request_waits_until on request_waits (until);

------------------------------------------------------------------ builds

create table builds (
    id           bigint generated by default as identity primary key,
    builder_id   bigint not null,
    number       bigint not null,
    request_id   bigint not null,
    worker_id    bigint not null,
    session_id   bigint not null,
    poll         bigint not null,
    attempt      int not null,
    token        text not null,
    revision_id  bigint not null,
    settings_id  bigint not null,
    state        text not null default 'claimed' check (state in ('claimed', 'running', 'finished')),
    state_string text not null default '',
    started_at   timestamptz not null default tidemill_now(),
    complete_at  timestamptz,
    results      smallint check (results between 0 and 6),
    last_batch   bigint,
    stop_reason  text,
    stop_results smallint check (stop_results between 0 and 6),
    unique (builder_id, number),
    check ((state = 'finished') = (complete_at is not null and results is not null)),
    check ((stop_reason is null) = (stop_results is null))
) with (fillfactor = 45);
comment on table builds is 'One attempt at a request on one worker. The poll that claimed it, its token and its last batch stay, so that repeated messages get the same answer.';
comment on column builds.settings_id is 'With the properties of the buildset these are what it started with: build_started_with(); build_properties holds what steps set.';
create index builds_session on builds (session_id, id);
create index builds_request on builds (request_id);

-- The properties that a build started with, as {name: [value, source]}. The
-- claim builds the same in the replica: schema::claims::payloads.
create function build_started_with(build bigint) returns jsonb
language sql stable
as $$
    select g.default_properties || s.properties || g.properties || jsonb_build_object(
               'buildername', jsonb_build_array(u.name, 'Builder'),
               'builderid', jsonb_build_array(u.id, 'Builder'),
               'workername', jsonb_build_array(w.name, 'Worker'),
               'buildnumber', jsonb_build_array(b.number, 'Build'))
      from builds b, builder_settings g, build_requests q, buildsets s, builders u, workers w
     where b.id = build and g.id = b.settings_id and q.id = b.request_id and s.id = q.buildset_id
       and u.id = q.builder_id and w.id = b.worker_id
$$;

create table leases (
    build_id   bigint primary key,
    session_id bigint not null,
    token      text not null,
    expires_at timestamptz not null,
    builder_id bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
comment on column leases.builder_id is 'The builder that it was claimed for, also where the build appears under a virtual one.';
comment on table leases is 'Who may write for a build. Runs by the database clock; renewed in batches; gone when the build is final. Few rows: read by a scan when looking for expired ones.';

create table build_batches (
    build_id bigint not null,
    batch    bigint not null,
    primary key (build_id, batch)
);
comment on table build_batches is 'Batches taken in of running builds: twice is once. Removed when the build is final.';

create table build_properties (
    build_id bigint not null,
    name     text not null,
    value    jsonb not null,
    source   text not null,
    primary key (build_id, name)
);
comment on table build_properties is 'Properties that steps set while the build ran.';

create table steps (
    id           bigint generated always as identity primary key,
    build_id     bigint not null,
    number       int not null,
    name         text not null,
    state_string text not null default '',
    started_at   timestamptz not null,
    complete_at  timestamptz,
    results      smallint check (results between 0 and 6),
    hidden       boolean not null default false,
    urls         jsonb not null default '[]',
    progress     jsonb not null default '{}',
    lock_wait    interval,
    unique (build_id, number),
    check ((complete_at is null) = (results is null))
) with (fillfactor = 70);
comment on table steps is 'Steps in the order in which they started.';
comment on column steps.lock_wait is 'How long it waited for its locks before it ran; null without locks.';
comment on column steps.progress is 'How far the step has come, {metric: number}; a hint.';

create table step_statistics (
    build_id bigint not null,
    step     int not null,
    name     text not null,
    value    double precision not null,
    primary key (build_id, step, name)
);
comment on table step_statistics is 'Numbers that steps counted, such as warnings and tests; step is the number of the step within the build.';

-- How long the builder's builds take, from the last good ones before this
-- number: their median. Null where there were none lately.
create function build_time_expected(builder bigint, before bigint) returns interval
language sql stable
as $$
    select percentile_disc(0.5) within group (order by good.took)
      from (select recent.complete_at - recent.started_at as took
              from (select b.started_at, b.complete_at, b.results from builds b
                     where b.builder_id = builder and b.number < before
                     order by b.number desc limit 50) recent
             where recent.results in (0, 1) limit 7) good
$$;

-- The same for a step of that name in those builds.
create function step_time_expected(build bigint, step text) returns interval
language sql stable
as $$
    select percentile_disc(0.5) within group (order by good.took)
      from (select s.complete_at - s.started_at as took
              from builds now
             cross join lateral (
                   select b.id from builds b where b.builder_id = now.builder_id and b.number < now.number
                    order by b.number desc limit 20) recent
             cross join lateral (
                   select k.started_at, k.complete_at from steps k
                    where k.build_id = recent.id and k.name = step and k.results in (0, 1) limit 1) s
             where now.id = build limit 7) good
$$;

create table logs (
    id         bigint generated always as identity primary key,
    build_id   bigint not null,
    number     int not null,
    step       int not null,
    name       text not null,
    slug       text not null,
    kind       text not null check (kind in ('s', 't', 'h')),
    complete   boolean not null default false,
    incomplete boolean not null default false,
    bytes      bigint not null default 0,
    lines      bigint not null default 0,
    unique (build_id, number)
) with (fillfactor = 70);
comment on table logs is 'Logs of steps. Totals are written when the log ends; while it grows they come from its chunks.';
comment on column logs.incomplete is 'The build ended and the totals of the worker and of the stored chunks differ.';

create table log_chunks (
    log_id     bigint not null,
    first_byte bigint not null,
    bytes      int not null,
    first_line bigint not null,
    lines      int not null,
    crc        bigint not null,
    data       bytea not null,
    primary key (log_id, first_byte)
) partition by range (log_id);
alter table log_chunks alter column data set storage external;
comment on table log_chunks is 'Up to 64 KiB of a log, compressed by the worker; format in model::log. Partitioned by log id, which rises with time.';

-- Makes the partition for the log ids [n * span, (n + 1) * span), unless it is
-- there. Created apart and then attached, which takes only a brief lock that
-- does not stop inserts; a second replica that does the same waits and finds
-- it done. With its owner's rights, see builder_sequence().
create function log_chunks_partition(n bigint, span bigint) returns void
language plpgsql security definer
as $$
declare
    v_name  text := 'log_chunks_' || n;
    v_first bigint := n * span;
    v_end   bigint := (n + 1) * span;
begin
    perform pg_advisory_xact_lock(hashtext('log_chunks.partition'));
    if to_regclass(v_name) is not null then
        return;
    end if;
    execute format('create table %I (like log_chunks including defaults including storage including constraints,
                        check (log_id >= %s and log_id < %s))', v_name, v_first, v_end);
    execute format('alter table log_chunks attach partition %I for values from (%s) to (%s)', v_name, v_first, v_end);
end $$;
revoke all on function log_chunks_partition(bigint, bigint) from public;

-- Functions that run with their owner's rights find names in this schema only,
-- whatever the caller's search path: nobody can put a table of his own in the way.
do $$
begin
    execute format('alter function builder_sequence() set search_path = %I, pg_temp', current_schema());
    execute format('alter function log_chunks_partition(bigint, bigint) set search_path = %I, pg_temp', current_schema());
end $$;

------------------------------------------------------------------ the event stream

create table events (
    xid        bigint not null default tidemill_xid(),
    id         bigint generated always as identity,
    at         timestamptz not null default tidemill_now(),
    kind       text not null,
    builder_id bigint,
    build_id   bigint,
    data       jsonb not null default '{}',
    primary key (xid, id)
);
create index events_buildsets on events (xid, id) where kind in ('buildsets.new', 'buildsets.complete');
comment on table events is 'What happened, appended by the transaction that did it; read in the order of (xid, id) by live pages, notifiers and webhooks.';
comment on column events.kind is 'Topic and verb, such as builds.new, builds.updated, builds.finished, changes.new.';
