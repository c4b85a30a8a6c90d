//! Charts as SVG: lines, bars, stacked bars, heatmaps.
//!
//! A picture has a title and a description in words, each mark a title of its own,
//! and colours by classes, so that it is read in the dark and by who sees no
//! colours. All text of others is escaped.

mod bars;
mod columns;
mod data;
mod heatmap;
mod line;
mod scale;

use crate::report::head::{Chart, ChartKind};
use crate::report::{Report, Table};
use data::Data;
use std::fmt::Write;

/// Rules of the classes of a chart. A file carries them; a page links to them.
pub const STYLE: &str = include_str!("chart.css");

/// Width of all charts; they are scaled by who shows them.
const WIDTH: f64 = 860.0;

/// A file of its own. One without a chart, or without rows, says so.
pub fn file(report: &Report, table: &Table) -> String {
    let (height, inside) = match drawn(report, table) {
        Some(drawn) => drawn,
        None => {
            let said = if report.head.chart.is_none() { "This report has no picture." } else { "Nothing fits." };
            (60.0, format!("<text x=\"12\" y=\"34\">{said}</text>"))
        }
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-labelledby=\"chart-title chart-text\">\n<style>{STYLE}</style>\n{}\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\"/>\n{inside}</svg>\n",
        words(report, table)
    )
}

/// For a page that has [`STYLE`]; none if there is nothing to draw.
pub fn inline(report: &Report, table: &Table) -> Option<String> {
    let (height, inside) = drawn(report, table)?;
    Some(format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"chart-title chart-text\">\n\
         {}{inside}</svg>",
        words(report, table)
    ))
}

fn drawn(report: &Report, table: &Table) -> Option<(f64, String)> {
    let chart = report.head.chart.as_ref()?;
    if chart.kind == ChartKind::Heatmap {
        return heatmap::draw(chart, table);
    }
    let data = Data::new(chart, table)?;
    Some(match chart.kind {
        ChartKind::Line => line::draw(&data),
        ChartKind::Bars | ChartKind::Heatmap if data.times.is_none() => bars::draw(&data, false),
        ChartKind::Stacked if data.times.is_none() => bars::draw(&data, true),
        kind => columns::draw(&data, kind == ChartKind::Stacked),
    })
}

/// Title and description.
fn words(report: &Report, table: &Table) -> String {
    let said = report.head.chart.as_ref().map(|chart| described(chart, table)).unwrap_or_default();
    format!(
        "<title id=\"chart-title\">{}</title>\n<desc id=\"chart-text\">{}</desc>\n",
        escaped(&report.head.title),
        escaped(&said)
    )
}

fn described(chart: &Chart, table: &Table) -> String {
    let kind = match chart.kind {
        ChartKind::Line => "Lines",
        ChartKind::Bars => "Bars",
        ChartKind::Stacked => "Stacked bars",
        ChartKind::Heatmap => "Fields",
    };
    let heading = |name: &str| table.column(name).map_or_else(String::new, |n| table.columns[n].heading());
    if let Some(value) = &chart.value {
        return format!("{kind} of {} by {} and {}.", heading(value), heading(&chart.y[0]), heading(&chart.x[0]));
    }
    let by: Vec<String> = chart.x.iter().map(|name| heading(name)).collect();
    let mut said = format!("{kind} by {}, {} in all.", by.join(" and "), table.rows.len());
    if let Some(data) = Data::new(chart, table) {
        for series in &data.series {
            let values = || series.values.iter().flatten();
            let (low, high) =
                (values().copied().fold(f64::INFINITY, f64::min), values().copied().fold(f64::NEG_INFINITY, f64::max));
            if low <= high {
                let _ = write!(said, " {}: from {} to {}.", series.name, series.shown(low), series.shown(high));
            }
        }
    }
    said
}

/// The names of series and their colours, in a line from the left.
fn legend(data: &Data, y: f64) -> String {
    let mut out = String::new();
    let mut x = 12.0;
    for (n, series) in data.series.iter().enumerate() {
        let _ = writeln!(
            out,
            "<rect class=\"s{}\" x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/><text x=\"{}\" y=\"{y}\">{}</text>",
            n % 6,
            y - 10.0,
            x + 17.0,
            escaped(&series.name)
        );
        x += 40.0 + width_of(&series.name);
    }
    out
}

/// About as wide as a text is drawn.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * 6.7
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Text for XML and HTML, in elements and attributes; what XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

/// A coordinate, to a tenth.
fn at(n: f64) -> f64 {
    (n * 10.0).round() / 10.0
}
