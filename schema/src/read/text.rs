//! What is in a log, as lines: any window of a log of any size costs a few
//! index probes and the chunks of the window.
//!
//! A line is what stands between two `\n` of the whole log, whatever channels
//! its bytes came from; it is numbered from 0. What a size limit left out
//! stands as a [`Piece::Gap`] inside the line where it was cut. Both the bytes
//! of one line and those of a window are bounded: a line of ten mebibytes is
//! shown by its beginning, and says so.

use crate::log_chunks::{chunk_of_line, chunks_from_byte};
use crate::{Error, Result};
use sqlx::PgConnection;
use std::collections::VecDeque;
use tidemill_model::LogId;
use tidemill_model::log::{Channel, Run, decode};

/// Chunks read with one statement: at most a mebibyte of content.
pub const CHUNKS: i64 = 16;

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(Channel, Vec<u8>),
    /// So many bytes were left out here.
    Gap(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 0.
    pub number: i64,
    /// Where it begins: content bytes of the log before it.
    pub first_byte: i64,
    pub pieces: Vec<Piece>,
    /// Bytes of it that are not in `pieces`, because it is too long to show.
    pub cut: u64,
    /// Its beginning is not in `pieces`: the window begins inside it.
    pub head_cut: bool,
    /// Its `\n` was seen; only the last line of a log may lack it.
    pub ended: bool,
}

impl Line {
    /// The channel that it began with: the letter before it in Buildbot's form.
    pub fn channel(&self) -> Channel {
        match self.pieces.first() {
            Some(Piece::Text(channel, _)) => *channel,
            Some(Piece::Gap(_)) => Channel::Header,
            None => Channel::Stdout,
        }
    }

    /// Its text, gaps named; invalid UTF-8 becomes U+FFFD.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(_, bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
                Piece::Gap(n) => out.push_str(&gap_text(*n)),
            }
        }
        if self.cut > 0 {
            out.push_str(&format!("[{} more in this line]", size(self.cut)));
        }
        out
    }
}

/// How a gap is shown.
pub fn gap_text(bytes: u64) -> String {
    format!("[{} left out here]", size(bytes))
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Makes lines of runs, as they come.
#[derive(Debug)]
pub struct Lines {
    /// The line at work: without its end.
    current: Line,
    at_byte: i64,
    /// Lines before this one are dropped.
    from_line: i64,
    line_max: usize,
    kept: usize,
    pub done: VecDeque<Line>,
}

impl Lines {
    /// To begin with content byte `at_byte`, which lies in line `number`.
    pub fn new(at_byte: i64, number: i64, from_line: i64, line_max: usize) -> Lines {
        Lines { current: blank(number, at_byte), at_byte, from_line, line_max, kept: 0, done: VecDeque::new() }
    }

    pub fn push(&mut self, run: &Run) {
        if let Some(gap) = run.gap() {
            if self.current.number >= self.from_line {
                self.current.pieces.push(Piece::Gap(gap));
            }
            self.at_byte += gap as i64;
            return;
        }
        let mut rest = run.bytes.as_slice();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.append(run.channel, &rest[..end]);
            self.at_byte += end as i64 + 1;
            let next = blank(self.current.number + 1, self.at_byte);
            let mut line = std::mem::replace(&mut self.current, next);
            line.ended = true;
            self.kept = 0;
            if line.number >= self.from_line {
                self.done.push_back(line);
            }
            rest = &rest[end + 1..];
        }
        self.append(run.channel, rest);
        self.at_byte += rest.len() as i64;
    }

    fn append(&mut self, channel: Channel, bytes: &[u8]) {
        if bytes.is_empty() || self.current.number < self.from_line {
            return;
        }
        let (keep, cut) = bytes.split_at(bytes.len().min(self.line_max - self.kept.min(self.line_max)));
        self.kept += keep.len();
        self.current.cut += cut.len() as u64;
        if keep.is_empty() {
            return;
        }
        match self.current.pieces.last_mut() {
            Some(Piece::Text(c, text)) if *c == channel => text.extend_from_slice(keep),
            _ => self.current.pieces.push(Piece::Text(channel, keep.to_vec())),
        }
    }

    /// The line that has no end yet, if there is anything of it.
    pub fn partial(&self) -> Option<&Line> {
        let begun = self.at_byte > self.current.first_byte && self.current.number >= self.from_line;
        begun.then_some(&self.current)
    }

    /// Content bytes seen so far, from the start of the log.
    pub fn at_byte(&self) -> i64 {
        self.at_byte
    }

    /// Where the line without its end begins.
    pub fn line_start(&self) -> (i64, i64) {
        (self.current.first_byte, self.current.number)
    }
}

