//! Each report on an empty history, and on a small one whose answers are known.

mod history;

use history::HISTORY;
use std::time::Duration;
use tidemill_schema::Db;
use tidemill_schema::testing::TestDb;
use tidemill_sql::format::Format;
use tidemill_sql::report::{Bounds, Error, Report, Reports, Table, Values, built_in, run};
use time::macros::datetime;

const BOUNDS: Bounds = Bounds { rows: 1000, time: Duration::from_secs(30) };
const NOW: time::OffsetDateTime = datetime!(2026-03-04 00:00 UTC);

async fn ask(db: &Db, report: &Report, given: &[(&str, &str)], bounds: Bounds) -> Result<Table, Error> {
    let values = Values::read(&report.head.parameters, given.iter().copied(), NOW).expect("the values fit");
    run(db, report, &values, bounds).await
}

async fn history() -> TestDb {
    let t = tidemill_sql::testing::db().await;
    sqlx::raw_sql(HISTORY).execute(t.db.pool()).await.expect("the history fits the tables");
    t
}

/// Rows of a report as CSV, of these columns only.
async fn rows(db: &Db, name: &str, given: &[(&str, &str)], columns: &[&str]) -> Vec<String> {
    let all = Reports::load(None);
    let table = ask(db, all.find(name).unwrap(), given, BOUNDS).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    let at: Vec<usize> =
        columns.iter().map(|c| table.column(c).unwrap_or_else(|| panic!("{name} has no {c}"))).collect();
    let report = all.find(name).unwrap();
    let values = Values::read(&report.head.parameters, [], NOW).unwrap();
    let cut = Table {
        columns: at.iter().map(|n| table.columns[*n].clone()).collect(),
        rows: table.rows.iter().map(|row| at.iter().map(|n| row[*n].clone()).collect()).collect(),
        more: table.more,
    };
    let csv = Format::Csv.write(report, &values, &cut, None);
    csv.lines().skip(1).map(|l| l.replace("T00:00:00Z", "").replace(":00Z", "")).collect()
}

#[tokio::test]
async fn each_report_gives_its_columns_in_every_format_also_of_nothing() {
    let (empty, full) = (tidemill_sql::testing::db().await, history().await);
    for report in built_in() {
        for t in [&empty, &full] {
            let table = ask(&t.db, report, &[], BOUNDS).await.unwrap_or_else(|e| panic!("{}: {e}", report.name));
            let told: Vec<&str> = report.head.columns.iter().map(|c| c.name.as_str()).collect();
            let given: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
            assert_eq!(given, told, "{}", report.name);
            let values = Values::read(&report.head.parameters, [], NOW).unwrap();
            for (name, format) in Format::ALL {
                assert!(!format.write(report, &values, &table, None).is_empty(), "{} as {name}", report.name);
            }
            // What is offered to be copied runs as it is.
            sqlx::raw_sql(sqlx::AssertSqlSafe(report.sql_to_copy(&values)))
                .execute(t.db.pool())
                .await
                .unwrap_or_else(|e| panic!("{}: {e}", report.name));
        }
        let filters = ["builder", "project", "branch", "worker"].map(|name| (name, "nobody's"));
        let filters: Vec<_> =
            filters.into_iter().filter(|(n, _)| report.head.parameters.iter().any(|p| p.name == *n)).collect();
        for filter in filters {
            let table = ask(&full.db, report, &[filter], BOUNDS).await.unwrap();
            let none = table.rows.is_empty() || report.name == "retention-forecast";
            assert!(none, "{} with {filter:?}", report.name);
        }
        assert!(!ask(&full.db, report, &[], BOUNDS).await.unwrap().rows.is_empty(), "{} is empty", report.name);
    }
    empty.drop().await;
    full.drop().await;
}

