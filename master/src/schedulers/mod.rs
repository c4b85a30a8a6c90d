//! Scheduler rules: pure functions of a state, classified changes and the time
//! to buildsets and a new state. The schedule loop ([`crate::loops::schedule`])
//! feeds them from rows and commits what they decide, exactly once.

pub mod single_branch;

use tidemill_model::{Change, ChangeId};
use time::OffsetDateTime;

/// A change that passed the scheduler's filter.
#[derive(Clone, Debug)]
pub struct Classified {
    pub change: Change,
    pub important: bool,
}

/// A buildset that a rule asks for: the changes that it is made of, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub changes: Vec<ChangeId>,
}

/// What a rule decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided<S> {
    pub decisions: Vec<Decision>,
    pub state: S,
    /// When to ask again without a change.
    pub next_at: Option<OffsetDateTime>,
}
