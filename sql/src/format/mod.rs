//! A table as text, CSV, JSON, Markdown or a picture. Pure: nothing is read or written here.
//!
//! Cells may hold what strangers wrote (names of branches, authors, tests): each
//! format escapes them by its own rules.

mod csv;
mod json;
mod markdown;
pub mod svg;
mod text;

pub use csv::csv;
pub use json::{from_json, json, report_json};
pub use markdown::markdown;
pub use text::text;

use crate::report::{Report, Table, Values};

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Table,
    Csv,
    Json,
    Markdown,
    Svg,
    /// The query itself.
    Sql,
}

impl Format {
    pub const ALL: [(&str, Format); 6] = [
        ("table", Format::Table),
        ("csv", Format::Csv),
        ("json", Format::Json),
        ("md", Format::Markdown),
        ("svg", Format::Svg),
        ("sql", Format::Sql),
    ];

    pub fn of(name: &str) -> Option<Format> {
        Format::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Format::Table => "text/plain; charset=utf-8",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Json => "application/json",
            Format::Markdown => "text/markdown; charset=utf-8",
            Format::Svg => "image/svg+xml",
            Format::Sql => "application/sql; charset=utf-8",
        }
    }

    /// Writes what a report found. `width` is that of a terminal, for the table.
    pub fn write(self, report: &Report, values: &Values, table: &Table, width: Option<usize>) -> String {
        match self {
            Format::Table => text(table, width),
            Format::Csv => csv(table),
            Format::Json => json(report, values, table),
            Format::Markdown => markdown(report, values, table),
            Format::Svg => svg::file(report, table),
            Format::Sql => report.sql_to_copy(values),
        }
    }
}
