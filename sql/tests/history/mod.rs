//! A history by hand: two builders, two workers, six builds of 2 and 3 March 2026,
//! and a step that became slower on 24 February.

pub const HISTORY: &str = "
create function pg_temp.bucket(span interval) returns int language sql
return (floor(log(2, extract(epoch from greatest(span, interval '1 s'))) * 4 + 20)::int << 24) + 1;
select facts_partition(t, m) from unnest('{build_facts,request_facts,lock_wait_facts,test_results}'::text[]) t,
       unnest('{2026-02-01 00:00Z,2026-03-01 00:00Z}'::timestamptz[]) m;
insert into builder_settings (hash, properties, default_properties) values ('x', '{}', '{}');
insert into projects (name) values ('app');
insert into builders (name, project, settings_id)
select n, p, s.id from builder_settings s, (values ('linux', 'app'), ('mac', '')) b (n, p);
insert into workers (name, labels) values ('w1', '{\"hourly_cost\": \"2\"}'), ('w2', '{}');
insert into worker_sessions (worker_id, instance, epoch, release, protocol, vocabulary, slots, state, opened_at, seen_at)
values (1, 'a', 1, 'test', 1, 1, 4, 'closed', '2026-03-02 12:00Z', '2026-03-02 22:00Z'),
       (2, 'b', 1, 'test', 1, 1, 1, 'closed', '2026-03-02 10:00Z', '2026-03-02 20:00Z');
insert into locks (name, kind, capacity) values ('disk', 'master', 1);
insert into sourcestamps (hash, codebase, repository, project, branch, revision) values ('x', '', 'git://x', '', 'main', null);
insert into buildsets (reason) select 'x' from generate_series(1, 7);
insert into changes (author, comments, files, branch, revision, repository, project, codebase, sourcestamp_id)
select a, '', '{}', 'main', r, 'git://x', '', '', s.id
  from sourcestamps s, (values ('ann', 'aaa'), ('ann', 'bbb'), ('bob', 'ccc'), ('bob', 'ddd'), ('cyd', '0ddc0ffee')) c (a, r);
insert into buildset_changes values (1, 1), (2, 2), (3, 3), (4, 4), (7, 5);

insert into build_facts (build_id, complete_at, builder_id, number, line, codebase, repository, branch, revision, buildset_id,
                         request_id, attempt, worker_id, scheduler, reason, submitted_at, waiting_since, started_at, results,
                         failed_step, steps, log_bytes, changes, first_change_at, previous_results, turn, bad_build_id, blamed)
select b.id, b.at, b.builder, b.number, '11111111-1111-1111-1111-111111111111', '', 'git://x', 'main', b.revision, b.id, b.id, 1,
       b.builder, 's', 'r', b.at - interval '1 day', b.at - b.took - b.waited, b.at - b.took, b.results, b.failed, 2, b.bytes,
       b.changes, case when b.changes > 0 then b.at - b.lead end, b.previous, b.turn, b.bad, b.blamed
  from (values
    (1, '2026-03-02 10:00Z'::timestamptz, 1, 1, 'aaa', interval '600 s', interval '60 s', 0, null, 1000, 1, interval '1 hour', null::int, null, null::int, '{}'::text[]),
    (2, '2026-03-02 11:00Z', 1, 2, 'bbb', '1200 s', '120 s', 2, 'test', 1000, 1, '1 hour', 0, 'broke', 2, '{ann}'),
    (3, '2026-03-02 13:00Z', 1, 3, 'ccc', '600 s', '60 s', 0, null, 1000, 1, '2 hours', 2, 'fixed', 2, '{}'),
    (4, '2026-03-03 10:00Z', 1, 4, 'ddd', '600 s', '120 s', 2, 'test', 1000, 1, '1 hour', 0, 'broke', 4, '{bob}'),
    (5, '2026-03-02 12:00Z', 2, 1, 'ccc', '300 s', '30 s', 5, null, 1000, 0, '0', null, null, null, '{}'),
    (6, '2026-03-03 12:00Z', 2, 2, 'ccc', '60 s', '0 s', 4, null, 1000, 0, '0', null, null, null, '{}')
  ) b (id, at, builder, number, revision, took, waited, results, failed, bytes, changes, lead, previous, turn, bad, blamed);
update build_facts f
   set bad_since = (select b.complete_at from build_facts b where b.build_id = f.bad_build_id),
       good_build_id = case when f.build_id < 4 then 1 else 3 end
 where f.turn is not null;
-- The build of the change that made a step slower.
insert into build_facts (build_id, complete_at, builder_id, number, line, codebase, repository, branch, buildset_id, request_id,
                         attempt, worker_id, scheduler, reason, submitted_at, waiting_since, started_at, results, steps, log_bytes, changes)
values (7, '2026-02-24 09:00Z', 2, 0, '11111111-1111-1111-1111-111111111111', '', 'git://x', 'main', 7, 7, 1, 2, 's', 'r',
        '2026-02-24 08:00Z', '2026-02-24 08:00Z', '2026-02-24 08:00Z', 0, 1, 0, 1);