#[tokio::test]
async fn health_and_trend_say_what_was_built() {
    let t = history().await;
    let db = &t.db;
    let march = [("since", "2026-03-01"), ("recent", "2026-03-03")];
    assert_eq!(
        rows(db, "builder-health", &march, &["builder", "builds", "success_rate", "rate_before", "rate_recent"]).await,
        ["linux,4,50,66.66666666666667,0", "mac,2,,,"]
    );
    assert_eq!(
        rows(db, "builder-trend", &march[..1], &["period", "builds", "good", "failed", "mean_seconds"]).await,
        ["2026-02-23,0,0,0,", "2026-03-02,6,2,2,560"][1..]
    );
    assert_eq!(
        rows(db, "builder-trend", &[march[0], ("every", "day"), ("builder", "linux")], &["period", "builds"]).await,
        ["2026-03-02,3", "2026-03-03,1"]
    );
    assert_eq!(
        rows(db, "failures-by-kind", &march[..1], &["period", "good", "tests", "infrastructure", "lost"]).await,
        ["2026-03-02,2,1,0,1", "2026-03-03,0,1,1,0"]
    );
    assert_eq!(
        rows(db, "branch-health", &[], &["branch", "builders", "builds", "success_rate", "red_builders"]).await,
        ["main,1,4,50,1", "main,1,2,,0"]
    );
    assert_eq!(rows(db, "failing-steps", &march[..1], &["builder", "step", "runs", "bad"]).await, ["linux,test,4,2"]);
    assert_eq!(
        rows(db, "statistics-trend", &[], &["period", "runs", "mean", "highest", "newest"]).await,
        ["2026-03-02,2,4,5,5"]
    );
    for exactly in [("branch", "main"), ("every", "hour")] {
        let all = rows(db, "statistics-trend", &[exactly], &["runs", "highest", "newest"]).await;
        assert_eq!(all.last().map(|r| r.rsplit_once(',').expect("a row").1), Some("5"), "{exactly:?}: {all:?}");
    }
    t.drop().await;
}

#[tokio::test]
async fn what_is_slow_and_became_slower_is_named_with_the_change() {
    let t = history().await;
    let db = &t.db;
    assert_eq!(
        rows(
            db,
            "slowest-builds",
            &[("limit", "2")],
            &["builder", "number", "seconds", "slowest_step", "slowest_step_seconds"]
        )
        .await,
        ["linux,2,1200,test,900", "linux,1,600,compile,500"]
    );
    assert_eq!(
        rows(
            db,
            "slowest-steps",
            &[("since", "2026-03-01")],
            &["builder", "step", "runs", "total_seconds", "mean_seconds"]
        )
        .await,
        ["linux,test,4,1600,400", "linux,compile,4,1400,350"]
    );
    let slower = rows(
        db,
        "slower-steps",
        &[("until", "2026-03-01")],
        &[
            "builder",
            "step",
            "slower_since",
            "before_seconds",
            "after_seconds",
            "runs_after",
            "extra_seconds",
            "changes",
        ],
    );
    assert_eq!(slower.await, ["mac,package,2026-02-24,10,20,40,400,cyd 0ddc0ffee"]);
    t.drop().await;
}

/// Sums outlast facts, and count builds that not everybody sees.
#[tokio::test]
async fn what_sums_tell_of_and_is_not_there_takes_no_row_from_what_is() {
    let t = history().await;
    let db = &t.db;
    let slowest = [("since", "2026-03-01"), ("limit", "2")];
    let broken = [("since", "2026-03-01"), ("limit", "2")];
    let ask = async || {
        let slowest = rows(db, "slowest-builds", &slowest, &["builder", "number", "seconds"]).await;
        (slowest, rows(db, "breakages", &broken, &["builder", "number", "fixed_number"]).await)
    };
    let before = ask().await;
    assert_eq!(before.0, ["linux,2,1200", "linux,1,600"]);
    assert_eq!(before.1, ["linux,4,", "linux,2,3"]);
    // First of what there is, then of what there is not: longer than any, and on the last day.
    for (spans, broke) in [("(56 << 24) + 1000", 0), ("(99 << 24) + 1000", 1000)] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "update total_days set spans = array[{spans}], broke = case when day = '2026-03-03 00:00Z' then {broke} else broke end"
        )))
        .execute(db.pool())
        .await
        .expect("sums of other builds");
        assert_eq!(ask().await, before, "{spans}");
    }
    t.drop().await;
}

#[tokio::test]
async fn breakages_have_who_broke_who_fixed_and_how_long() {
    let t = history().await;
    let db = &t.db;
    let columns =
        ["broke_at", "builder", "number", "failed_step", "blamed", "fixed_number", "fixed_by", "repair_seconds"];
    assert_eq!(
        rows(db, "breakages", &[], &columns).await,
        ["2026-03-03T10:00,linux,4,test,bob,,,", "2026-03-02T11:00,linux,2,test,ann,3,bob,7200"]
    );
    assert_eq!(
        rows(db, "time-to-repair", &[], &["builder", "breakages", "repaired", "still_broken", "median_repair_seconds"])
            .await,
        ["linux,2,1,1,7200"]
    );
    assert_eq!(
        rows(
            db,
            "failure-rate",
            &[("since", "2026-03-01")],
            &["period", "verdicts", "failed", "broke", "fixed", "failure_rate"]
        )
        .await,
        ["2026-03-02,4,2,2,1,50"]
    );
    assert_eq!(
        rows(db, "lead-time", &[], &["period", "builds", "changes", "median_seconds", "longest_seconds"]).await,
        // From a histogram: the end of the bucket in which an hour lies.
        ["2026-03-02,2,2,4096,7200"]
    );
    let main = ("branch", "main");
    assert_eq!(
        rows(db, "lead-time", &[main], &["period", "builds", "changes", "median_seconds", "longest_seconds"]).await,
        ["2026-03-02,2,2,5400,7200"]
    );
    t.drop().await;
}

