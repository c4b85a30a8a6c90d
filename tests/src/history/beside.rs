//! The same history several times, side by side: what reporting keeps of a world is written
//! again for other builders, projects and workers of the same kind.
//!
//! For sizes that the code of masters would need an hour for. What is copied is what it
//! made of the first world; raw rows are of that one only, as if retention had taken the
//! others. The totals of all builders grow as if it had counted them all.

use anyhow::{Context, Result};
use tidemill_schema::Db;

/// Ids of builds, requests and their like in one world are below this.
const EVENTS: i64 = 10_000_000_000;
/// Of builders and workers.
const NAMES: i64 = 1_000_000;

/// What is kept of a world, what others refer to first.
const TABLES: &[&str] = &[
    "projects",
    "builders",
    "workers",
    "worker_sessions",
    "line_states",
    "build_facts",
    "request_facts",
    "lock_wait_facts",
    "build_hours",
    "build_days",
    "build_months",
    "branch_months",
    "request_months",
    "step_days",
    "step_months",
    "statistic_days",
    "worker_hours",
    "worker_months",
    "test_sets",
    "test_results",
    "test_states",
    "test_flakes",
];

/// Makes of the one world that is there `worlds`.
pub async fn beside(db: &Db, worlds: i64) -> Result<()> {
    for table in TABLES {
        let columns: Vec<String> = sqlx::query_scalar(
            "select attname::text from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped
                and not (attname = 'id' and $1 = 'projects') order by attnum",
        )
        .bind(table)
        .fetch_all(db.pool())
        .await?;
        let values: Vec<String> = columns.iter().map(|column| other(table, column)).collect();
        let (columns, values) = (columns.join(", "), values.join(", "));
        for world in 1..worlds {
            let copy = format!(
                "insert into {table} ({columns}) overriding system value
                 select {values} from {table} t, (select {world}::bigint as n) world where {}",
                first(table)
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(db.pool()).await.context(*table)?;
        }
    }
    for table in ["total_hours", "total_days"] {
        totals(db, table, worlds).await?;
    }
    Ok(())
}

/// What a column of the first world is in another one.
fn other(table: &str, column: &str) -> String {
    match (table, column) {
        ("builders" | "workers", "id") | (_, "builder_id" | "worker_id") => format!("t.{column} + world.n * {NAMES}"),
        ("projects" | "builders" | "workers", "name") => format!("t.{column} || '.' || world.n"),
        (_, "project") => "case when t.project = '' then '' else t.project || '.' || world.n end".into(),
        ("worker_sessions" | "lock_wait_facts" | "test_sets", "id")
        | (
            _,
            "build_id" | "good_build_id" | "bad_build_id" | "since_build" | "good_build" | "passed_build"
            | "failed_build" | "newest_build" | "request_id" | "buildset_id" | "collapsed_into" | "set_id",
        ) => format!("t.{column} + world.n * {EVENTS}"),
        _ => format!("t.{column}"),
    }
}

/// Which rows are of the first world.
fn first(table: &str) -> String {
    match table {
        "projects" => "t.name !~ '[.]'".into(),
        "builders" | "workers" => format!("t.id < {NAMES}"),
        "worker_sessions" | "lock_wait_facts" => format!("t.id < {EVENTS}"),
        "worker_months" | "worker_hours" => format!("t.worker_id < {NAMES}"),
        "test_results" => format!("t.set_id < {EVENTS}"),
        _ => format!("t.builder_id < {NAMES}"),
    }
}

/// What all see is so many times as much; what is private is one world's.
async fn totals(db: &Db, table: &str, worlds: i64) -> Result<()> {
    let counts = "builds success warnings failure skipped exception retry cancelled broke fixed seconds waited log_bytes led \
                  led_changes";
    let mut set: Vec<String> = counts.split_whitespace().map(|c| format!("{c} = {c} * {worlds}")).collect();
    set.extend(["spans", "waits", "leads"].map(|h| {
        format!("{h} = array(select (e >> 24 << 24) | least((e & 16777215) * {worlds}, 16777215) from unnest({h}) e)")
    }));
    let more = format!("update {table} set {} where project = ''", set.join(", "));
    sqlx::raw_sql(sqlx::AssertSqlSafe(more)).execute(db.pool()).await.context("totals")?;
    let columns: Vec<String> = sqlx::query_scalar(
        "select attname::text from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped",
    )
    .bind(table)
    .fetch_all(db.pool())
    .await?;
    let values: Vec<String> = columns.iter().map(|column| other(table, column)).collect();
    let private = format!(
        "insert into {table} ({}) select {} from {table} t, generate_series(1, {}) world(n) where t.project <> ''",
        columns.join(", "),
        values.join(", "),
        worlds - 1
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(private)).execute(db.pool()).await.context("totals of private projects")?;
    Ok(())
}
