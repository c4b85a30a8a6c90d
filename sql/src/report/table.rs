//! What a report found: columns with units, rows, and words for people.

use super::head::Unit;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

pub use tidemill_schema::read::report::Cell;

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub unit: Unit,
    pub doc: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
    /// There are more rows than were asked for.
    pub more: bool,
}

/// A column as JSON says it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ColumnJson {
    pub name: String,
    pub unit: String,
    #[serde(default)]
    pub doc: String,
}

impl Column {
    pub fn json(&self) -> ColumnJson {
        ColumnJson { name: self.name.clone(), unit: self.unit.name().to_owned(), doc: self.doc.clone() }
    }

    /// Whether it stands at the right, digit below digit.
    pub fn is_number(&self) -> bool {
        !matches!(self.unit, Unit::Text | Unit::Time)
    }

    /// A heading for people: `success_rate` is `success rate`.
    pub fn heading(&self) -> String {
        self.name.replace('_', " ")
    }
}

impl Table {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// A cell in the words of its column's unit.
    pub fn shown(&self, row: &[Cell], n: usize) -> String {
        shown(&row[n], self.columns[n].unit)
    }
}

/// A number as it is, if it is one.
pub fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Int(n) => Some(*n as f64),
        Cell::Float(f) if f.is_finite() => Some(*f),
        _ => None,
    }
}

/// For people: short, in the unit; nothing for null.
pub fn shown(cell: &Cell, unit: Unit) -> String {
    match (cell, unit) {
        (Cell::Null, _) => String::new(),
        (Cell::Bool(b), _) => if *b { "yes" } else { "no" }.to_owned(),
        (Cell::Text(text), _) => text.clone(),
        (Cell::Time(at), _) => minute(*at),
        (Cell::Int(n), Unit::Text | Unit::Time | Unit::Count | Unit::Id | Unit::Number) => n.to_string(),
        (Cell::Int(n), unit) => in_unit(*n as f64, unit),
        (Cell::Float(f), unit) => in_unit(*f, unit),
    }
}

/// A number in the words of a unit.
pub fn in_unit(n: f64, unit: Unit) -> String {
    if !n.is_finite() {
        return n.to_string();
    }
    match unit {
        Unit::Seconds => span(n),
        Unit::Hours => format!("{} h", rounded(n)),
        Unit::Percent => format!("{n:.1} %"),
        Unit::Points => format!("{n:+.1}"),
        Unit::Bytes => bytes(n),
        Unit::Money => format!("{n:.2}"),
        _ => rounded(n),
    }
}

/// Three digits at least, none too many.
fn rounded(n: f64) -> String {
    let size = n.abs();
    let text = match size {
        s if s >= 100.0 || s == 0.0 => return format!("{n:.0}"),
        s if s >= 10.0 => format!("{n:.1}"),
        s if s >= 1.0 => format!("{n:.2}"),
        s if s >= 0.001 => format!("{n:.4}"),
        _ => return format!("{n:e}"),
    };
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short.is_empty() || short == "-" { "0".to_owned() } else { short.to_owned() }
}

fn span(seconds: f64) -> String {
    let size = seconds.abs();
    match size {
        s if s < 0.0005 => "0 s".to_owned(),
        s if s < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        s if s < 99.95 => format!("{seconds:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", seconds / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} d", seconds / 86_400.0),
    }
}

fn bytes(n: f64) -> String {
    let mut size = n;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if size.abs() < 1024.0 {
            return if unit == "B" { format!("{size:.0} B") } else { format!("{size:.1} {unit}") };
        }
        size /= 1024.0;
    }
    format!("{size:.1} PiB")
}

/// As it is for machines: RFC 3339, UTC, with as many digits as it has.
pub fn instant(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// As it is for people: to the minute, or the day where it is one.
pub fn minute(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    let text = match at.time() == time::Time::MIDNIGHT {
        true => at.format(format_description!("[year]-[month]-[day]")),
        false => at.format(format_description!("[year]-[month]-[day] [hour]:[minute]")),
    };
    text.unwrap_or_default()
}