#[tokio::test]
async fn queues_workers_and_costs_add_up() {
    let t = history().await;
    let db = &t.db;
    let since = ("since", "2026-03-01");
    assert_eq!(
        rows(db, "queue-waits", &[since], &["builder", "builds", "mean_wait_seconds", "waited_seconds"]).await,
        ["linux,4,90,360", "mac,2,15,30"]
    );
    assert_eq!(
        rows(db, "queue-hours", &[since], &["weekday", "hour", "builds", "mean_wait_seconds"]).await,
        ["1 Mon,10,1,60", "1 Mon,11,1,120", "1 Mon,12,1,30", "1 Mon,13,1,60", "2 Tue,10,1,120", "2 Tue,12,1,0"]
    );
    assert_eq!(
        rows(db, "busiest-hours", &[since], &["weekday", "hour", "builds", "seconds"]).await[1],
        "1 Mon,11,1,1200"
    );
    assert_eq!(
        rows(
            db,
            "queue-reasons",
            &[],
            &["builder", "requests", "for_workers", "for_locks", "for_back_off", "worker_seconds", "lock_seconds"]
        )
        .await,
        ["linux,2,1,1,0,60,90"]
    );
    assert_eq!(
        rows(
            db,
            "collapse-savings",
            &[],
            &["builder", "requests", "collapsed", "share", "mean_seconds", "saved_seconds"]
        )
        .await,
        ["linux,3,1,33.333333333333336,750,750"]
    );
    assert_eq!(
        rows(
            db,
            "lock-waits",
            &[],
            &["lock", "waits", "builders", "waited_seconds", "median_seconds", "longest_seconds"]
        )
        .await,
        ["disk,2,1,40,20,30"]
    );
    assert_eq!(
        rows(
            db,
            "worker-use",
            &[("since", "2026-03-02")],
            &["worker", "builds", "lost", "slot_seconds", "busy_seconds", "use", "cost", "idle_cost"]
        )
        .await,
        ["w1,4,0,144000,3000,2.0833333333333335,20,19.583333333333332", "w2,2,1,36000,360,1,,"]
    );
    assert_eq!(
        rows(db, "retries", &[], &["worker", "lost", "builders", "lost_seconds", "cost", "last_lost"]).await,
        ["w2,1,1,300,,2026-03-02T12:00"]
    );
    let cost = ["name", "builds", "hours", "cost", "share", "cost_before"];
    let march = [("since", "2026-03-02"), ("price", "10")];
    assert_eq!(
        rows(db, "costs", &march, &cost).await,
        [",2,0.1,1,70.58823529411764,0", "app,4,0.8333333333333334,0.4166666666666667,29.411764705882355,0"]
    );
    assert_eq!(rows(db, "costs", &[march[0], ("by", "worker")], &["name", "builds"]).await, ["w1,4", "w2,2"]);
    t.drop().await;
}

#[tokio::test]
async fn tests_logs_and_notices_are_counted() {
    let t = history().await;
    let db = &t.db;
    assert_eq!(
        rows(db, "flaky-tests", &[], &["test", "builder", "flakes", "runs", "flake_rate", "failures", "flaky_since"])
            .await,
        ["net::retries,linux,1,2,50,1,2026-02-01"]
    );
    assert_eq!(
        rows(
            db,
            "test-first-bad",
            &[],
            &["test", "builder", "failing_since", "number", "revision", "good_number", "changes"]
        )
        .await,
        ["io::reads,linux,2026-03-03T10:00,4,ddd,3,bob ddd"]
    );
    assert_eq!(
        rows(db, "slowest-tests", &[], &["test", "runs", "total_seconds", "longest_seconds", "failures"]).await,
        ["net::retries,2,5,3,1", "io::reads,1,1.5,1.5,1"]
    );
    assert_eq!(
        rows(db, "log-growth", &[("since", "2026-03-01")], &["period", "log_bytes", "builds", "bytes_per_build"]).await,
        ["2026-03-02,6000,6,1000"]
    );
    assert_eq!(
        rows(db, "loudest-builders", &[], &["builder", "builds", "log_bytes", "share"]).await,
        ["linux,4,4000,66.66666666666667", "mac,2,2000,33.333333333333336"]
    );
    // Two days of 4000 and 2000 bytes: the line goes down to nothing the day after.
    assert_eq!(
        rows(
            db,
            "retention-forecast",
            &[("since", "2026-03-02"), ("ahead", "1")],
            &["keep_days", "now_bytes", "forecast_bytes", "trend_bytes_per_day"]
        )
        .await[..2],
        ["7,6000,6000,-2000", "30,6000,6000,-2000"]
    );
    assert_eq!(
        rows(db, "retention-forecast", &[("since", "2026-03-02"), ("ahead", "6")], &["keep_days", "forecast_bytes"])
            .await[..2],
        ["7,2000", "30,6000"]
    );
    assert_eq!(
        rows(
            db,
            "notices-sent",
            &[],
            &["reporter", "kind", "notices", "sent", "given_up", "waiting", "median_seconds"]
        )
        .await,
        ["mail,mail,3,1,1,1,5"]
    );
    t.drop().await;
}

