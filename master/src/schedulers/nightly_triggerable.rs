//! NightlyTriggerable (SC-19, D-33): remembers the latest trigger, fires it once
//! at the next of its times, and forgets it.
//!
//! The time is reckoned when something is remembered, and kept (see
//! [`super::timetable`]). A trigger that comes later takes the place of the
//! former and has its time. Times while it was disabled are none; what it
//! remembers waits for the next one.

use super::cron;
use super::timetable::{Next, Timetable};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_lang::definition::CronDef;
use time::OffsetDateTime;

#[derive(Clone, Debug)]
pub struct Rule {
    times: Timetable,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The latest trigger, as whoever fires it understands it.
    #[serde(default)]
    pub latest: Option<Value>,
    /// When it fires; none without one.
    #[serde(flatten)]
    pub next: Next,
}

impl Rule {
    /// `enabled_at`: when it was enabled last, if it was disabled before.
    pub fn new(at: &CronDef, enabled_at: Option<OffsetDateTime>) -> Result<Rule, cron::Error> {
        Ok(Rule { times: Timetable::new(&[at], enabled_at)? })
    }

    /// A trigger has come.
    pub fn remember(&self, state: &mut State, trigger: Value, now: OffsetDateTime) {
        state.latest = Some(trigger);
        self.times.next(&mut state.next, now);
    }

    /// The clock says so much: what fires now.
    pub fn tick(&self, state: &mut State, now: OffsetDateTime) -> Option<Value> {
        if state.latest.is_none() {
            state.next.clear();
            return None;
        }
        self.times.next(&mut state.next, now).filter(|next| *next <= now)?;
        state.next.clear();
        state.latest.take()
    }

    /// When to tick again.
    pub fn next_at(&self, state: &State) -> Option<OffsetDateTime> {
        state.next.at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::macros::datetime;

    fn rule(hour: &str, enabled_at: Option<OffsetDateTime>) -> Rule {
        let at = CronDef { minute: "0".into(), hour: hour.into(), ..CronDef::default() };
        Rule::new(&at, enabled_at).unwrap()
    }

    #[test]
    fn the_latest_trigger_fires_once_at_the_next_time_and_is_forgotten() {
        let (rule, mut state) = (rule("3", None), State::default());
        assert_eq!(rule.tick(&mut state, datetime!(2026-03-01 03:00 UTC)), None);
        assert_eq!(rule.next_at(&state), None, "without a trigger there is no time");
        rule.remember(&mut state, json!("first"), datetime!(2026-03-01 12:00 UTC));
        rule.remember(&mut state, json!("second"), datetime!(2026-03-01 13:00 UTC));
        assert_eq!(rule.next_at(&state), Some(datetime!(2026-03-02 03:00 UTC)));
        assert_eq!(rule.tick(&mut state, datetime!(2026-03-02 02:59:59 UTC)), None);
        // Late is not never: no master ran at that time.
        assert_eq!(rule.tick(&mut state, datetime!(2026-03-05 09:00 UTC)), Some(json!("second")));
        assert_eq!((rule.tick(&mut state, datetime!(2026-03-06 03:00 UTC)), rule.next_at(&state)), (None, None));
    }

    #[test]
    fn another_timetable_and_times_while_it_was_disabled_move_the_time() {
        let mut state = State::default();
        rule("3", None).remember(&mut state, json!(1), datetime!(2026-03-01 12:00 UTC));
        let later = rule("5", None);
        assert_eq!(later.tick(&mut state, datetime!(2026-03-02 04:00 UTC)), None);
        assert_eq!(later.next_at(&state), Some(datetime!(2026-03-02 05:00 UTC)));
        let enabled = rule("5", Some(datetime!(2026-03-04 06:00 UTC)));
        assert_eq!(enabled.tick(&mut state, datetime!(2026-03-04 06:00 UTC)), None);
        assert_eq!(enabled.next_at(&state), Some(datetime!(2026-03-05 05:00 UTC)));
        assert_eq!(enabled.tick(&mut state, datetime!(2026-03-05 05:00 UTC)), Some(json!(1)));
    }
}