fn blank(number: i64, first_byte: i64) -> Line {
    Line { number, first_byte, pieces: Vec::new(), cut: 0, head_cut: false, ended: false }
}

/// Runs from a content byte on, at most [`CHUNKS`] chunks of them.
pub struct Runs {
    /// Content byte that the first run begins with: the one asked for, or later
    /// only at the log's end.
    pub first_byte: i64,
    /// The line that byte lies in.
    pub first_line: i64,
    pub runs: Vec<Run>,
    /// Where to go on.
    pub next: i64,
}

/// Reads runs from content byte `from` on, wherever in a chunk it lies.
pub async fn runs_from(c: &mut PgConnection, log: LogId, from: i64) -> Result<Runs> {
    let chunks = chunks_from_byte(c, log, from, CHUNKS).await?;
    let mut read = Runs { first_byte: from, first_line: 0, runs: Vec::new(), next: from };
    for (n, chunk) in chunks.iter().enumerate() {
        let mut skip = if n == 0 { (from - chunk.first_byte).max(0) as u64 } else { 0 };
        if n == 0 {
            read.first_line = chunk.first_line;
        }
        let runs = decode(&chunk.data).map_err(|e| {
            Error::Inconsistent(format!("log {} has a chunk at byte {} that is broken: {e}", log, chunk.first_byte))
        })?;
        for mut run in runs {
            let len = run.content_len();
            if skip >= len && len > 0 {
                skip -= len;
                read.first_line += newlines(&run.bytes, run.gap());
                continue;
            }
            if skip > 0 {
                match run.gap() {
                    Some(gap) => run.bytes = (gap - skip).to_le_bytes().to_vec(),
                    None => {
                        let tail = run.bytes.split_off(skip as usize);
                        read.first_line += newlines(&run.bytes, None);
                        run.bytes = tail;
                    }
                }
                skip = 0;
            }
            read.runs.push(run);
        }
        read.next = chunk.first_byte + i64::from(chunk.bytes);
    }
    Ok(read)
}

fn newlines(bytes: &[u8], gap: Option<u64>) -> i64 {
    if gap.is_some() { 0 } else { bytes.iter().filter(|b| **b == b'\n').count() as i64 }
}

/// Which part of a log.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// From this line on.
    Line(i64),
    /// So many lines at its end.
    Tail(i64),
}

/// How much of it at most.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub lines: i64,
    /// Shown bytes of one line.
    pub line_bytes: usize,
    /// Content bytes read.
    pub read_bytes: i64,
}

#[derive(Debug)]
pub struct Window {
    pub lines: Vec<Line>,
    /// `\n` and content bytes in the log when it was read.
    pub total_lines: i64,
    pub total_bytes: i64,
    /// Where a live tail goes on, and the line there: the start of the last
    /// line if that has no end yet, else the end.
    pub next_byte: i64,
    pub next_line: i64,
    /// The window reaches the end of what there is.
    pub at_end: bool,
}

