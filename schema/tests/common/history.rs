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
    let busy: (f64, f64) = sqlx::query_as(
        "select (select coalesce(sum(extract(epoch from complete_at - started_at)), 0)::float8 from build_facts),
                (select coalesce(sum(seconds), 0) from worker_hours)",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert!((busy.0 - busy.1).abs() < 0.001, "{busy:?}");
    let builds: (i64, i64) = sqlx::query_as(
        "select (select count(*) from build_facts), (select coalesce(sum(builds), 0)::bigint from worker_hours)",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(builds.0, builds.1);
}
