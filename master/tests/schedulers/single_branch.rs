//! One timer for all (D-23 to D-26).

use super::*;
use tidemill_master::schedulers::single_branch::{Rule, State};
use time::Duration;

const STABLE: Rule = Rule { tree_stable: Some(Duration::seconds(60)), only_important: false };
const AT_ONCE: Rule = Rule { tree_stable: None, only_important: false };

#[test]
fn without_a_timer_each_important_change_is_its_own_buildset_and_others_are_dropped() {
    let mut s = Shown::new(AT_ONCE);
    assert_eq!(s.look(&[change(1, true), change(2, false), change(3, true)], at(0)), [[1], [3]]);
    assert_eq!((s.state.clone(), s.next_at()), (State::default(), None));
}

#[test]
fn a_timer_collects_until_the_tree_is_stable() {
    let mut s = Shown::new(STABLE);
    assert_eq!((s.look(&[change(1, true)], at(0)), s.next_at()), (vec![], Some(at(60))));
    assert_eq!((s.look(&[change(2, true)], at(50)), s.next_at()), (vec![], Some(at(110))));
    assert_eq!(s.look(&[], at(60)), NONE);
    assert_eq!((s.look(&[], at(110)), s.next_at()), (vec![vec![1, 2]], None));
}

#[test]
fn an_unimportant_change_restarts_a_running_timer_but_never_starts_one() {
    let mut s = Shown::new(STABLE);
    s.look(&[change(1, false)], at(0));
    assert_eq!(s.next_at(), None);
    s.look(&[change(2, true)], at(10));
    assert_eq!(s.next_at(), Some(at(70)));
    s.look(&[change(3, false)], at(20));
    assert_eq!(s.next_at(), Some(at(80)));
    assert_eq!(s.look(&[], at(80)), [[1, 2, 3]]);
}

#[test]
fn only_important_drops_the_others_even_with_a_timer() {
    let mut s = Shown::new(Rule { only_important: true, ..STABLE });
    s.look(&[change(1, true), change(2, false)], at(0));
    assert_eq!(s.state.collected.ids().collect::<Vec<_>>(), [ChangeId(1)]);
}

#[test]
fn a_timer_that_fell_due_while_no_master_ran_fires_before_later_changes_join() {
    let mut s = Shown::new(STABLE);
    s.look(&[change(1, true)], at(0));
    assert_eq!((s.look(&[change(2, true)], at(500)), s.next_at()), (vec![vec![1]], Some(at(560))));
}

#[test]
fn a_timer_taken_out_of_the_configuration_fires_at_once() {
    let mut s = Shown::new(STABLE);
    s.look(&[change(1, true)], at(0));
    assert_eq!(s.becomes(AT_ONCE).look(&[], at(1)), [[1]]);
}

#[test]
fn without_a_timer_any_more_what_rode_along_starts_nothing() {
    let mut s = Shown::new(STABLE);
    s.look(&[change(1, false)], at(0));
    let mut s = s.becomes(AT_ONCE);
    assert_eq!((s.look(&[change(2, true)], at(1)), s.state.clone()), (vec![vec![2]], State::default()));
}

#[test]
fn a_shorter_timer_holds_for_what_waits_already() {
    let mut s = Shown::new(Rule { tree_stable: Some(Duration::days(7)), ..STABLE });
    s.look(&[change(1, true)], at(0));
    // A longer one does not: it was said when the change came.
    let mut s = s.becomes(Rule { tree_stable: Some(Duration::days(30)), ..STABLE });
    assert_eq!((s.look(&[], at(5)), s.next_at()), (vec![], Some(at(7 * 86_400))));
    let mut s = s.becomes(STABLE);
    assert_eq!((s.look(&[], at(10)), s.next_at()), (vec![], Some(at(70))));
    assert_eq!(s.look(&[], at(70)), [[1]]);
}

#[test]
fn a_timer_beyond_all_time_is_no_end_of_the_loop() {
    let mut s = Shown::new(Rule::new(Some(u64::MAX), false));
    assert_eq!(s.look(&[change(1, true)], at(0)), NONE);
    assert!(s.next_at().is_some_and(|next| next > at(0)));
}

#[test]
fn run_now_takes_what_waits_and_stops_the_timer() {
    let mut s = Shown::new(STABLE);
    assert_eq!(s.run(), NONE);
    s.look(&[change(1, true), change(2, false)], at(0));
    assert_eq!(s.run(), [[1, 2]]);
    assert_eq!((s.look(&[], at(60)), s.next_at()), (vec![], None));
}