/// Reads a window.
pub async fn window(c: &mut PgConnection, log: LogId, start: Start, bounds: Bounds) -> Result<Window> {
    let (total_bytes, total_lines) = log_end(c, log).await?;
    let (from_line, mut offset) = match start {
        Start::Line(n) => {
            let n = n.clamp(0, total_lines);
            (n, chunk_of_line(c, log, n).await?)
        }
        Start::Tail(n) => {
            let n = (total_lines - n).max(0);
            (n, chunk_of_line(c, log, n).await?)
        }
    };
    let far = matches!(start, Start::Tail(_)) && total_bytes - offset > bounds.read_bytes;
    if far {
        // The last lines are too long to read them all: begin inside one.
        offset = total_bytes - bounds.read_bytes;
    } else {
        // The chunk from its beginning, so that its line count holds.
        offset = chunk_start(c, log, offset).await?;
    }
    let mut lines: Option<Lines> = None;
    let end = (offset + bounds.read_bytes).min(total_bytes);
    while offset < end {
        let read = runs_from(c, log, offset).await?;
        if read.runs.is_empty() {
            break;
        }
        let into = lines.get_or_insert_with(|| {
            let mut into = Lines::new(read.first_byte, read.first_line, from_line, bounds.line_bytes);
            into.current.head_cut = far && read.first_byte > 0;
            into
        });
        for run in &read.runs {
            into.push(run);
        }
        offset = read.next;
        if into.done.len() as i64 >= bounds.lines {
            break;
        }
    }
    let Some(lines) = lines else {
        let (next_byte, next_line) = (total_bytes, total_lines);
        return Ok(Window { lines: Vec::new(), total_lines, total_bytes, next_byte, next_line, at_end: true });
    };
    let all_read = lines.at_byte >= total_bytes;
    let enough = lines.done.len() as i64 > bounds.lines;
    let (next_byte, next_line) = lines.line_start();
    let partial = lines.partial().filter(|_| lines.done.len() as i64 <= bounds.lines).cloned();
    let mut shown: Vec<Line> = lines.done.into_iter().take(bounds.lines as usize).collect();
    // A line whose end was not reached is shown at the log's end, or when it alone is all that was read.
    if let Some(partial) = partial
        && (all_read || shown.is_empty())
        && (shown.len() as i64) < bounds.lines
    {
        shown.push(partial);
    }
    Ok(Window { lines: shown, total_lines, total_bytes, next_byte, next_line, at_end: all_read && !enough })
}

/// Content bytes and `\n` of a log up to now: one index probe.
pub async fn log_end(c: &mut PgConnection, log: LogId) -> Result<(i64, i64)> {
    let last = sqlx::query!(
        r#"select first_byte + bytes as "bytes!", first_line + lines as "lines!" from log_chunks
            where log_id = $1 order by first_byte desc limit 1"#,
        log.0
    )
    .fetch_optional(c)
    .await?;
    Ok(last.map_or((0, 0), |l| (l.bytes, l.lines)))
}

async fn chunk_start(c: &mut PgConnection, log: LogId, byte: i64) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        "select first_byte from log_chunks where log_id = $1 and first_byte <= $2 order by first_byte desc limit 1",
        log.0,
        byte
    )
    .fetch_optional(c)
    .await?
    .unwrap_or(0))
}

/// Whether the log is closed; none if there is no such log.
pub async fn log_complete(c: &mut PgConnection, log: LogId) -> Result<Option<bool>> {
    Ok(sqlx::query_scalar!("select complete from logs where id = $1", log.0).fetch_optional(c).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(channel: Channel, text: &[u8]) -> Run {
        Run { channel, bytes: text.to_vec() }
    }

    #[test]
    fn a_line_may_be_made_of_runs_of_two_channels() {
        let mut lines = Lines::new(0, 0, 0, 100);
        lines.push(&run(Channel::Stdout, b"one\ntw"));
        lines.push(&run(Channel::Stderr, b"o\n"));
        lines.push(&run(Channel::Stdout, b"rest"));
        let texts: Vec<String> = lines.done.iter().map(Line::text).collect();
        assert_eq!(texts, ["one", "two"]);
        assert_eq!(lines.done[1].pieces.len(), 2);
        assert_eq!(lines.done[1].first_byte, 4);
        assert_eq!(lines.partial().unwrap().text(), "rest");
        assert_eq!(lines.line_start(), (8, 2));
        assert_eq!(lines.at_byte(), 12);
    }

    #[test]
    fn a_long_line_is_shown_by_its_beginning_and_a_gap_by_its_size() {
        let mut lines = Lines::new(0, 0, 0, 4);
        lines.push(&run(Channel::Stdout, b"0123456789"));
        lines.push(&Run { channel: Channel::Gap, bytes: 1_234_567u64.to_le_bytes().to_vec() });
        lines.push(&run(Channel::Stdout, b"\nx\n"));
        assert_eq!(lines.done[0].text(), "0123[1.2 MB left out here][6 B more in this line]");
        assert_eq!(lines.done[1].first_byte, 1_234_578);
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_234_567), "1.2 MB");
        assert_eq!(size(999_999), "1.0 MB");
        assert_eq!(size(5_000_000_000), "5.0 GB");
    }
}
