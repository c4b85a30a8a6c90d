-- What reporting stores: facts that would be dear to derive, and sums over time.
--
-- A consumer of the event stream writes all of it (schema::facts): a build's row
-- when it ended, with what it meant on its line (broke, fixed, since when), and in
-- the same transaction what it adds to the sums. The primary key of a fact makes
-- it once, whoever writes; the sums grow only by facts that were new. So the same
-- function fills in history from before it ran (a backfill), and both may run.
--
-- The views of schema `report` (crate sql) are what people read; these tables may
-- change.

create table projects (
    id          bigint generated always as identity primary key,
    name        text not null unique,
    active      boolean not null default true,
    description text not null default '',
    public      boolean not null default true
);
comment on table projects is
    'One row for each project ever defined; builders name theirs, also one that is not here, which is public.';
comment on column projects.public is 'False: in `report` only roles see it that report_grants names.';

create table report_grants (
    role       text not null,
    project    text,
    granted_at timestamptz not null default tidemill_now(),
    granted_by text not null default '',
    unique nulls not distinct (role, project)
);
comment on table report_grants is
    'Which roles of the database see which projects that are not public: members of `role` do too. A null project is all of them.';

------------------------------------------------------------------ facts

create table build_facts (
    build_id         bigint not null,
    complete_at      timestamptz not null,
    builder_id       bigint not null,
    number           bigint not null,
    line             uuid not null,
    codebase         text not null,
    repository       text not null,
    branch           text,
    revision         text,
    buildset_id      bigint not null,
    request_id       bigint not null,
    attempt          int not null,
    worker_id        bigint not null,
    scheduler        text not null,
    reason           text not null,
    submitted_at     timestamptz not null,
    waiting_since    timestamptz not null,
    started_at       timestamptz not null,
    results          smallint not null check (results between 0 and 6),
    failed_step      text,
    steps            int not null,
    lock_wait        interval not null default '0',
    log_bytes        bigint not null,
    changes          int not null,
    first_change_at  timestamptz,
    previous_results smallint check (previous_results between 0 and 2),
    good_build_id    bigint,
    turn             text check (turn in ('broke', 'fixed')),
    bad_build_id     bigint,
    bad_since        timestamptz,
    blamed           text[] not null default '{}',
    primary key (build_id, complete_at)
) partition by range (complete_at);
comment on table build_facts is
    'One row a finished build, by month of its end. Outlives the build, as long as its month is kept.';
comment on column build_facts.line is 'buildset_line(): its codebases, repositories and branches.';
comment on column build_facts.codebase is 'With repository, branch and revision: of its first source stamp by codebase.';
comment on column build_facts.waiting_since is 'When this attempt began to wait: the request was made, or its build before was lost.';
comment on column build_facts.failed_step is 'Of one that ended badly: the first of its steps with the worst result.';
comment on column build_facts.log_bytes is 'Of all its logs, before compression.';
comment on column build_facts.changes is 'Changes that led to its buildset.';
comment on column build_facts.lock_wait is 'How long its steps waited for locks.';
comment on column build_facts.first_change_at is 'When the oldest of its changes was made, or came in; null without changes.';
comment on column build_facts.previous_results is 'Of the build that gave a verdict (SUCCESS, WARNINGS, FAILURE) on this line before it, by order of their ends.';
comment on column build_facts.good_build_id is 'The last good build (SUCCESS, WARNINGS) of the line before it.';
comment on column build_facts.turn is 'broke: FAILURE after a good one; fixed: good after FAILURE.';
comment on column build_facts.bad_build_id is
    'The build that broke the line, of every verdict until the one that fixed it, and of that. Of a line that failed from the beginning: its first.';
