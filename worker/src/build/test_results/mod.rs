//! Results of single tests, which steps give: by files that their commands leave behind
//! (`test_reports`), or by their own functions (`addTestResult`).
//!
//! They go up in parts, as they come; a set ends with its step, however that ended. What is
//! beyond the limits of a build is left out and said. Secrets show as their names.

mod junit;
mod reports;

use super::step::StepRun;
use super::text;
use crate::clock;
use crate::order::Order;
use crate::secrets::Secrets;
use crate::spool::Spool;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;
use tidemill_model::wire::{
    Event, TEST_MESSAGE_MAX, TEST_NAME_MAX, TEST_PART_MAX, TEST_RESULTS_MAX, TestOutcome, TestResult,
};
use tokio::sync::watch;

/// The set of what reports hold.
const SET: &str = "tests";
/// Most sets of a step.
const SETS_MAX: usize = 100;
/// Bytes after which a part goes up.
const PART_BYTES: usize = 256 << 10;
/// Most bytes of names and messages of a build's results.
const BYTES_MAX: usize = 32 << 20;
/// Of these bytes, when so many are used, messages get no more.
const MESSAGES_MAX: usize = 16 << 20;

/// Of a build; what is of a step goes when it is closed.
pub(crate) struct TestResults {
    begun: SystemTime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    results: usize,
    bytes: usize,
    /// Files that were read, as they were then: another step that finds them finds nothing new.
    read: HashSet<(PathBuf, Option<SystemTime>, u64)>,
    step: OfStep,
}

#[derive(Default)]
struct OfStep {
    sets: BTreeMap<String, Pending>,
    /// Folders of commands, and patterns below them.
    wanted: Vec<(String, String)>,
    counts: Counts,
    /// Results, and messages alone, beyond the limits.
    left_out: usize,
    messages_left_out: usize,
}

/// What of a set has not gone up yet.
#[derive(Default)]
struct Pending {
    parts: u32,
    results: Vec<TestResult>,
    bytes: usize,
}

/// How many results were so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    all: usize,
    failed: usize,
    errors: usize,
    skipped: usize,
}

impl Counts {
    fn add(&mut self, outcome: TestOutcome) {
        self.all += 1;
        match outcome {
            TestOutcome::Passed => {}
            TestOutcome::Failed => self.failed += 1,
            TestOutcome::Skipped => self.skipped += 1,
            TestOutcome::Error => self.errors += 1,
        }
    }

    /// `12 tests, 1 failed`.
    fn words(&self) -> String {
        let mut text = plural(self.all, "test");
        for (n, word) in [(self.failed, "failed"), (self.errors, "with errors"), (self.skipped, "skipped")] {
            if n > 0 {
                text.push_str(&format!(", {n} {word}"));
            }
        }
        text
    }
}