insert into build_hours (builder_id, hour, builds, success, failure, exception, retry, broke, fixed, seconds, waited, log_bytes, spans,
                         waits, led, led_changes, longest_lead, leads)
select builder_id, date_trunc('hour', complete_at, 'UTC'), count(*), count(*) filter (where results = 0), count(*) filter (where results = 2),
       count(*) filter (where results = 4), count(*) filter (where results = 5), count(*) filter (where turn = 'broke'),
       count(*) filter (where turn = 'fixed'), sum(extract(epoch from complete_at - started_at)),
       sum(extract(epoch from started_at - waiting_since)), sum(log_bytes),
       report.histogram_pack(array_agg(pg_temp.bucket(complete_at - started_at))),
       report.histogram_pack(array_agg(pg_temp.bucket(started_at - waiting_since))), count(*) filter (where led),
       coalesce(sum(changes) filter (where led), 0),
       coalesce(max(extract(epoch from complete_at - first_change_at)) filter (where led), 0),
       report.histogram_pack(array_agg(pg_temp.bucket(complete_at - first_change_at)) filter (where led))
  from (select *, results = 0 and changes > 0 as led from build_facts where complete_at > '2026-03-01') f group by 1, 2;
insert into build_days
select builder_id, date_trunc('day', hour, 'UTC'), sum(builds), sum(success), sum(warnings), sum(failure), sum(skipped), sum(exception),
       sum(retry), sum(cancelled), sum(broke), sum(fixed), sum(seconds), sum(waited), sum(log_bytes), report.histogram_sum(spans),
       report.histogram_sum(waits), sum(led), sum(led_changes), max(longest_lead), report.histogram_sum(leads)
  from build_hours group by 1, 2;
insert into build_months
select builder_id, date_trunc('month', day, 'UTC'), sum(builds), sum(success), sum(warnings), sum(failure), sum(skipped), sum(exception),
       sum(retry), sum(cancelled), sum(broke), sum(fixed), sum(seconds), sum(waited), sum(log_bytes), report.histogram_sum(spans),
       report.histogram_sum(waits), sum(led), sum(led_changes), max(longest_lead), report.histogram_sum(leads)
  from build_days group by 1, 2;
insert into total_hours
select hour, sum(builds), sum(success), sum(warnings), sum(failure), sum(skipped), sum(exception),
       sum(retry), sum(cancelled), sum(broke), sum(fixed), sum(seconds), sum(waited), sum(log_bytes), report.histogram_sum(spans),
       report.histogram_sum(waits), sum(led), sum(led_changes), max(longest_lead), report.histogram_sum(leads), ''
  from build_hours group by 1;
insert into total_days
select date_trunc('day', hour, 'UTC'), sum(builds), sum(success), sum(warnings), sum(failure), sum(skipped), sum(exception),
       sum(retry), sum(cancelled), sum(broke), sum(fixed), sum(seconds), sum(waited), sum(log_bytes), report.histogram_sum(spans),
       report.histogram_sum(waits), sum(led), sum(led_changes), max(longest_lead), report.histogram_sum(leads), ''
  from total_hours group by 1;
insert into branch_months
select builder_id, date_trunc('month', complete_at, 'UTC'), branch, count(*), count(*) filter (where results = 0),
       count(*) filter (where results = 2), max(complete_at), max(complete_at) filter (where results = 0),
       max(complete_at) filter (where results = 2)
  from build_facts group by 1, 2, 3;
insert into worker_hours (worker_id, hour, builder_id, builds, lost, seconds)
select worker_id, date_trunc('hour', complete_at, 'UTC'), builder_id, count(*), count(*) filter (where results = 5),
       sum(extract(epoch from complete_at - started_at))
  from build_facts where complete_at > '2026-03-01' group by 1, 2, 3;

insert into worker_months
select worker_id, date_trunc('month', hour, 'UTC'), b.project, sum(builds), sum(lost), sum(seconds)
  from worker_hours u join builders b on b.id = u.builder_id group by 1, 2, 3;

insert into steps (build_id, number, name, started_at, complete_at, results)
select f.build_id, s.number, s.name, f.started_at, f.started_at + s.seconds * interval '1 s', case when s.number = 1 then f.results else 0 end
  from build_facts f
  join (values (1, 0, 'compile', 500), (1, 1, 'test', 100), (2, 0, 'compile', 300), (2, 1, 'test', 900),
               (3, 0, 'compile', 300), (3, 1, 'test', 300), (4, 0, 'compile', 300), (4, 1, 'test', 300)) s (build, number, name, seconds)
    on s.build = f.build_id;
insert into step_days (builder_id, day, name, runs, bad, seconds, lock_wait, spans)
select 1, date_trunc('day', f.complete_at, 'UTC'), s.name, count(*), count(*) filter (where s.results = 2),
       sum(extract(epoch from s.complete_at - s.started_at)), 0, array[(54 << 24) + count(*)::int]
  from steps s join build_facts f using (build_id) group by 2, 3;