comment on column build_facts.bad_since is 'When that one ended.';
comment on column build_facts.blamed is 'Of one that broke: authors of the changes since the last good one.';
create index build_facts_builder on build_facts (builder_id, complete_at);
create index build_facts_time on build_facts (complete_at);
create index build_facts_buildset on build_facts (buildset_id);
-- All that time-to-repair asks, and worker_id because report.build_facts joins by it.
create index build_facts_turn on build_facts (complete_at) include (builder_id, turn, bad_since, good_build_id, worker_id)
    where turn is not null;
create index build_facts_builder_turn on build_facts (builder_id, complete_at) where turn is not null;
-- As report.build_facts says it: lost ones (RETRY), and the slowest of a long time.
create index build_facts_lost on build_facts (complete_at)
    where (array['good', 'good', 'tests', 'skipped', 'infrastructure', 'lost', 'cancelled'])[results + 1] = 'lost';
create index build_facts_seconds on build_facts ((extract(epoch from complete_at - started_at)::double precision));

create table line_states (
    builder_id    bigint not null,
    line          uuid not null,
    results       smallint not null check (results between 0 and 2),
    complete_at   timestamptz not null,
    good_build_id bigint,
    bad_build_id  bigint,
    bad_since     timestamptz,
    primary key (builder_id, line),
    check ((bad_build_id is null) = (bad_since is null))
) with (fillfactor = 70);
comment on table line_states is
    'How each line of a builder stands after the facts so far: the last verdict, the last good build, what broke it.';

create table request_facts (
    request_id     bigint not null,
    complete_at    timestamptz not null,
    buildset_id    bigint not null,
    builder_id     bigint not null,
    priority       int not null,
    scheduler      text not null,
    reason         text not null,
    submitted_at   timestamptz not null,
    claimed_at     timestamptz,
    results        smallint not null check (results between 0 and 6),
    attempts       int not null,
    collapsed_into bigint,
    worker_wait    interval not null,
    lock_wait      interval not null,
    back_off       interval not null,
    why            text check (why in ('worker', 'lock', 'back-off')),
    ended_because  text,
    primary key (request_id, complete_at)
) partition by range (complete_at);
comment on table request_facts is 'One row a request that is over, by month of its end.';
comment on column request_facts.claimed_at is 'When its first build started; null where none did.';
comment on column request_facts.worker_wait is 'Waiting that neither a lock nor a back-off explains: for a free worker, a paused builder.';
comment on column request_facts.lock_wait is 'How long its builder, or it, stood in a line for locks before its first build.';
comment on column request_facts.back_off is 'Between its builds, because the one before was lost.';
comment on column request_facts.why is
    'What most of the waiting was for; null where it waited less than a second, or became part of another request.';
comment on column request_facts.builder_id is 'That its builds appear under.';
create index request_facts_builder on request_facts (builder_id, complete_at);
create index request_facts_time on request_facts (complete_at);

create table lock_wait_facts (
    id         bigint generated always as identity,
    ended_at   timestamptz not null default tidemill_now(),
    since      timestamptz not null,
    lock_id    bigint not null,
    builder_id bigint,
    request_id bigint,
    build_id   bigint,
    step       int,
    primary key (id, ended_at)
) partition by range (ended_at);
comment on table lock_wait_facts is 'Who stood how long in the line of a lock, written when the waiter goes, by month of that.';
create index lock_wait_facts_time on lock_wait_facts (ended_at);
create index lock_wait_facts_builder on lock_wait_facts (builder_id, ended_at);

------------------------------------------------------------------ sums over time

