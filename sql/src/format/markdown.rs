//! Markdown: a heading, the question, and a table, for issues and wikis.

use crate::report::{Report, Table, Values};

pub fn markdown(report: &Report, values: &Values, table: &Table) -> String {
    let mut out = format!("## {}\n\n{}\n\n", escaped(&report.head.title), escaped(&report.head.question));
    let asked: Vec<String> = report
        .head
        .parameters
        .iter()
        .enumerate()
        .filter_map(|(n, p)| Some(format!("{} {}", escaped(&p.name), escaped(&values.text(n)?))))
        .collect();
    if !asked.is_empty() {
        out.push_str(&format!("Asked for: {}.\n\n", asked.join(", ")));
    }
    if table.columns.is_empty() {
        return out;
    }
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    out.push_str(&row(table.columns.iter().map(|c| escaped(&c.heading())).collect()));
    out.push_str(&row(table.columns.iter().map(|c| if c.is_number() { "---:" } else { "---" }.to_owned()).collect()));
    for cells in &table.rows {
        out.push_str(&row((0..cells.len()).map(|n| escaped(&table.shown(cells, n))).collect()));
    }
    if table.rows.is_empty() {
        out.push_str("\nNothing fits.\n");
    }
    if table.more {
        out.push_str(&format!("\nThere are more than these {} rows.\n", table.rows.len()));
    }
    out
}

/// Text that Markdown and HTML in it take as text, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
