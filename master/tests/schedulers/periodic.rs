//! Every so many seconds (D-31, D-32).

use super::*;
use tidemill_master::schedulers::periodic::Rule;
use tidemill_master::schedulers::timed::Timed;

fn every(seconds: u64, only_if_changed: bool) -> Rule {
    let timed = Timed { only_if_changed, only_important: false };
    Rule { timed, interval_us: seconds * 1_000_000, enabled_at: None }
}

const BUILD: [Vec<i64>; 1] = [vec![]];

#[test]
fn it_fires_at_once_and_then_on_a_grid_that_late_looks_do_not_move() {
    let mut s = Shown::new(every(60, false));
    assert_eq!((s.look(&[], at(5)), s.next_at()), (BUILD.into(), Some(at(65))));
    assert_eq!((s.look(&[], at(64)), s.next_at()), (vec![], Some(at(65))));
    assert_eq!((s.look(&[], at(70)), s.next_at()), (BUILD.into(), Some(at(125))));
}

#[test]
fn beats_missed_while_no_master_ran_are_one_run_at_once() {
    let mut s = Shown::new(every(60, false));
    s.look(&[], at(0));
    assert_eq!((s.look(&[], at(1000)), s.next_at()), (BUILD.into(), Some(at(1020))));
    assert_eq!(s.look(&[], at(1001)), NONE);
}

#[test]
fn another_interval_counts_from_the_last_beat() {
    let mut s = Shown::new(every(3600, false));
    s.look(&[], at(0));
    let mut s = s.becomes(every(60, false));
    assert_eq!((s.look(&[], at(30)), s.next_at()), (vec![], Some(at(60))));
    let mut s = s.becomes(every(10, false));
    assert_eq!((s.look(&[], at(35)), s.next_at()), (BUILD.into(), Some(at(40))));
}

#[test]
fn beats_while_it_was_disabled_are_none() {
    let mut s = Shown::new(every(60, false));
    s.look(&[], at(0));
    let mut s = s.becomes(Rule { enabled_at: Some(at(600)), ..every(60, false) });
    assert_eq!((s.look(&[], at(601)), s.next_at()), (vec![], Some(at(660))));
    assert_eq!(s.look(&[], at(660)), BUILD);
}

#[test]
fn only_if_changed_builds_once_for_a_start_and_then_for_important_changes() {
    let mut s = Shown::new(every(60, true));
    assert_eq!(s.look(&[], at(0)), BUILD);
    assert_eq!(s.look(&[], at(60)), NONE);
    assert_eq!(s.look(&[change(1, false)], at(120)), NONE);
    // What came before the look belongs to it.
    assert_eq!(s.look(&[change(2, true)], at(180)), [[1, 2]]);
    assert_eq!(s.look(&[], at(240)), NONE);
    assert_eq!(s.look(&[change(3, true)], at(250)), NONE);
    assert_eq!(s.run(), [[3]]);
    assert_eq!((s.look(&[], at(300)), s.next_at()), (vec![], Some(at(360))));
    // Once more when the flag is switched on again.
    let mut s = s.becomes(every(60, false));
    assert_eq!(s.look(&[], at(360)), BUILD);
    let mut s = s.becomes(every(60, true));
    assert_eq!(s.look(&[], at(420)), BUILD);
    assert_eq!(s.look(&[], at(480)), NONE);
}
