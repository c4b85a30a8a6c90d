//! A history of builds, made of rows, and what must hold of its facts and sums.

use super::{project, sql, worker};
use tidemill_schema::Db;
use tidemill_schema::facts::backfill::Sweep;
use tidemill_schema::facts::{Pass, follow};
use tidemill_schema::testing::TestDb;

/// A history of so many builds, a minute apart, of ten builders on three branches; every
/// fifth fails, some are lost and tried again.
pub async fn history(t: &TestDb, builds: i64) {
    let names: Vec<String> = (1..=10).map(|n| format!("b{n}")).collect();
    project(&t.db, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    sql(
        t,
        "insert into projects (name, public) values ('open', true), ('closed', false);
         update builders set project = case when id % 3 = 0 then 'closed' when id % 3 = 1 then 'open' else '' end",
    )
    .await;
    worker(&t.db, "w").await;
    more_history(&t.db, 1, builds).await;
    sql(t, "analyze").await;
}

/// The builds of requests `from` to `to`, after those before.
pub async fn more_history(db: &Db, from: i64, to: i64) {
    sqlx::query(
        "with stamps as (
             insert into sourcestamps (hash, codebase, repository, project, branch, revision)
             select sha256(n::text::bytea), '', 'r', '', 'branch' || n % 3, 'r' || n from generate_series($1, $2) n
             returning id
         ), heads as (
             insert into changes (author, comments, files, branch, revision, repository, project, codebase, sourcestamp_id,
                                  received_at)
             select 'a' || n % 7, '', '{}', 'branch' || n % 3, 'r' || n, 'r', '', '', n,
                    '2026-01-01'::timestamptz + n * interval '1 minute'
               from generate_series($1, $2) n
             returning id
         ), sets as (
             insert into buildsets (reason, scheduler, submitted_at, complete_at, results)
             select 'because', 's', '2026-01-01'::timestamptz + n * interval '1 minute', '2026-01-02', 0
               from generate_series($1, $2) n
             returning id
         ), linked as (
             insert into buildset_sourcestamps select n, n from generate_series($1, $2) n
         ), led as (
             insert into buildset_changes select n, n from generate_series($1, $2) n
         ), requests as (
             insert into build_requests (buildset_id, builder_id, submitted_at, complete_at, results)
             select n, 1 + n % 10, '2026-01-01'::timestamptz + n * interval '1 minute',
                    '2026-01-01'::timestamptz + n * interval '1 minute' + interval '2 hours', 0
               from generate_series($1, $2) n
         ), made as (
             insert into builds (id, builder_id, number, request_id, worker_id, session_id, poll, attempt, token, revision_id,
                                 settings_id, state, started_at, complete_at, results)
             select 2 * n + a, 1 + n % 10, 2 * n + a, n, 1, 1, 1, 1 + a, '', 1, 1, 'finished', k.at,
                    k.at + (10 + hashint8(n) % 7) * interval '1 minute',
                    case when a = 0 and n % 11 = 0 then 5 when hashint8(n) % 5 = 0 then 2 when n % 13 = 0 then 4
                         when n % 17 = 0 then 6 when n % 19 = 0 then 1 else 0 end
               from generate_series($1, $2) n, generate_series(0, 1) a,
                    lateral (select '2026-01-01'::timestamptz + n * interval '1 minute' + (5 + a * 30) * interval '1 second') k(at)
              where a = 0 or n % 11 = 0
             returning id, started_at, complete_at, results
         ), stepped as (
             insert into steps (build_id, number, name, started_at, complete_at, results, lock_wait)
             select id, s, 'step' || s, started_at, started_at + s * interval '1.5 seconds',
                    case when s = 5 then results else 0 end, case when s = 2 then interval '3 seconds' end
               from made, generate_series(1, 5) s
         ), counted as (
             insert into step_statistics (build_id, step, name, value)
             select id, s, 'warnings', id % 5 + s from made, generate_series(2, 3) s where id % 4 = 0
         ), logged as (
             insert into logs (build_id, number, step, name, slug, kind, complete, bytes)
             select id, 1, 1, 'stdio', 'stdio', 's', true, 1000 from made
         )
         select count(*) from stamps",
    )
    .bind(from)
    .bind(to)
    .execute(db.pool())
    .await
    .unwrap();
}

pub async fn follow_all(t: &TestDb) -> usize {
    let (mut sweep, mut stored) = (Sweep::default(), 0);
    loop {
        let pass: Pass = follow(&t.db, &mut sweep).await.unwrap();
        stored += pass.builds;
        if !pass.full && !pass.behind {
            return stored;
        }
    }
}

