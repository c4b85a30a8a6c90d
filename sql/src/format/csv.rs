//! RFC 4180: a line of names, CRLF, quotes where they are needed.
//!
//! Cells are given as they are, also those that a spreadsheet would take for a
//! formula (`=…`, `+…`, `-…`, `@…`): other programs read these files too, and a
//! changed cell is a wrong one. Import columns of text as text.

use crate::report::Table;
use crate::report::table::{Cell, instant};

pub fn csv(table: &Table) -> String {
    let mut out = String::new();
    line(&mut out, table.columns.iter().map(|c| c.name.clone()));
    for row in &table.rows {
        line(&mut out, row.iter().map(plain));
    }
    out
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (n, cell) in cells.enumerate() {
        if n > 0 {
            out.push(',');
        }
        match cell.contains(['"', ',', '\r', '\n']) {
            true => {
                out.push('"');
                out.push_str(&cell.replace('"', "\"\""));
                out.push('"');
            }
            false => out.push_str(&cell),
        }
    }
    out.push_str("\r\n");
}

/// Numbers with a point and no unit, times as RFC 3339, nothing for null.
fn plain(cell: &Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Bool(b) => b.to_string(),
        Cell::Int(n) => n.to_string(),
        Cell::Float(f) => f.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Time(at) => instant(*at),
    }
}
