//! Bars to the right, a row for each name.

use super::data::Data;
use super::scale::Scale;
use super::{WIDTH, at, escaped, legend, shortened, width_of};
use std::fmt::Write;

/// More than these nobody reads in a picture; the table has them all.
const MOST: usize = 20;

pub fn draw(data: &Data, stacked: bool) -> (f64, String) {
    let rows = data.labels.len().min(MOST);
    let (low, high) = data.range(stacked);
    let scale = Scale::new(low, high, data.unit(), 5);
    let names: Vec<String> = data.labels[..rows].iter().map(|l| shortened(l, 34)).collect();
    let left = names.iter().map(|n| width_of(n)).fold(40.0, f64::max).min(250.0) + 16.0;
    let right = WIDTH - if stacked { 24.0 } else { 84.0 };
    let x = |value: f64| at(left + scale.place(value) * (right - left));
    let top = if data.series.len() > 1 { 52.0 } else { 30.0 };
    let thick = if data.series.len() > 1 && !stacked { 12.0 } else { 16.0 };
    let in_row = if stacked { 1 } else { data.series.len() };
    let row_height = thick * in_row as f64 + 8.0;
    let bottom = top + rows as f64 * row_height;
    let mut out = String::new();
    if data.series.len() > 1 {
        out.push_str(&legend(data, 18.0));
    }
    for (value, label) in &scale.ticks {
        let class = if *value == 0.0 { "zero" } else { "grid" };
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{0}\" x2=\"{0}\" y1=\"{top}\" y2=\"{bottom}\"/>\
             <text class=\"dim mid\" x=\"{0}\" y=\"{1}\">{label}</text>",
            x(*value),
            top - 8.0
        );
    }
    for (n, name) in names.iter().enumerate() {
        let y = top + n as f64 * row_height + 4.0;
        let _ = writeln!(
            out,
            "<text class=\"end\" x=\"{}\" y=\"{}\">{}</text>",
            left - 8.0,
            at(y + row_height / 2.0),
            escaped(name)
        );
        let mut from = 0.0;
        for (s, series) in data.series.iter().enumerate() {
            let Some(value) = series.values[n] else { continue };
            let y = if stacked { y } else { y + s as f64 * thick };
            let (begin, end) =
                if stacked { (x(from), x(from + value.max(0.0))) } else { (x(value.min(0.0)), x(value.max(0.0))) };
            from += value.max(0.0);
            let said = series.shown(value);
            let _ = write!(
                out,
                "<rect class=\"s{}\" x=\"{begin}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}: {} {said}</title></rect>",
                s % 6,
                at(y),
                at((end - begin).max(0.0)),
                thick - 2.0,
                escaped(&data.labels[n]),
                escaped(&series.name),
            );
            if !stacked {
                let _ = write!(
                    out,
                    "<text class=\"dim\" x=\"{}\" y=\"{}\">{said}</text>",
                    at(end + 5.0),
                    at(y + thick - 4.0)
                );
            }
            out.push('\n');
        }
    }
    let mut height = bottom + 14.0;
    if data.labels.len() > rows {
        let _ = writeln!(
            out,
            "<text class=\"dim\" x=\"12\" y=\"{}\">and {} more</text>",
            height + 4.0,
            data.labels.len() - rows
        );
        height += 18.0;
    }
    (height, out)
}