/// What the sums say and what the facts say, where they differ.
pub async fn sums_agree(t: &TestDb) {
    for (table, at) in [("build_hours", "hour"), ("build_days", "day")] {
        let differ = format!(
            "with f as (
                 select builder_id, date_trunc('{at}', complete_at, 'UTC') as at, count(*) as builds,
                        count(*) filter (where results = 0) as success, count(*) filter (where results = 2) as failure,
                        count(*) filter (where results = 5) as retry, count(*) filter (where turn = 'broke') as broke,
                        count(*) filter (where turn = 'fixed') as fixed, sum(log_bytes) as log_bytes,
                        sum(extract(epoch from complete_at - started_at))::float8 as seconds
                   from build_facts group by 1, 2)
             select coalesce(string_agg(f::text || ' but ' || s::text, '; '), '') from f full join {table} s on s.builder_id = f.builder_id and s.{at} = f.at
              where (f.builds, f.success, f.failure, f.retry, f.broke, f.fixed, f.log_bytes)
                    is distinct from (s.builds, s.success, s.failure, s.retry, s.broke, s.fixed, s.log_bytes)
                 or abs(f.seconds - s.seconds) > 0.001
                 or (select sum(x & 16777215) from unnest(s.spans) x) <> f.builds
                 or (select sum(x & 16777215) from unnest(s.waits) x) <> f.builds"
        );
        let differ: String = sqlx::query_scalar(sqlx::AssertSqlSafe(differ)).fetch_one(t.db.pool()).await.unwrap();
        assert_eq!(differ, "", "{table}");
    }
    for (what, differ) in SUMS {
        let differ = format!("select count(*) from ({differ}) differ");
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(differ)).fetch_one(t.db.pool()).await.unwrap();
        assert_eq!(rows, 0, "{what}");
    }
}

