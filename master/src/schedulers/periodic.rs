//! Periodic (SC-13, D-32): every so many seconds, at once when it is new.
//!
//! Beats lie on a grid from the first one, so a late look moves none of them;
//! those missed while no master ran are one run, at once. Beats while it was
//! disabled are none.

use super::timed::{self, Timed};
use super::{Classified, Decision, micros, moment};
use serde::{Deserialize, Serialize};
use tidemill_model::ChangeId;
use time::OffsetDateTime;

/// Shorter ones are as good as for ever at once.
const SHORTEST_US: i64 = 100_000;

#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub timed: Timed,
    pub interval_us: u64,
    /// When it was enabled last, if it was disabled before.
    pub enabled_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    #[serde(flatten)]
    pub timed: timed::State,
    /// The next beat, microseconds since 1970; none before the first look.
    #[serde(default)]
    pub next_us: Option<i64>,
    /// The interval that it was reckoned with.
    #[serde(default)]
    pub interval_us: i64,
}

impl Rule {
    fn interval(&self) -> i64 {
        i64::try_from(self.interval_us).unwrap_or(i64::MAX).clamp(SHORTEST_US, i64::MAX / 4)
    }

    /// The first beat of the grid after a time.
    fn after(&self, beat: i64, time: i64) -> i64 {
        let passed = time.saturating_sub(beat).div_euclid(self.interval()) + 1;
        beat.saturating_add(passed.saturating_mul(self.interval()))
    }
}

impl super::Rule for Rule {
    type State = State;
    const CLOCK_FIRST: bool = false;

    fn change(&self, state: &mut State, change: &Classified, _: OffsetDateTime) -> Vec<Decision> {
        self.timed.change(&mut state.timed, change);
        Vec::new()
    }

    fn tick(&self, state: &mut State, now: OffsetDateTime) -> Vec<Decision> {
        self.timed.look(&mut state.timed);
        let now = micros(now);
        let mut next = match state.next_us {
            // Another interval counts from the last beat.
            Some(next) if state.interval_us != self.interval() => next - state.interval_us + self.interval(),
            Some(next) => next,
            None => now,
        };
        if let Some(enabled) = self.enabled_at.map(micros).filter(|at| *at > next) {
            next = self.after(next, enabled);
        }
        let mut decisions = Vec::new();
        if next <= now {
            decisions = self.timed.beat(&mut state.timed, false);
            next = self.after(next, now);
        }
        state.next_us = Some(next);
        state.interval_us = self.interval();
        decisions
    }

    fn run(&self, state: &mut State) -> Vec<Decision> {
        self.timed.run(&mut state.timed)
    }

    fn next_at(&self, state: &State) -> Option<OffsetDateTime> {
        state.next_us.and_then(moment)
    }

    fn waiting(state: &State) -> Vec<ChangeId> {
        state.timed.collected.ids().collect()
    }
}