-- Spans of time in a histogram: four buckets an octave. An element of `waits` or
-- `spans` is bucket * 2^24 + count; bucket b holds [2^((b-20)/4), 2^((b-19)/4)) seconds,
-- bucket 0 all that is less, bucket 127 all that is more. In the order of buckets,
-- each once. The counts of one row are its builds together (schema::facts::histogram).
create table build_hours (
    builder_id bigint not null,
    hour       timestamptz not null,
    builds     int not null,
    success    int not null default 0,
    warnings   int not null default 0,
    failure    int not null default 0,
    skipped    int not null default 0,
    exception  int not null default 0,
    retry      int not null default 0,
    cancelled  int not null default 0,
    broke      int not null default 0,
    fixed      int not null default 0,
    seconds    double precision not null default 0,
    waited     double precision not null default 0,
    log_bytes  bigint not null default 0,
    spans      int[] not null default '{}',
    waits      int[] not null default '{}',
    led          int not null default 0,
    led_changes  int not null default 0,
    longest_lead double precision not null default 0,
    leads        int[] not null default '{}',
    primary key (builder_id, hour)
) with (fillfactor = 70);
comment on table build_hours is 'Sums of build_facts by builder and hour (UTC) of their ends.';
comment on column build_hours.seconds is 'Running time of the builds together.';
comment on column build_hours.waited is 'What they had waited since waiting_since, together, in seconds.';
comment on column build_hours.led is 'Good builds (SUCCESS, WARNINGS) that had changes.';
comment on column build_hours.led_changes is 'Their changes.';
comment on column build_hours.longest_lead is 'The longest time, in seconds, from the oldest change of one of those to its end.';
comment on column build_hours.leads is 'Histogram of that time.';
create index build_hours_time on build_hours (hour);

create table build_days (like build_hours including defaults including comments including constraints);
alter table build_days rename hour to day;
alter table build_days add primary key (builder_id, day), set (fillfactor = 70);
comment on table build_days is 'Sums of build_facts by builder and day (UTC) of their ends.';
create index build_days_time on build_days (day);

-- Ranges of months read these, and hours, days or facts only at their two ends.
create table build_months (like build_hours including defaults including comments including constraints);
alter table build_months rename hour to month;
alter table build_months add primary key (builder_id, month), set (fillfactor = 70);
comment on table build_months is 'Sums of build_facts by builder and month (UTC) of their ends.';
create index build_months_time on build_months (month);

-- Who may not see a project must not see its part of a sum: what is private when a
-- build ends is summed apart. Few rows, however many builders there are.
create table total_hours (like build_hours including defaults including comments including constraints);
alter table total_hours drop builder_id;
alter table total_hours add project text not null;
alter table total_hours add primary key (project, hour), set (fillfactor = 50);
comment on table total_hours is 'Sums of build_facts of all builders by hour (UTC) of their ends.';
comment on column total_hours.project is
    'A project that was not public when they ended; empty: all others together. Of a virtual builder: one of those that build under it.';
create index total_hours_time on total_hours (hour);

create table total_days (like total_hours including defaults including comments including constraints);
alter table total_days rename hour to day;
alter table total_days add primary key (project, day), set (fillfactor = 50);
comment on table total_days is 'Sums of build_facts of all builders by day (UTC) of their ends.';
create index total_days_time on total_days (day);

create table branch_months (
    builder_id bigint not null,
    month      timestamptz not null,
    branch     text,
    builds     int not null,
    good       int not null,
    failed     int not null,
    last_at    timestamptz not null,
    good_at    timestamptz,
    failed_at  timestamptz,
    unique nulls not distinct (builder_id, month, branch)
) with (fillfactor = 70);
comment on table branch_months is 'Sums of build_facts by builder, month (UTC) of their ends, and branch of the first source stamp.';
comment on column branch_months.good is 'SUCCESS and WARNINGS; failed: FAILURE.';
comment on column branch_months.last_at is 'When the last one ended; good_at, failed_at: the last of those.';
create index branch_months_time on branch_months (month);