insert into step_days (builder_id, day, name, runs, bad, seconds, lock_wait, spans)
select 2, d, 'package', 10, 0, 10 * case when d < '2026-02-24 00:00Z' then 10 else 20 end + n, 0, array[(33 << 24) + 10]
  from unnest(array['2026-02-20 00:00Z', '2026-02-21 00:00Z', '2026-02-22 00:00Z', '2026-02-23 00:00Z',
                    '2026-02-24 00:00Z', '2026-02-25 00:00Z', '2026-02-26 00:00Z', '2026-02-27 00:00Z']::timestamptz[],
              array[1, -1, 1, -1, 1, -1, 1, -1]) u (d, n);
insert into step_months
select builder_id, date_trunc('month', day, 'UTC'), name, sum(runs), sum(bad), sum(seconds), 0, report.histogram_sum(spans)
  from step_days group by 1, 2, 3;
insert into step_statistics values (1, 0, 'warnings', 3), (3, 0, 'warnings', 5), (3, 0, 'size', 100);
insert into statistic_days values
    (1, 'warnings', '2026-03-02 00:00Z', 'compile', 2, 8, 3, 5, 5, '2026-03-02 13:00Z', 3),
    (1, 'size', '2026-03-02 00:00Z', 'compile', 1, 100, 100, 100, 100, '2026-03-02 13:00Z', 3);

insert into request_facts (request_id, complete_at, buildset_id, builder_id, priority, scheduler, reason, submitted_at, claimed_at,
                           results, attempts, collapsed_into, worker_wait, lock_wait, back_off, why)
values (1, '2026-03-02 10:00Z', 1, 1, 0, 's', 'r', '2026-03-02 09:00Z', '2026-03-02 09:01Z', 0, 1, null, '60 s', '0', '0', 'worker'),
       (2, '2026-03-02 11:00Z', 2, 1, 0, 's', 'r', '2026-03-02 10:00Z', '2026-03-02 10:01Z', 2, 1, null, '0', '90 s', '0', 'lock'),
       (8, '2026-03-02 11:00Z', 2, 1, 0, 's', 'r', '2026-03-02 10:00Z', null, 3, 0, 2, '0', '0', '0', null);
insert into request_months values (1, '2026-03-01 00:00Z', 3, 1, 2, 1, 1, 0, 60, 90, 0);
insert into lock_wait_facts (ended_at, since, lock_id, builder_id, request_id)
values ('2026-03-02 10:00:30Z', '2026-03-02 10:00Z', 1, 1, 1), ('2026-03-02 10:00:10Z', '2026-03-02 10:00Z', 1, 1, 2);

insert into test_names (hash, name) values ('a', 'net::retries'), ('b', 'io::reads');
insert into test_sets (build_id, step, name, builder_id, line, sources, complete_at)
select b, 1, 'unit', 1, '11111111-1111-1111-1111-111111111111', gen_random_uuid(), at::timestamptz
  from (values (1, '2026-03-02 10:00Z'), (2, '2026-03-02 11:00Z'), (4, '2026-03-03 10:00Z')) x (b, at);
insert into test_results values
    (1, 0, 1, 1, '2026-03-02 10:00Z', 'passed', 2, null), (2, 0, 1, 1, '2026-03-02 11:00Z', 'failed', 3, 'no'),
    (2, 1, 1, 1, '2026-03-02 11:00Z', 'skipped', null, null), (3, 0, 1, 2, '2026-03-03 10:00Z', 'failed', 1.5, 'no');
insert into test_flakes values
    (1, 1, '2026-03-02 11:00Z', '11111111-1111-1111-1111-111111111111', 'bbb', 1, 2),
    (1, 1, '2026-02-01 00:00Z', '11111111-1111-1111-1111-111111111111', 'aaa', 91, 92);
insert into test_states values
    (2, 1, '11111111-1111-1111-1111-111111111111', true, '2026-03-03 10:00Z', 4, 3, '2026-03-03 10:00Z'),
    (1, 1, '11111111-1111-1111-1111-111111111111', false, '2026-03-02 11:00Z', 2, null, '2026-03-02 13:00Z');

insert into destinations (kind, name) values ('mail', 'relay:25');
insert into deliveries (xid, event_id, at, reporter, generator, moment, revision_id, builder_id, build_id, destination_id, address,
                        state, planned_at, attempts, ended_at, expires_at)
select 1, n, '2026-03-02 10:00Z', 'mail', 0, 'end', 1, 1, 1, d.id, 'a@b', s, '2026-03-02 10:00Z', 1,
       case when s <> 'due' then '2026-03-02 10:00:05Z'::timestamptz end, '2026-03-05 10:00Z'
  from destinations d, unnest(array['sent', 'parked', 'due']) with ordinality u (s, n);
";
