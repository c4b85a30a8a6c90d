//! The build for people: each step's name, its output as it comes, its result.

use super::headers::Headers;
use super::target::Target;
use super::{End, View};
use crate::output::{Output, Style, style_of};
use crate::sanitize::{self, Sanitizer};
use crate::up::plural;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;
use tidemill_model::Results;
use tidemill_model::log::{Channel, decode};
use tidemill_model::wire::{Event, Frame, LogKind};

/// The log that a step's commands write to; its output needs no heading.
const MAIN: &str = "stdio";

/// Broken tests that are named at once.
const BROKEN: usize = 20;

pub struct Show {
    out: Output,
    /// All that the worker says of its commands, not the commands alone.
    headers: bool,
    begun: Instant,
    /// What is to be printed before the next thing.
    first: String,
    steps: BTreeMap<u32, Step>,
    logs: BTreeMap<u32, Log>,
    /// The log that was last written to.
    current: Option<u32>,
    /// The cursor is behind a line end.
    at_start: bool,
}

struct Step {
    name: String,
    at_us: i64,
    /// Its name was printed.
    told: bool,
}

struct Log {
    step: u32,
    name: String,
    /// Of a page: not for a terminal.
    html: bool,
    output: Sanitizer,
    errors: Sanitizer,
    short: Headers,
    whole: Sanitizer,
}

impl Show {
    pub fn begin(target: &Target, headers: bool, out: Output) -> Show {
        let mut about = vec![sanitize::line(&target.tree.path.display().to_string())];
        match &target.commit {
            Some(commit) => {
                let branch = commit.branch.as_deref().unwrap_or("detached");
                about.push(format!("{} {}", sanitize::line(branch), commit.id.chars().take(12).collect::<String>()));
                about.push(match commit.uncommitted {
                    0 => "clean".into(),
                    n => format!("dirty: {} not committed", plural(n, "file")),
                });
            }
            None => about.push("no commit".into()),
        }
        let first = format!(
            "{}  {}\n",
            out.paint(Style::Bold, &sanitize::line(&target.builder)),
            out.paint(Style::Dim, &about.join("  "))
        );
        Show {
            out,
            headers,
            begun: Instant::now(),
            first,
            steps: BTreeMap::new(),
            logs: BTreeMap::new(),
            current: None,
            at_start: true,
        }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let Some(last) = text.last() else { return Ok(()) };
        let mut stdout = io::stdout().lock();
        if !self.first.is_empty() {
            stdout.write_all(std::mem::take(&mut self.first).as_bytes())?;
        }
        stdout.write_all(text)?;
        self.at_start = *last == b'\n';
        Ok(())
    }

    /// A line of its own.
    fn line(&mut self, text: &str) -> io::Result<()> {
        if !self.at_start {
            self.write(b"\n")?;
        }
        self.current = None;
        self.write(format!("{text}\n").as_bytes())
    }

    /// Each is dimmed for itself: a colour over lines is lost in a pager.
    fn dim_lines(&mut self, text: &str) -> io::Result<()> {
        if !self.at_start && !text.is_empty() {
            self.write(b"\n")?;
        }
        for line in text.lines() {
            let line = self.out.paint(Style::Dim, line);
            self.write(format!("{line}\n").as_bytes())?;
        }
        Ok(())
    }

    fn mark(&self) -> String {
        self.out.paint(Style::Cyan, "──")
    }

    /// Tells the step's name, once.
    fn tell(&mut self, step: u32) -> io::Result<()> {
        let Some(known) = self.steps.get_mut(&step).filter(|s| !s.told) else { return Ok(()) };
        known.told = true;
        let name = sanitize::line(&known.name);
        let text = format!("{} {}", self.mark(), self.out.paint(Style::Bold, &name));
        self.line(&text)
    }

    fn finished(&mut self, step: u32, results: Results, summary: &str, hidden: bool, at_us: i64) -> io::Result<()> {
        let Some(known) = self.steps.remove(&step) else { return Ok(()) };
        if hidden && !known.told {
            return Ok(());
        }
        let took = if results == Results::Skipped { String::new() } else { span(at_us - known.at_us) };
        let name = sanitize::line(&known.name);
        let summary = shortened(summary, results);
        let about: Vec<String> =
            [took, sanitize::line(&summary)].into_iter().filter(|t| !t.is_empty() && *t != name).collect();
        let text = format!(
            "{} {name}: {}  {}",
            self.mark(),
            self.out.results(Some(results)),
            self.out.paint(Style::Dim, &about.join("  "))
        );
        self.line(text.trim_end())
    }