create table request_months (
    builder_id   bigint not null,
    month        timestamptz not null,
    requests     int not null,
    collapsed    int not null,
    started      int not null,
    for_worker   int not null,
    for_lock     int not null,
    for_back_off int not null,
    worker_wait  double precision not null,
    lock_wait    double precision not null,
    back_off     double precision not null,
    primary key (builder_id, month)
) with (fillfactor = 70);
comment on table request_months is 'Sums of request_facts by builder and month (UTC) of their ends.';
comment on column request_months.collapsed is 'Became part of another one.';
comment on column request_months.started is 'Had a build, and did not become part of another one; what follows is of these.';
comment on column request_months.for_worker is 'Waited most for that, as `why` of the facts says; for_lock, for_back_off too.';
comment on column request_months.worker_wait is 'In seconds, together; lock_wait, back_off too.';
create index request_months_time on request_months (month);

create table step_days (
    builder_id bigint not null,
    day        timestamptz not null,
    name       text not null,
    runs       int not null,
    bad        int not null,
    seconds    double precision not null,
    lock_wait  double precision not null,
    spans      int[] not null,
    primary key (builder_id, day, name)
) with (fillfactor = 70);
comment on table step_days is 'Sums of steps of finished builds by builder, day (UTC) of the build''s end, and name of the step.';
comment on column step_days.bad is 'Of those, which ended with FAILURE or EXCEPTION.';
create index step_days_time on step_days (day);

create table step_months (like step_days including defaults including comments including constraints);
alter table step_months rename day to month;
alter table step_months add primary key (builder_id, month, name), set (fillfactor = 70);
comment on table step_months is 'Sums of step_days by builder, month (UTC) of the build''s end, and name of the step.';
create index step_months_time on step_months (month);

create table statistic_days (
    builder_id   bigint not null,
    name         text not null,
    day          timestamptz not null,
    step         text not null,
    runs         int not null,
    total        double precision not null,
    lowest       double precision not null,
    highest      double precision not null,
    newest       double precision not null,
    newest_at    timestamptz not null,
    newest_build bigint not null,
    primary key (builder_id, name, day, step)
) with (fillfactor = 70);
comment on table statistic_days is
    'Sums of numbers that steps set, by builder, name, day (UTC) of the build''s end, and name of the step.';
comment on column statistic_days.newest is 'Of the build newest_build, which ended last, at newest_at.';
create index statistic_days_name on statistic_days (name, day);

create table worker_hours (
    worker_id bigint not null,
    hour      timestamptz not null,
    builder_id bigint not null,
    builds    int not null,
    lost      int not null,
    seconds   double precision not null,
    primary key (worker_id, hour, builder_id)
) with (fillfactor = 70);
comment on table worker_hours is
    'How long a worker was busy with builds of a builder within an hour (UTC); builds and lost count where the build ended.';
create index worker_hours_time on worker_hours (hour);

create table worker_months (
    worker_id bigint not null,
    month     timestamptz not null,
    project   text not null,
    builds    int not null,
    lost      int not null,
    seconds   double precision not null,
    primary key (worker_id, month, project)
) with (fillfactor = 70);
comment on table worker_months is
    'Sums of worker_hours by month (UTC) and project: that of the builder then, or as total_hours has it.';
create index worker_months_time on worker_months (month);

------------------------------------------------------------------ tests

create table test_sets (
    id          bigint generated always as identity primary key,
    build_id    bigint not null,
    step        int not null,
    name        text not null,
    builder_id  bigint not null,
    line        uuid not null,
    sources     uuid not null,
    complete_at timestamptz not null,
    unique (build_id, step, name)
);
comment on table test_sets is 'Results of tests that a step gave together. No foreign keys, as for all hot tables.';
comment on column test_sets.sources is 'The same for builds of the same source stamps.';

create table test_names (
    id   bigint generated always as identity primary key,
    hash bytea not null unique,
    name text not null,
    path text not null default ''
);
comment on table test_names is 'Names of tests, once each.';

