//! SingleBranchScheduler (SC-10, D-23 to D-26): one timer for all matching
//! changes.
//!
//! Without `treeStableTimer` each important change is a buildset of its own at
//! once, and unimportant ones are dropped. With it, an important change starts
//! or restarts the timer; an unimportant one restarts a running timer but
//! never starts one; when the timer fires, one buildset holds all collected
//! changes. The state is in the scheduler's row, so a timer survives a restart
//! of every master.

use super::collected::Collected;
use super::{Classified, Decision, micros, moment};
use serde::{Deserialize, Serialize};
use tidemill_model::ChangeId;
use time::{Duration, OffsetDateTime};

#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub tree_stable: Option<Duration>,
    /// Drop unimportant changes instead of letting them ride along.
    pub only_important: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Changes since the last buildset.
    #[serde(flatten)]
    pub collected: Collected,
    /// When the running timer fires, microseconds since 1970.
    #[serde(default)]
    pub fires_at_us: Option<i64>,
}

impl Rule {
    pub fn new(tree_stable_us: Option<u64>, only_important: bool) -> Rule {
        let stable = |us| Duration::microseconds(i64::try_from(us).unwrap_or(i64::MAX));
        Rule { tree_stable: tree_stable_us.map(stable), only_important }
    }
}

impl State {
    fn fire(&mut self) -> Decision {
        self.fires_at_us = None;
        self.collected.take()
    }
}

impl super::Rule for Rule {
    type State = State;

    // What was due before these changes came is not delayed by them, if the
    // loop was late; else a replica outage would merge more than the timer says.
    const CLOCK_FIRST: bool = true;

    /// The timer is that of the time of deciding, not of the commit (D-25
    /// likewise: order of arrival counts).
    fn change(&self, state: &mut State, change: &Classified, now: OffsetDateTime) -> Vec<Decision> {
        let Classified { change, important } = change;
        let Some(stable) = self.tree_stable else {
            return important.then(|| Decision { changes: vec![change.id], left_out: 0 }).into_iter().collect();
        };
        if *important || !self.only_important {
            // An unimportant one without a timer rides along with the next important one.
            state.collected.push(change.id, &change.new.codebase);
            if *important || state.fires_at_us.is_some() {
                state.fires_at_us = Some(micros(now.saturating_add(stable)));
            }
        }
        Vec::new()
    }

    fn tick(&self, state: &mut State, now: OffsetDateTime) -> Vec<Decision> {
        let most = now.saturating_add(self.tree_stable.unwrap_or_default());
        match (&mut state.fires_at_us, self.tree_stable) {
            (Some(at), _) => *at = micros(most).min(*at),
            // The revision before let them ride along; this one drops them (D-23).
            (None, None) => state.collected = Collected::default(),
            (None, Some(_)) => {}
        }
        let due = state.fires_at_us.is_some_and(|at| at <= micros(now));
        due.then(|| state.fire()).into_iter().collect()
    }

    fn run(&self, state: &mut State) -> Vec<Decision> {
        (!state.collected.is_empty()).then(|| state.fire()).into_iter().collect()
    }

    fn next_at(&self, state: &State) -> Option<OffsetDateTime> {
        state.fires_at_us.and_then(moment)
    }

    fn waiting(state: &State) -> Vec<ChangeId> {
        state.collected.ids().collect()
    }
}
