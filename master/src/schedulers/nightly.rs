//! Nightly (SC-14 to SC-16, D-31): at times of the day, each once (see
//! [`super::timetable`]). A jitter moves each time by the same, which follows
//! from the name.

use super::cron::{self, Times};
use super::timed::{self, Timed};
use super::timetable::{Next, Timetable};
use super::{Classified, Decision};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tidemill_lang::definition::NightlyDef;
use tidemill_model::ChangeId;
use time::{Duration, OffsetDateTime};

#[derive(Clone, Debug)]
pub struct Rule {
    timed: Timed,
    times: Timetable,
    /// Those of its times that build also without a change.
    force: Option<Times>,
    offset: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    #[serde(flatten)]
    pub timed: timed::State,
    /// Without the jitter; none before the first look.
    #[serde(flatten)]
    pub next: Next,
}

impl Rule {
    /// `enabled_at`: when it was enabled last, if it was disabled before.
    pub fn new(name: &str, def: &NightlyDef, enabled_at: Option<OffsetDateTime>) -> Result<Rule, cron::Error> {
        let offset = jitter(name, def.jitter_us);
        let parts: Vec<_> = [Some(&def.at), def.force_at.as_ref()].into_iter().flatten().collect();
        Ok(Rule {
            timed: Timed::new(&def.timed),
            times: Timetable::new(&parts, enabled_at.map(|at| at - offset))?,
            force: def.force_at.as_ref().map(Times::new).transpose()?,
            offset,
        })
    }

    /// Whether one of those times that always build lies between two others, both included.
    fn forced(&self, from: OffsetDateTime, to: OffsetDateTime) -> bool {
        let just_before = from - Duration::microseconds(1);
        self.force.as_ref().and_then(|f| f.next(just_before)).is_some_and(|at| at <= to)
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
        // Without the jitter it would be so late.
        let now = now - self.offset;
        let Some(due) = self.times.next(&mut state.next, now).filter(|next| *next <= now) else { return Vec::new() };
        self.times.passed(&mut state.next, now);
        self.timed.beat(&mut state.timed, self.forced(due, now))
    }

    fn run(&self, state: &mut State) -> Vec<Decision> {
        self.timed.run(&mut state.timed)
    }

    fn next_at(&self, state: &State) -> Option<OffsetDateTime> {
        state.next.at().map(|next| next + self.offset)
    }

    fn waiting(state: &State) -> Vec<ChangeId> {
        state.timed.collected.ids().collect()
    }
}

/// Spread evenly over names, and always the same for one.
fn jitter(name: &str, most_us: u64) -> Duration {
    let hash = Sha256::digest(name);
    let number = hash.iter().take(8).fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    Duration::microseconds(i64::try_from(number.checked_rem(most_us).unwrap_or(0)).unwrap_or(0))
}