create table test_results (
    set_id      bigint not null,
    ordinal     int not null,
    builder_id  bigint not null,
    name_id     bigint not null,
    complete_at timestamptz not null,
    result      text not null check (result in ('passed', 'failed', 'skipped', 'error')),
    seconds     double precision,
    message     text,
    primary key (set_id, ordinal, complete_at)
) partition by range (complete_at);
comment on table test_results is 'One row a test and run, by month of the end of its step.';
create index test_results_name on test_results (name_id, builder_id, complete_at);
create index test_results_time on test_results (complete_at);

create table test_states (
    name_id     bigint not null,
    builder_id  bigint not null,
    line        uuid not null,
    failing     boolean not null,
    since       timestamptz not null,
    since_build bigint not null,
    good_build  bigint,
    complete_at timestamptz not null,
    primary key (name_id, builder_id, line)
) with (fillfactor = 70);
comment on table test_states is 'Of each test that ever failed on a line of a builder: how it stands, since when and since which build.';
comment on column test_states.good_build is 'The last build in which it passed before it began to fail.';

create table test_flakes (
    name_id      bigint not null,
    builder_id   bigint not null,
    at           timestamptz not null,
    line         uuid not null,
    revision     text,
    passed_build bigint not null,
    failed_build bigint not null,
    primary key (name_id, builder_id, passed_build, failed_build)
);
comment on table test_flakes is 'A test passed and failed on the same sources of a builder: marked when the second of the two came.';
create index test_flakes_time on test_flakes (at);

------------------------------------------------------------------ partitions

alter table cluster add column facts_since timestamptz;
comment on column cluster.facts_since is
    'Months of facts before this were dropped, and are not written again; null: none was. Their sums stay.';

-- Makes the partition of a month unless it is there; twice is once. With its
-- owner's rights, see builder_sequence().
create function facts_partition(p_table text, p_month timestamptz) returns void
language plpgsql security definer
as $$
declare
    v_from timestamptz := date_trunc('month', p_month, 'UTC');
    -- Not in the time zone of the session, where a month may have an hour less.
    v_to   timestamptz := (v_from at time zone 'UTC' + interval '1 month') at time zone 'UTC';
    v_name text := p_table || to_char(v_from at time zone 'UTC', '_YYYY_MM');
begin
    if p_table not in ('build_facts', 'request_facts', 'lock_wait_facts', 'test_results') then
        raise exception 'facts_partition: % is not one of the tables that are cut by month', p_table;
    end if;
    if to_regclass(v_name) is not null then
        return;
    end if;
    -- Somebody may be at it: then it is there when this has the lock.
    perform pg_advisory_xact_lock(hashtext('facts.partition'));
    if to_regclass(v_name) is not null then
        return;
    end if;
    execute format('create table %I (like %I including defaults including storage including constraints)', v_name, p_table);
    execute format('alter table %I attach partition %I for values from (%L) to (%L)',
                   p_table, v_name, v_from, v_to);
end $$;
revoke all on function facts_partition(text, timestamptz) from public;

-- How long somebody stood in the line of a lock, when he goes: a row for each of
-- its locks. Before the delete, because lock_waits go with it.
create function lock_waiter_fact() returns trigger
language plpgsql
as $$
declare
    v_now timestamptz := tidemill_now();
begin
    if to_regclass('lock_wait_facts' || to_char(v_now at time zone 'UTC', '_YYYY_MM')) is null then
        perform facts_partition('lock_wait_facts', v_now);
    end if;
    insert into lock_wait_facts (ended_at, since, lock_id, builder_id, request_id, build_id, step)
    select v_now, least(old.since, v_now), t.lock_id,
           coalesce(old.builder_id, (select b.builder_id from builds b where b.id = old.build_id)),
           old.request_id, old.build_id, old.step
      from lock_waits t where t.ticket = old.ticket;
    return old;
end $$;
create trigger lock_waiter_fact before delete on lock_waiters
    for each row execute function lock_waiter_fact();

do $$
begin
    execute format('alter function facts_partition(text, timestamptz) set search_path = %I, pg_temp', current_schema());
end $$;
