//! Fields by two words, the more the fuller.

use super::data::key;
use super::{WIDTH, at, escaped, shortened, width_of};
use crate::report::Table;
use crate::report::head::Chart;
use crate::report::table::{in_unit, number};
use std::fmt::Write;

/// Rows and columns beyond these are left out.
const MOST: usize = 60;

pub fn draw(chart: &Chart, table: &Table) -> Option<(f64, String)> {
    let (x, y) = (table.column(chart.x.first()?)?, table.column(chart.y.first()?)?);
    let value = table.column(chart.value.as_deref()?)?;
    let unit = table.columns[value].unit;
    let name = |row: &[crate::report::Cell], n: usize| key(&row[n], table.columns[n].unit);
    let fields: Vec<(String, String, f64)> =
        table.rows.iter().filter_map(|row| Some((name(row, x), name(row, y), number(&row[value])?))).collect();
    let (across, down) = (words(fields.iter().map(|f| &f.0)), words(fields.iter().map(|f| &f.1)));
    let greatest = fields.iter().map(|f| f.2).fold(0.0, f64::max);
    if fields.is_empty() {
        return None;
    }
    let left = down.iter().map(|d| width_of(&shortened(d, 30))).fold(30.0, f64::max) + 20.0;
    let wide = ((WIDTH - left - 16.0) / across.len() as f64).min(60.0);
    let (top, high) = (40.0, 26.0);
    let bottom = top + down.len() as f64 * high;
    let mut out = scale(&in_unit(greatest, unit), &table.columns[value].heading());
    for (n, label) in down.iter().enumerate() {
        let y = top + n as f64 * high + 17.0;
        let _ = writeln!(
            out,
            "<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>",
            at(left - 8.0),
            at(y),
            escaped(&shortened(label, 30))
        );
    }
    let each = (across.iter().map(|a| width_of(a)).fold(0.0, f64::max) / wide).ceil().max(1.0) as usize;
    for (n, label) in across.iter().enumerate().step_by(each) {
        let x = left + (n as f64 + 0.5) * wide;
        let _ =
            writeln!(out, "<text class=\"dim mid\" x=\"{}\" y=\"{}\">{}</text>", at(x), bottom + 18.0, escaped(label));
    }
    for (a, d, v) in &fields {
        let (Some(column), Some(row)) = (across.iter().position(|w| w == a), down.iter().position(|w| w == d)) else {
            continue;
        };
        let full = if greatest > 0.0 { (v / greatest).clamp(0.0, 1.0) } else { 0.0 };
        let _ = writeln!(
            out,
            "<rect class=\"s0\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill-opacity=\"{:.2}\"><title>{} {}: {}</title></rect>",
            at(left + column as f64 * wide),
            at(top + row as f64 * high),
            at(wide - 2.0),
            high - 2.0,
            0.06 + 0.94 * full,
            escaped(d),
            escaped(a),
            in_unit(*v, unit)
        );
    }
    Some((bottom + 30.0, out))
}

/// What the fullness of a field means.
fn scale(greatest: &str, of: &str) -> String {
    let mut out = format!("<text x=\"12\" y=\"18\">{}: 0</text>", escaped(of));
    let from = 34.0 + width_of(of) + 14.0;
    for n in 0..6 {
        let full = 0.06 + 0.94 * f64::from(n) / 5.0;
        let _ = write!(
            out,
            "<rect class=\"s0\" x=\"{}\" y=\"8\" width=\"18\" height=\"12\" fill-opacity=\"{full:.2}\"/>",
            at(from + f64::from(n) * 20.0)
        );
    }
    let _ = writeln!(out, "<text x=\"{}\" y=\"18\">{greatest}</text>", at(from + 126.0));
    out
}

/// Each word once: numbers by size, others as they come.
fn words<'w>(all: impl Iterator<Item = &'w String>) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in all {
        if !words.contains(word) {
            words.push(word.clone());
        }
    }
    if words.iter().all(|w| w.parse::<f64>().is_ok()) {
        words.sort_by(|a, b| a.parse::<f64>().unwrap_or(0.0).total_cmp(&b.parse().unwrap_or(0.0)));
    }
    words.truncate(MOST);
    words
}
