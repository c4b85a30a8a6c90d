//! Facts that others write: who waited for locks, results of tests; and months that leave.

mod common;

use common::history::history;
use common::*;
use tidemill_schema::facts::facts_backfill;
use tidemill_schema::facts::partitions::{facts_drop, partitions_ensure};
use tidemill_schema::facts::rebuild::sums_rebuild;
use tidemill_schema::facts::test_results::{self, TestResult, TestSet, test_results_store};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;
use time::OffsetDateTime;
use time::macros::datetime;

#[tokio::test]
async fn who_stood_in_line_for_locks_is_known_when_he_goes() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    sql(
        &t,
        "insert into locks (name, kind, capacity) values ('one', 'master', 1), ('two', 'master', 1);
         insert into builds (id, builder_id, number, request_id, worker_id, session_id, poll, attempt, token, revision_id, settings_id)
         values (9, 1, 1, 1, 1, 1, 1, 1, '', 1, 1);
         insert into lock_waiters (builder_id, request_id, accesses, since) values (1, 4, '[]', tidemill_now() - interval '1 hour');
         insert into lock_waiters (build_id, step, worker_id, accesses) values (9, 3, 1, '[]');
         insert into lock_waits (lock_id, ticket) values (1, 1), (2, 1), (2, 2)",
    )
    .await;
    let month: String = scalar(&t, "select to_char(tidemill_now() at time zone 'UTC', 'YYYY_MM')").await;
    // Also where nobody made the month.
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop table if exists lock_wait_facts_{month}")))
        .execute(t.db.pool())
        .await
        .unwrap();
    sql(&t, "delete from lock_waiters").await;
    let rows: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', lock_id, builder_id, 'request', request_id, 'build', build_id, step,
                          date_trunc('hour', ended_at - since + interval '1 second'))
           from lock_wait_facts order by build_id nulls first, lock_id",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    assert_eq!(
        rows,
        ["1 1 request 4 build 01:00:00", "2 1 request 4 build 01:00:00", "2 1 request build 9 3 00:00:00"]
    );
    t.drop().await;
}

#[tokio::test]
async fn a_month_that_was_dropped_does_not_come_back_and_its_sums_stay() {
    let t = TestDb::new().await;
    history(&t, 3_000).await;
    facts_backfill(&t.db, 0).await.unwrap();
    let sums = "select count(*) || ' ' || sum(builds) from build_days";
    let before: String = scalar(&t, sums).await;
    // Who reads meanwhile goes on.
    sql(&t, "create view seen as select f.* from build_facts f").await;
    let dropped = facts_drop(&t.db, datetime!(2026-02-10 00:00 UTC)).await.unwrap();
    assert_eq!(dropped, ["build_facts_2026_01", "request_facts_2026_01"]);
    assert_eq!(facts_drop(&t.db, datetime!(2026-02-10 00:00 UTC)).await.unwrap(), Vec::<String>::new());
    assert_eq!(scalar::<i64>(&t, "select count(*) from seen").await, 0);
    assert_eq!(facts_backfill(&t.db, 0).await.unwrap(), 0);
    assert_eq!(scalar::<i64>(&t, "select count(*) from request_facts").await, 0);
    assert_eq!(scalar::<String>(&t, sums).await, before);
    let refused = sums_rebuild(&t.db, datetime!(2026-01-01 00:00 UTC), datetime!(2026-02-03 00:00 UTC)).await;
    assert!(refused.unwrap_err().to_string().contains("rebuild from that day on"));
    assert_eq!(scalar::<String>(&t, sums).await, before);
    partitions_ensure(&t.db).await.unwrap();
    t.drop().await;
}

