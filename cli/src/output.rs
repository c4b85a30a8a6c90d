//! Printing: data on stdout, talk on stderr; colour only on a terminal that
//! wants it.

use crate::sanitize;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use tidemill_model::Results;

/// How a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// `--json`: data as one JSON document (or one a line) on stdout.
    pub json: bool,
    /// Whether stdout is a terminal: then what comes from outside is made safe.
    pub terminal: bool,
    pub colour: bool,
    /// The same for stderr.
    pub talk_colour: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
    Magenta,
    Cyan,
}

impl Output {
    pub fn new(json: bool) -> Output {
        let terminal = std::io::stdout().is_terminal();
        let wanted = colour_wanted();
        Output { json, terminal, colour: terminal && wanted, talk_colour: std::io::stderr().is_terminal() && wanted }
    }

    /// For painting what goes to stderr.
    pub fn err(self) -> Output {
        Output { colour: self.talk_colour, ..self }
    }

    pub fn paint(&self, style: Style, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match style {
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Red => "31",
            Style::Magenta => "35",
            Style::Cyan => "36",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// The word for a result, never by colour alone; none is «running».
    pub fn results(&self, results: Option<Results>) -> String {
        match results {
            None => self.paint(Style::Cyan, "running"),
            Some(r) => self.paint(style_of(r), r.name()),
        }
    }

    /// One line of data.
    pub fn line(&self, text: &str) {
        // A reader that went away ends client commands by SIGPIPE; `up`, which
        // ignores that signal, goes on without one.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Text without a line end of its own.
    pub fn raw(&self, bytes: &[u8]) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(bytes);
        let _ = out.flush();
    }

    /// A document of `--json`.
    pub fn document(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(&text),
            Err(e) => eprintln!("tidemill: {e}"),
        }
    }

    /// Rows below a header, columns aligned. Cells come clean or are cleaned
    /// by [`Output::table`]'s caller; a styled cell counts by its visible width.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        let mut widths: Vec<usize> = header.iter().map(|h| width(h)).collect();
        for row in rows {
            for (i, cell) in row.iter().enumerate() {
                widths[i] = widths[i].max(width(cell));
            }
        }
        let format = |cells: &[String]| {
            let mut line = String::new();
            for (i, cell) in cells.iter().enumerate() {
                line.push_str(cell);
                if i + 1 < cells.len() {
                    line.push_str(&" ".repeat(widths[i].saturating_sub(width(cell)) + 2));
                }
            }
            line.trim_end().to_owned()
        };
        let head: Vec<String> = header.iter().map(|h| self.paint(Style::Bold, h)).collect();
        self.line(&format(&head));
        for row in rows {
            self.line(&format(row));
        }
    }
}

/// NO_COLOR (any value but empty) switches colour off, as does a dumb terminal.
fn colour_wanted() -> bool {
    let no = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    !no && !dumb
}

pub fn style_of(results: Results) -> Style {
    match results {
        Results::Success => Style::Green,
        Results::Warnings => Style::Yellow,
        Results::Failure => Style::Red,
        Results::Skipped => Style::Dim,
        Results::Exception | Results::Retry | Results::Cancelled => Style::Magenta,
    }
}

/// Columns that a text takes, escape sequences aside. Wide characters count
/// as one: a ragged table is the worst that follows.
fn width(text: &str) -> usize {
    sanitize::line(text).chars().count()
}

/// «5 s», «2 min 3 s», «1 h 4 min».
pub fn duration(seconds: i64) -> String {
    let s = seconds.max(0);
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_two_largest_units() {
        assert_eq!(duration(5), "5 s");
        assert_eq!(duration(123), "2 min 3 s");
        assert_eq!(duration(3840), "1 h 4 min");
    }

    #[test]
    fn a_result_is_a_word_even_without_colour() {
        let plain = Output { json: false, terminal: false, colour: false, talk_colour: false };
        assert_eq!(plain.results(Some(Results::Failure)), "failure");
        let bright = Output { colour: true, ..plain };
        assert_eq!(bright.results(Some(Results::Failure)), "\x1b[31mfailure\x1b[0m");
        assert_eq!(width(&bright.results(None)), 7);
    }
}
