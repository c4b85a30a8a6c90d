//! The rules of schedulers: by tables, and by properties.

mod any_branch;
mod cron;
mod nightly;
mod periodic;
mod races;
mod single_branch;

use tidemill_master::schedulers::{Classified, Decision, Rule};
use tidemill_model::{Change, ChangeId, NewChange};
use time::OffsetDateTime;

/// So many seconds after the beginning.
fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_000_000 + seconds).unwrap()
}

fn change(id: i64, important: bool) -> Classified {
    of_branch(id, important, "main")
}

fn of_branch(id: i64, important: bool, branch: &str) -> Classified {
    let new = NewChange { branch: Some(branch.into()), ..NewChange::default() };
    Classified { change: Change { id: ChangeId(id), received_at: at(0), new }, important }
}

/// A rule with its state, shown things as the loop shows them.
struct Shown<R: Rule> {
    rule: R,
    state: R::State,
}

impl<R: Rule> Shown<R> {
    fn new(rule: R) -> Shown<R> {
        Shown { rule, state: R::State::default() }
    }

    /// One look: the changes of each buildset that it asked for. The state goes
    /// through JSON, as it does in a row.
    fn look(&mut self, changes: &[Classified], now: OffsetDateTime) -> Vec<Vec<i64>> {
        let mut decisions = Vec::new();
        if R::CLOCK_FIRST {
            decisions.extend(self.rule.tick(&mut self.state, now));
        }
        for change in changes {
            decisions.extend(self.rule.change(&mut self.state, change, now));
        }
        if !R::CLOCK_FIRST {
            decisions.extend(self.rule.tick(&mut self.state, now));
        }
        self.state = serde_json::from_value(serde_json::to_value(&self.state).unwrap()).unwrap();
        ids(decisions)
    }

    fn next_at(&self) -> Option<OffsetDateTime> {
        self.rule.next_at(&self.state)
    }

    fn run(&mut self) -> Vec<Vec<i64>> {
        ids(self.rule.run(&mut self.state))
    }

    /// The same state under another revision's rule.
    fn becomes(self, rule: R) -> Shown<R> {
        Shown { rule, state: self.state }
    }
}

fn ids(decisions: Vec<Decision>) -> Vec<Vec<i64>> {
    decisions.into_iter().map(|d| d.changes.into_iter().map(|c| c.0).collect()).collect()
}

/// No buildset.
const NONE: [Vec<i64>; 0] = [];