/// Rows in which sums differ from what they are made of.
const SUMS: &[(&str, &str)] = &[
    (
        "leads of days",
        "select from build_days d full join (
             select builder_id, date_trunc('day', complete_at, 'UTC') as day, count(*) as led, sum(changes) as led_changes,
                    max(extract(epoch from complete_at - first_change_at))::float8 as longest_lead
               from build_facts where results in (0, 1) and first_change_at is not null group by 1, 2) f using (builder_id, day)
          where (coalesce(f.led, 0), coalesce(f.led_changes, 0)) is distinct from (d.led, d.led_changes)
             or abs(coalesce(f.longest_lead, 0) - d.longest_lead) > 0.001
             or (select coalesce(sum(x & 16777215), 0) from unnest(d.leads) x) <> d.led",
    ),
    (
        "months of builds",
        "select from build_months m full join (
             select builder_id, date_trunc('month', day, 'UTC') as month, sum(builds) as builds, sum(success) as success,
                    sum(failure) as failure, sum(cancelled) as cancelled, sum(broke) as broke, sum(fixed) as fixed,
                    sum(log_bytes) as log_bytes, sum(led) as led, sum(led_changes) as led_changes,
                    max(longest_lead) as longest_lead, sum(seconds) as seconds, sum(waited) as waited
               from build_days group by 1, 2) d using (builder_id, month)
          where (d.builds, d.success, d.failure, d.cancelled, d.broke, d.fixed, d.log_bytes, d.led, d.led_changes, d.longest_lead)
                is distinct from
                (m.builds, m.success, m.failure, m.cancelled, m.broke, m.fixed, m.log_bytes, m.led, m.led_changes, m.longest_lead)
             or abs(d.seconds - m.seconds) > 0.001 or abs(d.waited - m.waited) > 0.001
             or (select sum(x & 16777215) from unnest(m.spans) x) <> m.builds
             or (select coalesce(sum(x & 16777215), 0) from unnest(m.leads) x) <> m.led",
    ),
    (
        "totals of days",
        "select from total_days t full join (
             select coalesce(p.name, '') as project, d.day, sum(d.builds) as builds, sum(d.failure) as failure,
                    sum(d.log_bytes) as log_bytes, sum(d.led) as led, sum(d.seconds) as seconds
               from build_days d join builders b on b.id = d.builder_id
               left join projects p on p.name = b.project and not p.public group by 1, 2) d using (project, day)
          where (d.builds, d.failure, d.log_bytes, d.led) is distinct from (t.builds, t.failure, t.log_bytes, t.led)
             or abs(d.seconds - t.seconds) > 0.001 or (select sum(x & 16777215) from unnest(t.waits) x) <> t.builds",
    ),
    (
        "totals of hours",
        "select from total_days t full join (
             select project, date_trunc('day', hour, 'UTC') as day, sum(builds) as builds, sum(broke) as broke, sum(waited) as waited
               from total_hours group by 1, 2) h using (project, day)
          where (h.builds, h.broke) is distinct from (t.builds, t.broke) or abs(h.waited - t.waited) > 0.001",
    ),
    (
        "months of branches",
        "select from (select f.builder_id::text || date_trunc('month', f.complete_at, 'UTC') || coalesce(f.branch, ' none') as key,
                             count(*) as builds, count(*) filter (where results < 2) as good,
                             count(*) filter (where results = 2) as failed, max(complete_at) as last_at,
                             max(complete_at) filter (where results < 2) as good_at,
                             max(complete_at) filter (where results = 2) as failed_at
                        from build_facts f group by 1) f
           full join (select m.*, m.builder_id::text || m.month || coalesce(m.branch, ' none') as key from branch_months m) m using (key)
          where (f.builds, f.good, f.failed, f.last_at, f.good_at, f.failed_at)
                is distinct from (m.builds, m.good, m.failed, m.last_at, m.good_at, m.failed_at)",
    ),
    (
        "months of requests",
        "select from request_months m full join (
             select builder_id, date_trunc('month', complete_at, 'UTC') as month, count(*) as requests,
                    count(collapsed_into) as collapsed, count(*) filter (where s) as started,
                    count(*) filter (where s and why = 'worker') as for_worker, count(*) filter (where s and why = 'lock') as for_lock,
                    count(*) filter (where s and why = 'back-off') as for_back_off,
                    coalesce(sum(extract(epoch from worker_wait + lock_wait + back_off)) filter (where s), 0)::float8 as waited
               from (select *, claimed_at is not null and collapsed_into is null as s from request_facts) f group by 1, 2) f
          using (builder_id, month)
          where (f.requests, f.collapsed, f.started, f.for_worker, f.for_lock, f.for_back_off)
                is distinct from (m.requests, m.collapsed, m.started, m.for_worker, m.for_lock, m.for_back_off)
             or abs(f.waited - m.worker_wait - m.lock_wait - m.back_off) > 0.001",
    ),
    (
        "months of steps",
        "select from step_months m full join (
             select builder_id, date_trunc('month', day, 'UTC') as month, name, sum(runs) as runs, sum(bad) as bad,
                    sum(seconds) as seconds, sum(lock_wait) as lock_wait from step_days group by 1, 2, 3) d
          using (builder_id, month, name)
          where (d.runs, d.bad) is distinct from (m.runs, m.bad) or abs(d.seconds - m.seconds) > 0.001
             or abs(d.lock_wait - m.lock_wait) > 0.001 or (select sum(x & 16777215) from unnest(m.spans) x) <> m.runs",
    ),
    (
        "days of numbers",
        "select from statistic_days d full join (
             select f.builder_id, x.name, date_trunc('day', f.complete_at, 'UTC') as day, s.name as step, count(*) as runs,
                    sum(x.value) as total, min(x.value) as lowest, max(x.value) as highest,
                    (array_agg(x.value order by f.complete_at desc, f.build_id desc, s.number desc))[1] as newest
               from build_facts f join step_statistics x on x.build_id = f.build_id
               join steps s on s.build_id = x.build_id and s.number = x.step group by 1, 2, 3, 4) f
          using (builder_id, name, day, step)
          where (f.runs, f.total, f.lowest, f.highest, f.newest) is distinct from (d.runs, d.total, d.lowest, d.highest, d.newest)",
    ),
    (
        "hours of workers",
        "select where (select count(*) from build_facts) <> (select coalesce(sum(builds), 0) from worker_hours)
             or abs((select coalesce(sum(extract(epoch from complete_at - started_at)), 0)::float8 from build_facts)
                    - (select coalesce(sum(seconds), 0) from worker_hours)) > 0.001",
    ),
    (
        "months of workers",
        "select from worker_months m full join (
             select h.worker_id, date_trunc('month', h.hour, 'UTC') as month, b.project, sum(h.builds) as builds,
                    sum(h.lost) as lost, sum(h.seconds) as seconds
               from worker_hours h join builders b on b.id = h.builder_id group by 1, 2, 3) h using (worker_id, month, project)
          where (h.builds, h.lost) is distinct from (m.builds, m.lost) or abs(h.seconds - m.seconds) > 0.001",
    ),
];
