//! What Periodic and Nightly do when their time comes.
//!
//! With `onlyIfChanged` changes are collected, and a time without an important
//! one starts nothing; but the first time does, for something to compare with,
//! also the first after the flag was switched on (D-31).

use super::collected::Collected;
use super::{Classified, Decision};
use serde::{Deserialize, Serialize};
use tidemill_lang::definition::TimedDef;

#[derive(Clone, Copy, Debug, Default)]
pub struct Timed {
    pub only_if_changed: bool,
    pub only_important: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Changes since the last buildset.
    #[serde(flatten)]
    pub collected: Collected,
    /// One of them is important.
    #[serde(default)]
    pub important: bool,
    /// It was built once since `onlyIfChanged` is set.
    #[serde(default)]
    pub baseline: bool,
}

impl Timed {
    pub fn new(def: &TimedDef) -> Timed {
        Timed { only_if_changed: def.only_if_changed, only_important: def.only_important }
    }

    pub fn change(&self, state: &mut State, change: &Classified) {
        if self.only_if_changed && (change.important || !self.only_important) {
            state.collected.push(change.change.id, &change.change.new.codebase);
            state.important |= change.important;
        }
    }

    /// Before anything else at each look: what is built while the flag is off is
    /// nothing to compare with when it is on again, for nobody collects meanwhile.
    pub fn look(&self, state: &mut State) {
        state.baseline &= self.only_if_changed;
    }

    /// A time has come; `forced`: also without a change.
    pub fn beat(&self, state: &mut State, forced: bool) -> Vec<Decision> {
        let fires = !self.only_if_changed || forced || !state.baseline || state.important;
        if fires { self.run(state) } else { Vec::new() }
    }

    pub fn run(&self, state: &mut State) -> Vec<Decision> {
        state.important = false;
        state.baseline = self.only_if_changed;
        vec![state.collected.take()]
    }
}