#[tokio::test]
async fn a_month_begins_in_utc_whatever_the_time_zone_of_the_session() {
    let t = TestDb::new().await;
    sql(
        &t,
        "set time zone 'America/New_York';
         select facts_partition('test_results', '2026-03-20'), facts_partition('test_results', '2026-04-01 03:59Z'),
                facts_partition('test_results', '2026-10-31 23:59:59Z'), facts_partition('test_results', '2026-11-01 00:00Z');
         insert into test_results (set_id, ordinal, builder_id, name_id, complete_at, result)
         select 1, row_number() over (), 1, 1, at::timestamptz, 'passed'
           from unnest('{2026-03-01 00:00Z, 2026-03-31 23:59:59Z, 2026-04-01 00:00Z, 2026-10-31 23:59:59Z, 2026-11-01 00:00Z}'::text[]) at",
    )
    .await;
    t.drop().await;
}

/// A set of results of a build: names with `!` failed, with `?` were skipped.
fn set(build: i64, at: OffsetDateTime, tests: &[&str]) -> TestSet {
    let result = |name: &&str| TestResult {
        name: name.trim_end_matches(['!', '?']).into(),
        path: "tests/a.py".into(),
        outcome: match name.chars().last() {
            Some('!') => test_results::Outcome::Failed,
            Some('?') => test_results::Outcome::Skipped,
            _ => test_results::Outcome::Passed,
        },
        seconds: Some(0.5),
        message: name.ends_with('!').then(|| "expected\u{0} 1".into()),
    };
    TestSet { build, step: 1, name: "unit".into(), complete_at: Some(at), results: tests.iter().map(result).collect() }
}

#[tokio::test]
async fn results_of_tests_say_what_fails_since_when_and_what_is_flaky() {
    let t = TestDb::new().await;
    // Builds of builder 1 on the branches 1, 2 and 0: of requests 10, 20, 30 and so on.
    history(&t, 400).await;
    let at = |n: i64| datetime!(2026-02-01 00:00 UTC) + time::Duration::hours(n);
    let store = async |sets: &[TestSet]| run_tx!(t.db, "test", |c| test_results_store(c, sets).await).unwrap();
    // Request 10, 40, 70 … are of branch 1; the builds are twice their number.
    let sets = [set(20, at(1), &["a", "b", "c?"]), set(80, at(2), &["a!", "b"]), set(140, at(3), &["a!", "b", "c"])];
    assert_eq!(store(&sets[1..]).await, 2);
    // The same again, and one that comes late.
    assert_eq!(store(&sets).await, 1);
    assert_eq!(store(&sets).await, 0);
    assert_eq!(store(&[set(999_999, at(4), &["a"])]).await, 0, "there is no such build");
    let states = "select string_agg(concat_ws(' ', n.name, s.failing, s.since_build, s.good_build), '; ' order by n.name, s.line)
                    from test_states s join test_names n on n.id = s.name_id";
    assert_eq!(scalar::<String>(&t, states).await, "a t 80");
    // Another branch of the builder, in one batch and out of order.
    let other = [set(100, at(6), &["b!"]), set(40, at(5), &["b", "a"])];
    assert_eq!(store(&other).await, 2);
    assert_eq!(store(&[set(200, at(7), &["a", "b!"])]).await, 1);
    let all = scalar::<String>(&t, states).await;
    let mut all: Vec<&str> = all.split("; ").collect();
    all.sort_unstable();
    assert_eq!(all, ["a f 200", "b t 100 40", "b t 200 140"]);
    // Attempts of one request have the same sources: 110 was lost and tried again as 221.
    assert_eq!(store(&[set(220, at(8), &["f!", "b"]), set(221, at(9), &["f", "b"])]).await, 2);
    assert_eq!(store(&[set(222, at(10), &["f!"])]).await, 1);
    let flakes =
        "select string_agg(concat_ws(' ', n.name, f.passed_build, f.failed_build, f.revision), '; ' order by f.at)
                    from test_flakes f join test_names n on n.id = f.name_id";
    assert_eq!(scalar::<String>(&t, flakes).await, "f 221 220 r110");
    let stored = "select count(*) || ' ' || count(distinct name_id) || ' ' || count(message) from test_results";
    assert_eq!(scalar::<String>(&t, stored).await, "18 4 6");
    t.drop().await;
}
