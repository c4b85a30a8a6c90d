//! Scheduler rules: pure functions of a state, classified changes and the time
//! to buildsets and a new state. The schedule loop ([`crate::loops::schedule`])
//! feeds them from rows and commits what they decide, exactly once.
//!
//! A rule is asked step by step: about each change in the order of its cursor,
//! about the clock, and to run now because a person said so. Its state is in
//! the scheduler's row, stays small whatever comes, and outlives every master.

pub mod any_branch;
pub mod collected;
pub mod cron;
pub mod dependent;
pub mod nightly;
pub mod nightly_triggerable;
pub mod periodic;
pub mod single_branch;
pub mod summary;
pub mod timed;
pub mod timetable;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill_model::{Change, ChangeId};
use time::OffsetDateTime;

/// A change that passed the scheduler's filter.
#[derive(Clone, Debug)]
pub struct Classified {
    pub change: Change,
    pub important: bool,
}

/// A buildset that a rule asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// The changes that it is made of, oldest first. None where a time came and
    /// no change: the newest of each branch.
    pub changes: Vec<ChangeId>,
    /// So many older ones are part of it and not listed.
    pub left_out: u64,
}

/// A rule that changes and the clock set off.
pub trait Rule: Send + 'static {
    /// What a row remembers between two looks. Its default is that of a
    /// scheduler that is new.
    type State: Clone + Default + Serialize + DeserializeOwned + Send + 'static;

    /// Whether what is due is decided before the changes that came meanwhile (a
    /// timer that was to collect up to then), or after them (a time of the day,
    /// which takes what is there).
    const CLOCK_FIRST: bool;

    /// A change has come.
    fn change(&self, state: &mut Self::State, change: &Classified, now: OffsetDateTime) -> Vec<Decision>;

    /// The clock says so much.
    fn tick(&self, state: &mut Self::State, now: OffsetDateTime) -> Vec<Decision>;

    /// A person wants it to run now, with what it has. No times move.
    fn run(&self, state: &mut Self::State) -> Vec<Decision>;

    /// When to tick again.
    fn next_at(&self, state: &Self::State) -> Option<OffsetDateTime>;

    /// The changes that it keeps for a later buildset.
    fn waiting(state: &Self::State) -> Vec<ChangeId>;
}

/// Microseconds since 1970: how states keep times.
pub(crate) fn micros(t: OffsetDateTime) -> i64 {
    (t.unix_timestamp_nanos() / 1000) as i64
}

/// Back from [`micros`].
pub(crate) fn moment(us: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000).ok()
}
