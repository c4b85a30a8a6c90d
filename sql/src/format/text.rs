//! A table for a terminal: aligned, numbers at the right, as wide as fits.

use crate::report::{Table, Unit};

/// No column of text becomes narrower than this.
const LEAST: usize = 10;
/// Between two columns.
const GAP: usize = 2;

/// `width` is that of the terminal; without one nothing is cut.
pub fn text(table: &Table, width: Option<usize>) -> String {
    let header: Vec<String> = table.columns.iter().map(|c| c.name.to_uppercase()).collect();
    let rows: Vec<Vec<String>> =
        table.rows.iter().map(|row| (0..row.len()).map(|n| clean(&table.shown(row, n))).collect()).collect();
    let mut widths: Vec<usize> = header.iter().map(|h| h.chars().count()).collect();
    for row in &rows {
        for (n, cell) in row.iter().enumerate() {
            widths[n] = widths[n].max(cell.chars().count());
        }
    }
    if let Some(width) = width {
        shrink(&mut widths, table, width);
    }
    let mut out = String::new();
    for row in std::iter::once(&header).chain(&rows) {
        let mut line = String::new();
        for (n, cell) in row.iter().enumerate() {
            let cell = cut(cell, widths[n]);
            let pad = " ".repeat(widths[n] - cell.chars().count());
            let right = table.columns[n].is_number();
            line.push_str(&if right { format!("{pad}{cell}") } else { format!("{cell}{pad}") });
            line.push_str(&" ".repeat(GAP));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if table.more {
        out.push_str(&format!("There are more than these {} rows.\n", rows.len()));
    }
    out
}

/// Takes from the widest columns of text until all fit, or none can give more.
fn shrink(widths: &mut [usize], table: &Table, width: usize) {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    while total(widths) > width {
        let texts = (0..widths.len()).filter(|n| table.columns[*n].unit == Unit::Text && widths[*n] > LEAST);
        let Some(widest) = texts.max_by_key(|n| widths[*n]) else { return };
        widths[widest] -= 1;
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// One line, and nothing that a terminal would obey, or that turns the direction of text.
fn clean(text: &str) -> String {
    let odd = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| {
            if c == '\n' || c == '\t' {
                ' '
            } else if odd(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
