//! The next time of a timetable, as a state keeps it.
//!
//! It is in the state, so it comes once whatever the clock or the masters do;
//! those missed while no master ran are one. Times while the scheduler was
//! disabled, and those of a timetable that was another one then, are none.

use super::cron::{self, Times};
use super::{micros, moment};
use serde::{Deserialize, Serialize};
use tidemill_lang::definition::CronDef;
use time::OffsetDateTime;

/// Times of the day: those of any of its parts.
#[derive(Clone, Debug)]
pub struct Timetable {
    parts: Vec<Times>,
    /// Of all this, to see when it is another.
    said: String,
    /// When the scheduler was enabled last, if it was disabled before.
    enabled_at: Option<OffsetDateTime>,
}

/// What a state remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Next {
    /// Microseconds since 1970; none where no time is waited for.
    #[serde(default)]
    next_us: Option<i64>,
    /// The timetable that it was reckoned with.
    #[serde(default)]
    times: String,
}

impl Next {
    pub fn at(&self) -> Option<OffsetDateTime> {
        self.next_us.and_then(moment)
    }

    /// Waits for no time.
    pub fn clear(&mut self) {
        self.next_us = None;
    }
}

impl Timetable {
    /// # Errors
    /// What `checkconfig` refuses; stored by another release perhaps.
    pub fn new(parts: &[&CronDef], enabled_at: Option<OffsetDateTime>) -> Result<Timetable, cron::Error> {
        Ok(Timetable {
            parts: parts.iter().map(|at| Times::new(at)).collect::<Result<_, _>>()?,
            said: parts.iter().map(|at| cron::words(at)).collect::<Vec<_>>().join(", "),
            enabled_at,
        })
    }

    /// The time that is waited for, reckoned from now where none is known.
    pub fn next(&self, kept: &mut Next, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let known = kept.at().filter(|_| kept.times == self.said);
        let next = match (known, self.enabled_at) {
            (Some(next), Some(enabled)) if next <= enabled => self.after(enabled),
            (Some(next), _) => Some(next),
            (None, _) => self.after(now),
        };
        self.keep(kept, next)
    }

    /// The same, after the time that was waited for has come.
    pub fn passed(&self, kept: &mut Next, now: OffsetDateTime) {
        self.keep(kept, self.after(now));
    }

    fn keep(&self, kept: &mut Next, next: Option<OffsetDateTime>) -> Option<OffsetDateTime> {
        kept.next_us = next.map(micros);
        kept.times.clone_from(&self.said);
        next
    }

    fn after(&self, at: OffsetDateTime) -> Option<OffsetDateTime> {
        self.parts.iter().filter_map(|times| times.next(at)).min()
    }
}
