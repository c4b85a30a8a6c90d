//! AnyBranchScheduler (SC-11): a timer for each (codebase, project, repository,
//! branch), each by the rule of [`super::single_branch`].
//!
//! What fires takes the changes of its own branch and no other's (unlike D-28).
//! Branches are made by whoever may push, so there is a bound: of more than
//! [`TIMERS`] timers that run, the one that is due first fires at once; of more
//! than [`IDLE`] branches that have only unimportant changes, which start
//! nothing, the oldest are forgotten.

use super::{Classified, Decision, moment, single_branch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidemill_model::{ChangeId, NewChange};
use time::OffsetDateTime;

pub const TIMERS: usize = 5000;
pub const IDLE: usize = 500;

#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// For each branch.
    pub each: single_branch::Rule,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// By [`key`].
    #[serde(default)]
    pub branches: BTreeMap<String, single_branch::State>,
}

impl State {
    /// Branches whose timer runs, and those that only keep unimportant changes.
    fn counts(&self) -> (usize, usize) {
        let timers = self.branches.values().filter(|b| b.fires_at_us.is_some()).count();
        (timers, self.branches.len() - timers)
    }

    fn tidy(&mut self) {
        self.branches.retain(|_, branch| !branch.collected.is_empty());
    }

    /// Fires what is due first, or forgets what came first, until the bounds hold.
    fn bound(&mut self) -> Vec<Decision> {
        let mut decisions = Vec::new();
        if self.branches.len() <= IDLE {
            return decisions;
        }
        let (mut timers, mut idle) = self.counts();
        while timers > TIMERS {
            let first =
                self.branches.iter().filter(|(_, b)| b.fires_at_us.is_some()).min_by_key(|(_, b)| b.fires_at_us);
            let Some(key) = first.map(|(key, _)| key.clone()) else { break };
            decisions.extend(self.branches.remove(&key).map(|mut b| b.collected.take()));
            timers -= 1;
        }
        while idle > IDLE {
            let resting = self.branches.iter().filter(|(_, b)| b.fires_at_us.is_none());
            let oldest = resting.min_by_key(|(_, b)| b.collected.ids().next_back());
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.branches.remove(&key);
            idle -= 1;
        }
        decisions
    }
}

/// What has a timer of its own.
pub fn key(change: &NewChange) -> String {
    let key = (&change.codebase, &change.project, &change.repository, &change.branch);
    serde_json::to_string(&key).expect("texts are JSON")
}

impl super::Rule for Rule {
    type State = State;
    const CLOCK_FIRST: bool = true;

    fn change(&self, state: &mut State, change: &Classified, now: OffsetDateTime) -> Vec<Decision> {
        if self.each.tree_stable.is_none() {
            return self.each.change(&mut single_branch::State::default(), change, now);
        }
        if !change.important && self.each.only_important {
            return Vec::new();
        }
        let branch = state.branches.entry(key(&change.change.new)).or_default();
        let mut decisions = self.each.change(branch, change, now);
        decisions.extend(state.bound());
        decisions
    }

    fn tick(&self, state: &mut State, now: OffsetDateTime) -> Vec<Decision> {
        // In the order of their timers; branches of one moment in that of their names.
        let mut due: Vec<(Option<i64>, Decision)> = Vec::new();
        for branch in state.branches.values_mut() {
            let at = branch.fires_at_us;
            due.extend(self.each.tick(branch, now).into_iter().map(|d| (at, d)));
        }
        due.sort_by_key(|(at, _)| *at);
        state.tidy();
        due.into_iter().map(|(_, decision)| decision).collect()
    }

    fn run(&self, state: &mut State) -> Vec<Decision> {
        std::mem::take(state).branches.into_values().flat_map(|mut branch| self.each.run(&mut branch)).collect()
    }

    fn next_at(&self, state: &State) -> Option<OffsetDateTime> {
        state.branches.values().filter_map(|b| b.fires_at_us).min().and_then(moment)
    }

    fn waiting(state: &State) -> Vec<ChangeId> {
        state.branches.values().flat_map(|b| b.collected.ids()).collect()
    }
}
