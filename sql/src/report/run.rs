//! Runs a report and says what became of it, also when its SQL is wrong.

use super::Report;
use super::head::Unit;
use super::parameters::Values;
use super::table::{Column, Table};
use tidemill_schema::Db;
use tidemill_schema::read::report::{ColumnKind, report_run};

pub use tidemill_schema::read::report::Bounds;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its SQL is wrong: `FILE:LINE: what Postgres says`.
    #[error("{file}:{line}: {detail}")]
    Sql { file: String, line: usize, detail: String },
    /// What was asked for makes no sense to the query, such as a division by nothing.
    #[error("{0}")]
    Data(String),
    #[error("the report took longer than {0} s: ask for a shorter time, or for one builder")]
    TooSlow(f64),
    #[error("the views of schema `report` are not there, or older than this release: run `tidemill migrate`")]
    NoViews,
    #[error("the role of this connection may not read what the report asks for: {0}")]
    Refused(String),
    #[error(transparent)]
    Database(tidemill_schema::Error),
}

/// Runs it within its bounds. The database is asked once; nothing is changed.
pub async fn run(db: &Db, report: &Report, values: &Values, bounds: Bounds) -> Result<Table, Error> {
    let sql = report.bound_sql();
    let found = report_run(db, &sql, values.bound(), bounds).await.map_err(|e| said(report, &sql, bounds, e))?;
    let columns = found.columns.iter().map(|c| match report.head.column(&c.name) {
        Some(doc) => Column { name: c.name.clone(), unit: doc.unit, doc: doc.doc.clone() },
        None => Column { name: c.name.clone(), unit: unit(c.kind), doc: String::new() },
    });
    let columns: Vec<Column> = columns.collect();
    if let Some(lost) = report.head.columns.iter().find(|doc| !columns.iter().any(|c| c.name == doc.name)) {
        return Err(Error::Sql {
            file: report.file.clone(),
            line: report.first_line,
            detail: format!("the query gives no column `{}`, of which the head tells", lost.name),
        });
    }
    if let Some(twice) =
        columns.iter().enumerate().find(|(n, c)| columns[..*n].iter().any(|other| other.name == c.name))
    {
        return Err(Error::Sql {
            file: report.file.clone(),
            line: report.first_line,
            detail: format!("the query gives two columns `{}`", twice.1.name),
        });
    }
    Ok(Table { columns, rows: found.rows, more: found.more })
}

fn unit(kind: ColumnKind) -> Unit {
    match kind {
        ColumnKind::Time => Unit::Time,
        ColumnKind::Text | ColumnKind::Bool => Unit::Text,
        ColumnKind::Int => Unit::Count,
        ColumnKind::Float => Unit::Number,
    }
}

fn said(report: &Report, sql: &str, bounds: Bounds, error: tidemill_schema::Error) -> Error {
    let Some((said, at)) = error.said() else { return Error::Database(error) };
    if error.is_cancelled() {
        return Error::TooSlow(bounds.time.as_secs_f64());
    }
    if error.is_refused() {
        return Error::Refused(said);
    }
    if error.is_unavailable() {
        return Error::Database(error);
    }
    if report.built_in && error.is_undefined() {
        return Error::NoViews;
    }
    if error.is_data() {
        return Error::Data(said);
    }
    let before = at.map_or(0, |at| sql.chars().take(at.saturating_sub(1)).filter(|c| *c == '\n').count());
    Error::Sql { file: report.file.clone(), line: report.first_line + before, detail: said }
}