    fn event(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::StepStarted { step, name, at_us } => {
                self.steps.insert(*step, Step { name: name.clone(), at_us: *at_us, told: false });
                Ok(())
            }
            Event::StepFinished { step, results, summary, hidden, at_us, .. } => {
                self.finished(*step, *results, summary, *hidden, *at_us)
            }
            Event::StepUrl { step, name, url } => {
                self.tell(*step)?;
                self.line(&format!("   {}: {}", sanitize::line(name), sanitize::line(url)))
            }
            Event::LogOpened { log, step, name, kind, .. } => {
                let safe = || Sanitizer::new(self.out.colour);
                let log_ = Log {
                    step: *step,
                    name: name.clone(),
                    html: *kind == LogKind::Html,
                    output: safe(),
                    errors: safe(),
                    short: Headers::default(),
                    whole: Sanitizer::new(false),
                };
                self.logs.insert(*log, log_);
                if *kind == LogKind::Html {
                    self.tell(*step)?;
                    self.line(&self.out.paint(Style::Dim, &format!("   {}: a page in HTML", sanitize::line(name))))?;
                }
                Ok(())
            }
            Event::LogFinished { log, .. } => {
                let Some(mut known) = self.logs.remove(log) else { return Ok(()) };
                let rest = [known.output.finish(), known.errors.finish()].concat();
                if self.out.terminal && !known.html {
                    self.write(rest.as_bytes())?;
                }
                let rest = if self.headers { known.whole.finish() } else { known.short.finish() };
                self.dim_lines(&rest)
            }
            Event::TestResults { step, results, .. } => {
                let broken: Vec<_> = results.iter().filter(|r| r.result.is_bad()).collect();
                if !broken.is_empty() {
                    self.tell(*step)?;
                }
                for test in broken.iter().take(BROKEN) {
                    let says = test.message.as_deref().and_then(|m| m.lines().next()).unwrap_or_default();
                    let name = self.out.paint(Style::Red, &sanitize::line(&test.name));
                    let says = self.out.paint(Style::Dim, &sanitize::line(says));
                    self.line(format!("   {}: {name}  {says}", test.result.name()).trim_end())?;
                }
                match broken.len().saturating_sub(BROKEN) {
                    0 => Ok(()),
                    more => self.line(&self.out.paint(Style::Dim, &format!("   and {more} more"))),
                }
            }
            // The rest is for pages and programs.
            _ => Ok(()),
        }
    }

    /// Says whose output follows, where it is not the main log's.
    fn turn_to(&mut self, log: u32) -> io::Result<()> {
        if self.current == Some(log) {
            return Ok(());
        }
        let Some(known) = self.logs.get(&log) else { return Ok(()) };
        let (step, name) = (known.step, sanitize::line(&known.name));
        self.tell(step)?;
        if name != MAIN || self.current.is_some() {
            self.line(&self.out.paint(Style::Dim, &format!("   {name}:")))?;
        }
        self.current = Some(log);
        Ok(())
    }

    fn run(&mut self, log: u32, channel: Channel, bytes: &[u8], gap: Option<u64>) -> io::Result<()> {
        let (headers, terminal) = (self.headers, self.out.terminal);
        let Some(known) = self.logs.get_mut(&log).filter(|l| !l.html) else { return Ok(()) };
        let text = match channel {
            Channel::Header if headers => known.whole.push(bytes),
            Channel::Header => sanitize::text(&known.short.push(bytes)),
            Channel::Gap => format!("[{} bytes left out]\n", gap.unwrap_or_default()),
            // A pipe gets the bytes as they are, as from any other command.
            _ if !terminal => {
                self.turn_to(log)?;
                return self.write(bytes);
            }
            Channel::Stdout => known.output.push(bytes),
            Channel::Stderr => known.errors.push(bytes),
        };
        if text.is_empty() {
            return Ok(());
        }
        self.turn_to(log)?;
        match channel {
            Channel::Header | Channel::Gap => self.dim_lines(&text),
            _ => self.write(text.as_bytes()),
        }
    }
}

impl View for Show {
    fn frame(&mut self, frame: &Frame) -> io::Result<()> {
        match frame {
            Frame::Event(event) => self.event(event),
            Frame::Log { log, chunk } => decode(&chunk.data)
                .map_err(io::Error::other)?
                .iter()
                .try_for_each(|run| self.run(*log, run.channel, &run.bytes, run.gap())),
        }
    }

    /// A step that goes on is told before it says anything.
    fn pause(&mut self) -> io::Result<()> {
        for step in self.steps.keys().copied().collect::<Vec<_>>() {
            self.tell(step)?;
        }
        io::stdout().flush()
    }

    fn end(&mut self, end: &End) -> io::Result<()> {
        let results = self.out.paint(style_of(end.results), end.results.name());
        let took = span(self.begun.elapsed().as_micros() as i64);
        let summary = sanitize::line(&end.summary);
        let about = if summary == end.results.name() { took } else { format!("{took}  {summary}") };
        self.line(&format!("{} {}", self.out.paint(Style::Bold, &results), about))?;
        io::stdout().flush()
    }
}

/// A step's summary without what its line says already: the result, and the
/// beginning of a command that was shown.
fn shortened(summary: &str, results: Results) -> String {
    let told = format!(" ({results})");
    let summary = match summary.split_once(&told) {
        Some((words, notes)) => format!("{words}{notes}"),
        None => summary.to_owned(),
    };
    match summary.strip_prefix('\'').and_then(|rest| rest.rsplit_once('\'')) {
        Some((_, notes)) => notes.trim_start().to_owned(),
        None => summary,
    }
}

/// In milliseconds or with a digit behind the point, as long as that says something.
fn span(us: i64) -> String {
    match us.max(0) {
        us @ 0..999_500 => format!("{} ms", (us + 500) / 1000),
        us @ 999_500..9_950_000 => format!("{:.1} s", us as f64 / 1e6),
        us => crate::output::duration((us + 500_000) / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_does_not_say_a_thing_twice() {
        let short = |summary| shortened(summary, Results::Failure);
        assert_eq!(short("'make test' (failure)"), "");
        assert_eq!(short("'it's it' (failure) (timed out after 5 s)"), "(timed out after 5 s)");
        assert_eq!(short("3 of 4 tests (failure)"), "3 of 4 tests");
        assert_eq!(short("'twas fine"), "'twas fine");
        assert_eq!(shortened("'true' (skipped) (doStepIf is False)", Results::Skipped), "(doStepIf is False)");
    }

    #[test]
    fn times_have_as_many_digits_as_mean_something() {
        assert_eq!([400, 12_345, 1_234_567, 9_949_999].map(span), ["0 ms", "12 ms", "1.2 s", "9.9 s"]);
        assert_eq!([9_950_000, 61_000_000].map(span), ["10 s", "1 min 1 s"]);
    }
}
