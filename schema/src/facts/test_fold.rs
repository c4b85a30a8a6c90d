//! What results of tests mean: which tests began to fail and which pass again, and which
//! did both on the same sources. Pure.
//!
//! The sources of a build are its source stamps: a test that passes and fails on the same
//! ones is flaky, whoever repeated the build. A test has a state on a line from its first
//! failure on; of those that always passed nothing is kept but their results.

use super::test_results::Outcome;
use std::collections::{BTreeMap, HashMap};
use time::OffsetDateTime;

/// A test on a line of a builder: name, builder, line.
pub(super) type Key = (i64, i64, String);

/// How a test stands on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TestState {
    pub failing: bool,
    pub since: OffsetDateTime,
    pub since_build: i64,
    pub good_build: Option<i64>,
    /// The last result that this is made of.
    pub complete_at: OffsetDateTime,
}

/// A result of a test, new or from before.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub name: i64,
    pub builder: i64,
    pub build: i64,
    pub line: String,
    pub sources: String,
    pub revision: Option<String>,
    pub outcome: Outcome,
    pub at: OffsetDateTime,
}

/// A test that passed and failed on the same sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flake {
    pub at: OffsetDateTime,
    pub line: String,
    pub revision: Option<String>,
}

/// Flakes by name, builder, and the builds in which it passed and failed.
pub(super) type Flakes = BTreeMap<(i64, i64, i64, i64), Flake>;

/// States and what is remembered of the results so far.
#[derive(Default)]
pub(super) struct Fold {
    states: HashMap<Key, TestState>,
    /// States that results changed.
    pub changed: HashMap<Key, TestState>,
    pub flakes: Flakes,
    /// The last build in which it passed, by line.
    passed: HashMap<Key, (OffsetDateTime, i64)>,
    /// The last builds in which it passed and failed, by name, builder and sources.
    by_sources: HashMap<(i64, i64, String), [Option<i64>; 2]>,
}

impl Fold {
    /// After results that left tests so.
    pub fn of(states: HashMap<Key, TestState>) -> Fold {
        Fold { states, ..Fold::default() }
    }

    /// A result that was there before, in the order of time.
    pub fn remember(&mut self, seen: &Seen) {
        let failed = match seen.outcome {
            Outcome::Skipped => return,
            Outcome::Passed => false,
            Outcome::Failed | Outcome::Error => true,
        };
        if !failed {
            self.passed.insert(key(seen), (seen.at, seen.build));
        }
        let sources = (seen.name, seen.builder, seen.sources.clone());
        self.by_sources.entry(sources).or_default()[usize::from(failed)] = Some(seen.build);
    }

    /// A new result, in the order of time.
    pub fn add(&mut self, seen: &Seen) {
        let failed = match seen.outcome {
            Outcome::Skipped => return,
            Outcome::Passed => false,
            Outcome::Failed | Outcome::Error => true,
        };
        let sources = (seen.name, seen.builder, seen.sources.clone());
        let other = self.by_sources.get(&sources).and_then(|b| b[usize::from(!failed)]);
        if let Some(other) = other {
            let (passed, failed) = if failed { (other, seen.build) } else { (seen.build, other) };
            let flake = Flake { at: seen.at, line: seen.line.clone(), revision: seen.revision.clone() };
            self.flakes.entry((seen.name, seen.builder, passed, failed)).or_insert(flake);
        }
        self.turn(seen, failed);
        self.remember(seen);
    }

    fn turn(&mut self, seen: &Seen, failed: bool) {
        let key = key(seen);
        let state = self.states.get(&key).copied();
        // What comes late turns nothing back.
        if state.is_some_and(|s| seen.at < s.complete_at) {
            return;
        }
        let begins = TestState {
            failing: failed,
            since: seen.at,
            since_build: seen.build,
            good_build: state.and_then(|s| s.good_build),
            complete_at: seen.at,
        };
        let next = match (state, failed) {
            (None, false) => return,
            // Written by failures and by turns only: most tests pass.
            (Some(s), false) if !s.failing => return,
            (Some(s), true) if s.failing => TestState { complete_at: seen.at, ..s },
            (_, true) => {
                let good = self.passed.get(&key).filter(|(at, _)| *at <= seen.at).map(|(_, build)| *build);
                TestState { good_build: good, ..begins }
            }
            (Some(_), false) => begins,
        };
        self.states.insert(key.clone(), next);
        self.changed.insert(key, next);
    }
}

fn key(seen: &Seen) -> Key {
    (seen.name, seen.builder, seen.line.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::Duration;

    fn at(n: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(n)
    }

    fn seen(build: i64, sources: &str, outcome: Outcome) -> Seen {
        Seen {
            name: 1,
            builder: 1,
            build,
            line: "main".into(),
            sources: sources.into(),
            revision: Some(sources.into()),
            outcome,
            at: at(build),
        }
    }

    fn state(fold: &Fold) -> Option<TestState> {
        fold.changed.get(&(1, 1, "main".into())).copied()
    }

    #[test]
    fn a_test_that_always_passed_has_no_state() {
        let mut fold = Fold::default();
        fold.add(&seen(1, "a", Outcome::Passed));
        fold.add(&seen(2, "a", Outcome::Skipped));
        assert_eq!((state(&fold), fold.flakes.len()), (None, 0));
    }

    #[test]
    fn it_fails_since_the_first_failure_after_the_last_good_build_until_it_passes() {
        let mut fold = Fold::default();
        fold.remember(&seen(1, "a", Outcome::Passed));
        fold.add(&seen(2, "b", Outcome::Passed));
        fold.add(&seen(3, "c", Outcome::Failed));
        fold.add(&seen(4, "d", Outcome::Error));
        let failing =
            TestState { failing: true, since: at(3), since_build: 3, good_build: Some(2), complete_at: at(4) };
        assert_eq!(state(&fold), Some(failing));
        fold.add(&seen(6, "f", Outcome::Passed));
        let good = TestState { failing: false, since: at(6), since_build: 6, good_build: Some(2), complete_at: at(6) };
        assert_eq!(state(&fold), Some(good));
        // Late: it was so then, and is not now.
        fold.add(&seen(5, "e", Outcome::Failed));
        assert_eq!(state(&fold), Some(good));
        assert!(fold.flakes.is_empty());
    }

    #[test]
    fn who_passes_and_fails_on_the_same_sources_is_flaky_whichever_came_first() {
        let mut fold = Fold::default();
        fold.add(&seen(1, "a", Outcome::Failed));
        fold.add(&seen(2, "a", Outcome::Passed));
        fold.add(&seen(3, "b", Outcome::Passed));
        fold.add(&seen(4, "b", Outcome::Failed));
        fold.add(&seen(5, "c", Outcome::Failed));
        let all: Vec<(i64, i64)> = fold.flakes.keys().map(|k| (k.2, k.3)).collect();
        assert_eq!(all, [(2, 1), (3, 4)]);
        assert_eq!(fold.flakes[&(1, 1, 3, 4)], Flake { at: at(4), line: "main".into(), revision: Some("b".into()) });
    }
}
