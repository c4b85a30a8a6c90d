//! SingleBranchScheduler (SC-10, D-23 to D-26): one timer for all matching
//! changes.
//!
//! Without `treeStableTimer` each important change is a buildset of its own at
//! once, and unimportant ones are dropped. With it, an important change starts
//! or restarts the timer; an unimportant one restarts a running timer but
//! never starts one; when the timer fires, one buildset holds all collected
//! changes. The state is in the scheduler's row, so a timer survives a restart
//! of every master.

use super::{Classified, Decided, Decision};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub tree_stable: Option<Duration>,
    /// Drop unimportant changes instead of letting them ride along.
    pub only_important: bool,
}

/// What a row remembers between two looks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Changes collected since the last buildset, oldest first.
    #[serde(default)]
    pub collected: Vec<i64>,
    /// When the running timer fires, microseconds since 1970.
    #[serde(default)]
    pub fires_at_us: Option<i64>,
}

impl Rule {
    /// `changes` in the order of their cursor. The timer is that of the time
    /// of deciding, not of the commit (D-25 likewise: order of arrival counts).
    pub fn decide(&self, mut state: State, changes: &[Classified], now: OffsetDateTime) -> Decided<State> {
        let mut decisions = Vec::new();
        let Some(stable) = self.tree_stable else {
            // A timer that the last revision had still fires, at once.
            if !state.collected.is_empty() {
                decisions.push(fire(&mut state));
            }
            decisions.extend(changes.iter().filter(|c| c.important).map(|c| Decision { changes: vec![c.change.id] }));
            return Decided { decisions, state: State::default(), next_at: None };
        };
        // What was due before these changes came is not delayed by them, if the
        // loop was late; else a replica outage would merge more than the timer says.
        if due(&state, now) {
            decisions.push(fire(&mut state));
        }
        for c in changes.iter().filter(|c| c.important || !self.only_important) {
            // An unimportant one without a timer rides along with the next important one.
            state.collected.push(c.change.id.0);
            if c.important || state.fires_at_us.is_some() {
                state.fires_at_us = Some(micros(now + stable));
            }
        }
        if due(&state, now) {
            decisions.push(fire(&mut state));
        }
        let next_at =
            state.fires_at_us.and_then(|us| OffsetDateTime::from_unix_timestamp_nanos(us as i128 * 1000).ok());
        Decided { decisions, state, next_at }
    }
}

fn due(state: &State, now: OffsetDateTime) -> bool {
    state.fires_at_us.is_some_and(|at| at <= micros(now))
}

fn fire(state: &mut State) -> Decision {
    let changes = std::mem::take(&mut state.collected).into_iter().map(tidemill_model::ChangeId).collect();
    state.fires_at_us = None;
    Decision { changes }
}

fn micros(t: OffsetDateTime) -> i64 {
    (t.unix_timestamp_nanos() / 1000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_model::{Change, ChangeId, NewChange};

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_000_000 + seconds).unwrap()
    }

    fn change(id: i64, important: bool) -> Classified {
        Classified { change: Change { id: ChangeId(id), received_at: at(0), new: NewChange::default() }, important }
    }

    fn ids(d: &Decided<State>) -> Vec<Vec<i64>> {
        d.decisions.iter().map(|d| d.changes.iter().map(|c| c.0).collect()).collect()
    }

    const STABLE: Rule = Rule { tree_stable: Some(Duration::seconds(60)), only_important: false };
    const AT_ONCE: Rule = Rule { tree_stable: None, only_important: false };

    #[test]
    fn without_a_timer_each_important_change_is_its_own_buildset_and_others_are_dropped() {
        let d = AT_ONCE.decide(State::default(), &[change(1, true), change(2, false), change(3, true)], at(0));
        assert_eq!(ids(&d), [[1], [3]]);
        assert_eq!((d.state, d.next_at), (State::default(), None));
    }

    #[test]
    fn a_timer_collects_until_the_tree_is_stable() {
        let d = STABLE.decide(State::default(), &[change(1, true)], at(0));
        assert_eq!((ids(&d), d.next_at), (vec![], Some(at(60))));
        let d = STABLE.decide(d.state, &[change(2, true)], at(50));
        assert_eq!((ids(&d), d.next_at), (vec![], Some(at(110))));
        let d = STABLE.decide(d.state, &[], at(60));
        assert_eq!(ids(&d), Vec::<Vec<i64>>::new());
        let d = STABLE.decide(d.state, &[], at(110));
        assert_eq!((ids(&d), d.next_at), (vec![vec![1, 2]], None));
    }

    #[test]
    fn an_unimportant_change_restarts_a_running_timer_but_never_starts_one() {
        let d = STABLE.decide(State::default(), &[change(1, false)], at(0));
        assert_eq!(d.next_at, None);
        let d = STABLE.decide(d.state, &[change(2, true)], at(10));
        assert_eq!(d.next_at, Some(at(70)));
        let d = STABLE.decide(d.state, &[change(3, false)], at(20));
        assert_eq!(d.next_at, Some(at(80)));
        let d = STABLE.decide(d.state, &[], at(80));
        assert_eq!(ids(&d), [[1, 2, 3]]);
    }

    #[test]
    fn only_important_drops_the_others_even_with_a_timer() {
        let rule = Rule { only_important: true, ..STABLE };
        let d = rule.decide(State::default(), &[change(1, true), change(2, false)], at(0));
        assert_eq!(d.state.collected, [1]);
    }

    #[test]
    fn a_timer_that_fell_due_while_no_master_ran_fires_before_later_changes_join() {
        let d = STABLE.decide(State::default(), &[change(1, true)], at(0));
        let d = STABLE.decide(d.state, &[change(2, true)], at(500));
        assert_eq!((ids(&d), d.next_at), (vec![vec![1]], Some(at(560))));
    }

    #[test]
    fn a_timer_taken_out_of_the_configuration_fires_at_once() {
        let d = STABLE.decide(State::default(), &[change(1, true)], at(0));
        assert_eq!(ids(&AT_ONCE.decide(d.state, &[], at(1))), [[1]]);
    }
}
