//! NightlyTriggerable (SC-19, D-33): remembers the latest trigger, fires it once
//! at the next of its times, and forgets it.
//!
//! The time is reckoned when something is remembered and kept in the state, so
//! it comes once whatever the clock or the masters do. A trigger that comes
//! later takes the place of the former and has its time. Times while it was
//! disabled are none; what it remembers waits for the next one.

use super::cron::{self, Times};
use super::nightly::words;
use super::{micros, moment};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_lang::definition::CronDef;
use time::OffsetDateTime;

#[derive(Clone, Debug)]
pub struct Rule {
    times: Times,
    /// Of them, to see when they are others.
    said: String,
    /// When it was enabled last, if it was disabled before.
    enabled_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The latest trigger, as whoever fires it understands it.
    #[serde(default)]
    pub latest: Option<Value>,
    /// When it fires, microseconds since 1970.
    #[serde(default)]
    pub next_us: Option<i64>,
    /// The timetable that this was reckoned with.
    #[serde(default)]
    pub times: String,
}

impl Rule {
    pub fn new(at: &CronDef, enabled_at: Option<OffsetDateTime>) -> Result<Rule, cron::Error> {
        Ok(Rule { times: Times::new(at)?, said: words(at), enabled_at })
    }

    /// A trigger has come.
    pub fn remember(&self, state: &mut State, trigger: Value, now: OffsetDateTime) {
        state.latest = Some(trigger);
        self.reckon(state, now);
    }

    /// The clock says so much: what fires now.
    pub fn tick(&self, state: &mut State, now: OffsetDateTime) -> Option<Value> {
        self.reckon(state, now);
        state.next_us.and_then(moment).filter(|next| *next <= now)?;
        state.next_us = None;
        state.latest.take()
    }

    /// When to tick again.
    pub fn next_at(&self, state: &State) -> Option<OffsetDateTime> {
        state.next_us.and_then(moment)
    }

    fn reckon(&self, state: &mut State, now: OffsetDateTime) {
        let known = state.next_us.and_then(moment).filter(|_| state.times == self.said);
        let next = match (known, self.enabled_at) {
            _ if state.latest.is_none() => None,
            (Some(next), Some(enabled)) if next <= enabled => self.times.next(enabled),
            (Some(next), _) => Some(next),
            (None, _) => self.times.next(now),
        };
        state.next_us = next.map(micros);
        state.times.clone_from(&self.said);
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
