//! What became of one sending.

use std::time::Duration;

/// A transport's verdict on one delivery. Texts are one line each, for rows and people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has taken it; what it said, such as `250 2.0.0 queued as 4F2`.
    Sent { answer: String },
    /// Not now. Tried again with back-off, and not before `after` if the other side named a time.
    Again { why: String, after: Option<Duration> },
    /// The connection was lost after all was said and before the answer: it has it, or not.
    /// Tried again as it was.
    Unsure { why: String },
    /// Nobody there takes anything now: the destination backs off as a whole, and this delivery
    /// has used no attempt.
    Down { why: String },
    /// It will never take this one: parked at once, for people.
    Refused { why: String },
}