fn plural(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Where results of a step go.
#[derive(Clone)]
pub(crate) struct Sink {
    pub all: Arc<TestResults>,
    pub spool: Arc<Spool>,
    pub secrets: Arc<Secrets>,
    pub step: u32,
}

impl TestResults {
    /// Of a build that begins now.
    pub fn new() -> TestResults {
        TestResults { begun: SystemTime::now(), state: Mutex::default() }
    }

    /// Files that are to be read when the step is over.
    pub fn want(&self, workdir: &str, patterns: &[String]) {
        let mut state = self.state();
        for pattern in patterns {
            let wanted = (workdir.to_owned(), pattern.clone());
            if !state.step.wanted.contains(&wanted) {
                state.step.wanted.push(wanted);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while holding the results")
    }
}

impl Sink {
    /// A result of the step at hand. The error is for people.
    pub fn add(&self, set: &str, result: &TestResult) -> Result<(), String> {
        text::check_name("set of tests", set)?;
        let mut state = self.all.state();
        let state = &mut *state;
        let set = self.secrets.shown(set);
        if !state.step.sets.contains_key(&set) && state.step.sets.len() >= SETS_MAX {
            return Err(format!("a step has at most {SETS_MAX} sets of tests: {set:?} is too many"));
        }
        if state.results >= TEST_RESULTS_MAX {
            state.step.left_out += 1;
            return Ok(());
        }
        let mut result = self.kept(result);
        let message = result.message.as_ref().map_or(0, String::len);
        if message > 0 && state.bytes + message > MESSAGES_MAX {
            result.message = None;
            state.step.messages_left_out += 1;
        }
        let bytes = result.name.len() + result.path.len() + result.message.as_ref().map_or(0, String::len);
        if state.bytes + bytes > BYTES_MAX {
            state.step.left_out += 1;
            return Ok(());
        }
        (state.results, state.bytes) = (state.results + 1, state.bytes + bytes);
        state.step.counts.add(result.result);
        let pending = state.step.sets.entry(set.clone()).or_default();
        pending.bytes += bytes;
        pending.results.push(result);
        if pending.results.len() >= TEST_PART_MAX || pending.bytes >= PART_BYTES {
            self.send(&set, pending, false);
        }
        Ok(())
    }

    fn kept(&self, result: &TestResult) -> TestResult {
        let cut = |text: &str, most: usize| self.secrets.shown(text).chars().take(most).collect::<String>();
        TestResult {
            name: cut(&result.name, TEST_NAME_MAX),
            path: cut(&result.path, TEST_NAME_MAX),
            message: result.message.as_deref().map(|m| cut(m, TEST_MESSAGE_MAX)),
            ..*result
        }
    }

    fn send(&self, set: &str, pending: &mut Pending, last: bool) {
        pending.parts += 1;
        pending.bytes = 0;
        self.spool.event(Event::TestResults {
            step: self.step,
            set: set.to_owned(),
            part: pending.parts,
            last,
            results: std::mem::take(&mut pending.results),
            at_us: clock::now_us(),
        });
    }

    /// Ends the sets of the step.
    fn finish(&self) -> OfStep {
        let mut of_step = std::mem::take(&mut self.all.state().step);
        for (set, pending) in &mut of_step.sets {
            self.send(set, pending, true);
        }
        of_step
    }
}

/// The step is over: reads the reports that its commands left behind and ends its sets. Gives
/// words for the step's text; what was wrong is in a log of the step.
pub(super) async fn close(run: &mut StepRun<'_>) -> String {
    let sink = run.tests();
    let wanted = std::mem::take(&mut sink.all.state().step.wanted);
    let asked = !wanted.is_empty();
    let mut said = reports::Said::default();
    if asked {
        let (reader, folder, orders) = (sink.clone(), run.site.folder.to_owned(), run.orders.clone());
        let read = tokio::task::spawn_blocking(move || reports::read(&reader, &folder, &wanted, &until(orders)));
        said = read.await.unwrap_or_else(|_| reports::Said::broken("the worker failed at reading test reports"));
    }
    let done = sink.finish();
    if done.left_out > 0 {
        said.lines.push(format!(
            "{} left out: a build keeps {TEST_RESULTS_MAX} results of tests, and {} MiB of their names and messages",
            plural(done.left_out, "result"),
            BYTES_MAX >> 20
        ));
    }
    if done.messages_left_out > 0 {
        said.lines.push(format!(
            "{} left out: a build keeps {} MiB of them",
            plural(done.messages_left_out, "message"),
            MESSAGES_MAX >> 20
        ));
    }
    if !said.lines.is_empty() {
        run.text_log("test reports", &said.lines.join("\n"));
    }
    let mut words = vec![];
    if asked && done.counts.all > 0 {
        words.push(done.counts.words());
    }
    if said.unreadable > 0 {
        words.push(format!("{} not readable", plural(said.unreadable, "test report")));
    }
    words.join(", ")
}

/// An error as soon as somebody gives another order.
fn until(mut orders: watch::Receiver<Order>) -> impl Fn() -> std::io::Result<()> + Send {
    orders.mark_unchanged();
    move || match orders.has_changed() {
        Ok(false) => Ok(()),
        _ => Err(std::io::Error::other("the build was stopped")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_said_in_words() {
        let mut counts = Counts::default();
        counts.add(TestOutcome::Passed);
        assert_eq!(counts.words(), "1 test");
        counts.add(TestOutcome::Failed);
        counts.add(TestOutcome::Skipped);
        counts.add(TestOutcome::Error);
        assert_eq!(counts.words(), "4 tests, 1 failed, 1 with errors, 1 skipped");
    }
}
