//! Nightly (SC-14 to SC-16, D-31): at times of the day.
//!
//! The next time is in the state, so each comes once whatever the clock or the
//! masters do; those missed while no master ran are one run, at once. Times
//! while it was disabled, and those of a timetable that was another one then,
//! are none. A jitter moves each time by the same, which follows from the name.

use super::cron::{self, Times};
use super::timed::{self, Timed};
use super::{Classified, Decision, micros, moment};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidemill_lang::definition::{CronDef, NightlyDef};
use time::{Duration, OffsetDateTime};

#[derive(Clone, Debug)]
pub struct Rule {
    timed: Timed,
    times: Times,
    /// Also without a change.
    force: Option<Times>,
    /// Of all this, to see when it is another.
    said: String,
    offset: Duration,
    /// When it was enabled last, if it was disabled before.
    enabled_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    #[serde(flatten)]
    pub timed: timed::State,
    /// The next time, microseconds since 1970, without the jitter; none before
    /// the first look.
    #[serde(default)]
    pub next_us: Option<i64>,
    /// The timetable that it was reckoned with.
    #[serde(default)]
    pub times: String,
}

impl Rule {
    pub fn new(name: &str, def: &NightlyDef, enabled_at: Option<OffsetDateTime>) -> Result<Rule, cron::Error> {
        let force = def.force_at.as_ref();
        let said = [Some(words(&def.at)), force.map(|f| format!("always at {}", words(f)))];
        Ok(Rule {
            timed: Timed::new(&def.timed),
            times: Times::new(&def.at)?,
            force: force.map(Times::new).transpose()?,
            said: said.into_iter().flatten().collect::<Vec<_>>().join(", "),
            offset: jitter(name, def.jitter_us),
            enabled_at,
        })
    }

    fn first_after(&self, at: OffsetDateTime) -> Option<OffsetDateTime> {
        let forced = self.force.as_ref().and_then(|f| f.next(at));
        [self.times.next(at), forced].into_iter().flatten().min()
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
        // Without the jitter it would be so late.
        let now = now - self.offset;
        let mut next = state.next_us.and_then(moment).filter(|_| state.times == self.said);
        if next.is_none() {
            next = self.first_after(now);
        } else if let Some(enabled) = self.enabled_at.map(|at| at - self.offset)
            && next.is_some_and(|next| next <= enabled)
        {
            next = self.first_after(enabled);
        }
        let mut decisions = Vec::new();
        if let Some(due) = next.filter(|next| *next <= now) {
            let just_before = due - Duration::microseconds(1);
            let forced = self.force.as_ref().and_then(|f| f.next(just_before)).is_some_and(|at| at <= now);
            decisions = self.timed.beat(&mut state.timed, forced);
            next = self.first_after(now);
        }
        state.next_us = next.map(micros);
        state.times.clone_from(&self.said);
        decisions
    }

    fn run(&self, state: &mut State) -> Vec<Decision> {
        self.timed.run(&mut state.timed)
    }

    fn next_at(&self, state: &State) -> Option<OffsetDateTime> {
        state.next_us.and_then(moment).map(|next| next + self.offset)
    }
}

/// As a line of a crontab, and the zone.
pub(crate) fn words(at: &CronDef) -> String {
    let CronDef { minute, hour, day_of_month, month, day_of_week, timezone } = at;
    format!("{minute} {hour} {day_of_month} {month} {day_of_week} ({timezone})")
}

/// Spread evenly over names, and always the same for one.
fn jitter(name: &str, most_us: u64) -> Duration {
    let hash = Sha256::digest(name);
    let number = hash.iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    Duration::microseconds(i64::try_from(number.checked_rem(most_us).unwrap_or(0)).unwrap_or(0))
}
