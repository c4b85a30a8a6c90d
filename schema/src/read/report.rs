//! Runs a report: a query that is not ours, in a transaction that can only read.
//!
//! It ends after its time limit, gives no more rows than it may, sees the names
//! of schema `report` first, and its values are bound, never pasted. What may be
//! read is what the role of the connection may read.

use crate::{Db, Result, run_tx};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Executor, PgConnection, Row, Statement, TypeInfo};
use std::time::Duration;
use time::OffsetDateTime;

/// A value that is bound; none of each is null.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    Time(Option<OffsetDateTime>),
    Text(Option<String>),
    Int(Option<i64>),
    Float(Option<f64>),
    Bool(Option<bool>),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Time,
    Text,
    Int,
    Float,
    Bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReportColumn {
    pub name: String,
    pub kind: ColumnKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Time(OffsetDateTime),
}

/// Bounds of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub rows: usize,
    pub time: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ReportRows {
    pub columns: Vec<ReportColumn>,
    pub rows: Vec<Vec<Cell>>,
    /// There are more than [`Bounds::rows`].
    pub more: bool,
}

/// Runs one query. Its parameters are `$1`, `$2`, …, each cast to its type.
pub async fn report_run(db: &Db, sql: &str, values: &[Bound], bounds: Bounds) -> Result<ReportRows> {
    run_tx!(db, "report", |c| run(c, sql, values, bounds).await)
}

async fn run(c: &mut PgConnection, sql: &str, values: &[Bound], bounds: Bounds) -> Result<ReportRows> {
    // Compiling costs more than it gives where all takes a second.
    let first = format!(
        "set transaction read only; set local statement_timeout = {}; set local work_mem = '64MB'; \
         set local max_parallel_workers_per_gather = 0; set local jit = off; set local search_path = report, pg_catalog",
        bounds.time.as_millis().clamp(1, i32::MAX as u128)
    );
    sqlx::raw_sql(AssertSqlSafe(first)).execute(&mut *c).await?;
    // As it stands first: so an error of it is at its own place in it, and its columns are known.
    let statement = (&mut *c).prepare(sqlx::SqlSafeStr::into_sql_str(AssertSqlSafe(sql.to_owned()))).await?;
    let columns: Vec<ReportColumn> = statement
        .columns()
        .iter()
        .map(|column| ReportColumn { name: column.name().to_owned(), kind: kind(column.type_info().name()) })
        .collect();
    if columns.is_empty() {
        return Ok(ReportRows { columns, rows: Vec::new(), more: false });
    }
    let names: Vec<String> = (0..columns.len()).map(|n| format!("c{n}")).collect();
    let cast: Vec<String> = columns
        .iter()
        .zip(&names)
        .zip(statement.columns())
        .map(|((column, name), given)| match column.kind {
            ColumnKind::Time => format!("{name}::timestamptz"),
            ColumnKind::Int => format!("{name}::bigint"),
            ColumnKind::Float if given.type_info().name() == "INTERVAL" => {
                format!("extract(epoch from {name})::float8")
            }
            ColumnKind::Float => format!("{name}::float8"),
            ColumnKind::Bool => name.clone(),
            ColumnKind::Text => format!("{name}::text"),
        })
        .collect();
    let whole = format!(
        "select {} from (\n{sql}\n) as report ({}) limit {}",
        cast.join(", "),
        names.join(", "),
        bounds.rows.saturating_add(1)
    );
    // Planned for these values each time: a range of a day and one of a year want other plans.
    let mut query = sqlx::query::<sqlx::Postgres>(AssertSqlSafe(whole)).persistent(false);
    for value in values {
        query = bind(query, value);
    }
    let found = query.fetch_all(c).await?;
    let more = found.len() > bounds.rows;
    let rows = found.iter().take(bounds.rows).map(|row| cells(row, &columns)).collect::<Result<_, sqlx::Error>>()?;
    Ok(ReportRows { columns, rows, more })
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

fn bind<'q>(query: Query<'q>, value: &'q Bound) -> Query<'q> {
    match value {
        Bound::Time(v) => query.bind(v),
        Bound::Text(v) => query.bind(v),
        Bound::Int(v) => query.bind(v),
        Bound::Float(v) => query.bind(v),
        Bound::Bool(v) => query.bind(v),
    }
}

fn kind(of: &str) -> ColumnKind {
    match of {
        "TIMESTAMPTZ" | "TIMESTAMP" | "DATE" => ColumnKind::Time,
        "INT2" | "INT4" | "INT8" | "OID" => ColumnKind::Int,
        "FLOAT4" | "FLOAT8" | "NUMERIC" | "INTERVAL" => ColumnKind::Float,
        "BOOL" => ColumnKind::Bool,
        _ => ColumnKind::Text,
    }
}

fn cells(row: &PgRow, columns: &[ReportColumn]) -> Result<Vec<Cell>, sqlx::Error> {
    let cell = |n: usize, kind: ColumnKind| -> Result<Cell, sqlx::Error> {
        Ok(match kind {
            ColumnKind::Time => row.try_get::<Option<OffsetDateTime>, _>(n)?.map_or(Cell::Null, Cell::Time),
            ColumnKind::Text => row.try_get::<Option<String>, _>(n)?.map_or(Cell::Null, Cell::Text),
            ColumnKind::Int => row.try_get::<Option<i64>, _>(n)?.map_or(Cell::Null, Cell::Int),
            ColumnKind::Float => row.try_get::<Option<f64>, _>(n)?.map_or(Cell::Null, Cell::Float),
            ColumnKind::Bool => row.try_get::<Option<bool>, _>(n)?.map_or(Cell::Null, Cell::Bool),
        })
    };
    columns.iter().enumerate().map(|(n, column)| cell(n, column.kind)).collect()
}