/// An own report.
fn own(sql: &str) -> Report {
    let text = format!("-- title: x\n-- question: y?\n\n{sql}\n");
    Report::parse("own", "own.sql", &text, false).unwrap()
}

#[tokio::test]
async fn a_report_reads_only_within_its_time_and_its_rows_and_its_mistakes_have_lines() {
    let t = history().await;
    let said = async |sql: &str, bounds: Bounds| ask(&t.db, &own(sql), &[], bounds).await.unwrap_err().to_string();
    for (sql, part) in [
        ("select builder,\n  numbr\nfrom report.build_facts", "own.sql:5: column \"numbr\" does not exist"),
        ("select 1 +", "own.sql:4: syntax error"),
        ("select 1; select 2", "own.sql:4: cannot insert multiple commands"),
        ("select 1 as a, 2 as a", "own.sql:4: the query gives two columns `a`"),
        ("select * from (values (1)) x) y, (select 1", "own.sql:4: syntax error"),
        ("select 1 / (number - number) from report.build_facts", "division by zero"),
    ] {
        let said = said(sql, BOUNDS).await;
        assert!(said.contains(part), "{sql}: {said}");
    }
    // Nothing is written, whatever the role might.
    for sql in [
        "select set_config('transaction_read_only', 'off', true), nextval('builds_id_seq')",
        "with gone as (delete from public.build_facts returning 1) select * from gone",
        "select facts_partition('build_facts', now() + interval '9 years') is null",
    ] {
        let error = ask(
            &t.db,
            &own(&sql.replace("facts_partition", "public.facts_partition").replace("'builds_id", "'public.builds_id")),
            &[],
            BOUNDS,
        )
        .await;
        assert!(error.is_err(), "{sql}");
    }
    let short = Bounds { time: Duration::from_millis(50), ..BOUNDS };
    assert!(matches!(ask(&t.db, &own("select pg_sleep(20)::text as x"), &[], short).await, Err(Error::TooSlow(_))));
    let few = Bounds { rows: 3, ..BOUNDS };
    let table = ask(&t.db, &own("select n from generate_series(1, 4) n order by n desc"), &[], few).await.unwrap();
    assert_eq!((table.rows.len(), table.more), (3, true));
    let table = ask(&t.db, &own("select n from generate_series(1, 3) n"), &[], few).await.unwrap();
    assert_eq!((table.rows.len(), table.more), (3, false));
    t.drop().await;
}

#[tokio::test]
async fn every_type_of_postgres_becomes_a_cell() {
    let t = tidemill_sql::testing::db().await;
    let report = own(
        "select 1::smallint as a, 2.5::numeric as b, '1 min'::interval as c, date '2026-01-02' as d, null::text as e,
                array['x', 'y'] as f, '{\"k\": 1}'::jsonb as g, true as h, 'x'::name as i, '{}'::uuid[] as j, null as k",
    );
    let table = ask(&t.db, &report, &[], BOUNDS).await.unwrap();
    let values = Values::read(&[], [], NOW).unwrap();
    let csv = Format::Csv.write(&report, &values, &table, None);
    assert_eq!(csv.lines().nth(1).unwrap(), "1,2.5,60,2026-01-02T00:00:00Z,,\"{x,y}\",\"{\"\"k\"\": 1}\",true,x,{},");
    t.drop().await;
}

#[tokio::test]
async fn without_the_views_a_report_says_what_to_do() {
    let t = TestDb::new().await;
    let error = ask(&t.db, &built_in()[0], &[], BOUNDS).await.unwrap_err();
    assert!(matches!(error, Error::NoViews) && error.to_string().contains("tidemill migrate"));
    t.drop().await;
}
