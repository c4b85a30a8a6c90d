//! What reports read to answer: only months of the time asked for, by their indexes
//! where that is a part of them, and no table of raw rows from end to end.

use super::{History, full, now, values};
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection};
use tidemill_sql::report::{Report, built_in};
use tidemill_tests::history::DAY;
use tidemill_tests::history::expected::Asked;

/// Tables that are cut by month.
const CUT: [&str; 4] = ["build_facts", "request_facts", "lock_wait_facts", "test_results"];

/// Tables that grow with history, and are not cut. Not deliveries: they are kept for 30 days, of
/// which a report on notices wants a good part.
const RAW: [&str; 17] = [
    "builds",
    "steps",
    "step_statistics",
    "logs",
    "build_requests",
    "buildsets",
    "buildset_changes",
    "changes",
    "build_hours",
    "worker_hours",
    "step_days",
    "build_days",
    "statistic_days",
    "build_months",
    "branch_months",
    "request_months",
    "step_months",
];

/// A table that a plan reads, and whether from end to end.
struct Scan {
    table: String,
    whole: bool,
}

/// Scans of the plan for these values.
async fn scans(c: &mut PgConnection, report: &Report, asked: &Asked) -> Vec<Scan> {
    explained(c, "format json", report, asked).await
}

/// Those that were done when it ran.
async fn scans_done(c: &mut PgConnection, report: &Report, asked: &Asked) -> Vec<Scan> {
    explained(c, "analyze, timing off, format json", report, asked).await
}

async fn explained(c: &mut PgConnection, how: &str, report: &Report, asked: &Asked) -> Vec<Scan> {
    let statement = format!("explain ({how}) {}", report.sql_to_copy(&values(report, asked)));
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(c)
        .await
        .unwrap_or_else(|e| panic!("{}: {e}", report.name));
    let mut found = Vec::new();
    walk(&plan[0]["Plan"], &mut found);
    found
}

fn walk(node: &Value, found: &mut Vec<Scan>) {
    if node["Actual Loops"].as_f64() == Some(0.0) {
        return;
    }
    if let Some(table) = node["Relation Name"].as_str() {
        found.push(Scan { table: table.to_owned(), whole: node["Node Type"] == "Seq Scan" });
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        walk(child, found);
    }
}

/// The month of a partition such as build_facts_2026_01.
fn month(table: &str) -> Option<&str> {
    CUT.iter().find_map(|cut| table.strip_prefix(cut)?.strip_prefix('_'))
}

/// Months that a time touches, as partitions name them.
async fn months(c: &mut PgConnection, from: i64, until: i64) -> Vec<String> {
    sqlx::query_scalar(
        "select to_char(m, 'YYYY_MM') from generate_series(date_trunc('month', to_timestamp($1 / 1e6) at time zone 'UTC'),
                                                          to_timestamp($2 / 1e6) at time zone 'UTC', interval '1 month') m",
    )
    .bind(from)
    .bind(until)
    .fetch_all(c)
    .await
    .expect("months")
}

#[tokio::test]
async fn a_report_reads_the_months_that_it_is_asked_for_and_no_others() {
    let history = History::get().await;
    let db = history.db().await;
    let mut c = db.pool().acquire().await.expect("a connection");
    let end = history.truth.shape.end;
    let (from, until) = (end - 50 * DAY, end - 43 * DAY);
    let asked = Asked::of(from, until, now());
    let allowed = months(&mut c, from, until).await;
    let mut wrong = Vec::new();
    for report in built_in() {
        for scan in scans_done(&mut c, report, &asked).await {
            if month(&scan.table).is_some_and(|m| !allowed.iter().any(|a| a == m))
                && !ALL_MONTHS.contains(&&*report.name)
            {
                wrong.push(format!("{} reads {}", report.name, scan.table));
            }
        }
    }
    assert!(wrong.is_empty(), "asked for {allowed:?}:\n{}", wrong.join("\n"));
}

/// They follow a build from a breakage or a test to where it is, by its id, whenever that was;
/// or what fixed something, until now.
const ALL_MONTHS: [&str; 2] = ["test-first-bad", "breakages"];

#[tokio::test]
async fn a_report_of_one_builder_or_of_a_part_of_a_month_goes_by_an_index() {
    let history = History::get().await;
    let db = history.db().await;
    let mut c = db.pool().acquire().await.expect("a connection");
    let truth = &history.truth;
    let end = truth.shape.end;
    // A builder of which there is little beside the others.
    let builder = Some(truth.world.builders[truth.world.builders.len() - 1].name.clone());
    let mut wrong = Vec::new();
    for report in built_in() {
        let takes = |name: &str| report.head.parameters.iter().any(|p| p.name == name);
        let mut all = Vec::new();
        if takes("builder") {
            all.push(("a builder", Asked { builder: builder.clone(), ..Asked::of(end - 28 * DAY, end, now()) }));
        }
        if takes("until") {
            all.push(("a day", Asked::of(end - 40 * DAY, end - 39 * DAY, now())));
        }
        for (what, asked) in all {
            for scan in scans(&mut c, report, &asked).await.into_iter().filter(|s| s.whole) {
                // A small table is read from end to end because that is quicker.
                let raw = full() && RAW.contains(&&*scan.table);
                if month(&scan.table).is_some() || raw {
                    wrong.push(format!("{}, {what}: {} from end to end", report.name, scan.table));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn in_its_own_range_a_report_reads_no_raw_table_from_end_to_end() {
    if !full() {
        return;
    }
    let history = History::get().await;
    let db = history.db().await;
    let mut c = db.pool().acquire().await.expect("a connection");
    let mut wrong = Vec::new();
    for report in built_in() {
        let asked = Asked { limit: 50, ..default_range(report) };
        for scan in scans(&mut c, report, &asked).await.into_iter().filter(|s| s.whole) {
            if RAW.contains(&&*scan.table) {
                wrong.push(format!("{}: {}", report.name, scan.table));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The range that a report has if nobody says another.
fn default_range(report: &Report) -> Asked {
    let since = report.head.parameters.iter().find(|p| p.name == "since").and_then(|p| p.default.clone());
    let days: i64 = since.and_then(|s| s.strip_suffix(" days")?.parse().ok()).unwrap_or(28);
    Asked::of(now() - days * DAY, now(), now())
}
