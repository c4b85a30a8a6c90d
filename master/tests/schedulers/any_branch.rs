//! A timer for each branch (SC-11).

use super::*;
use tidemill_master::schedulers::any_branch::{IDLE, Rule, TIMERS};
use tidemill_master::schedulers::single_branch;
use time::Duration;

fn rule(seconds: i64, only_important: bool) -> Rule {
    Rule { each: single_branch::Rule { tree_stable: Some(Duration::seconds(seconds)), only_important } }
}

#[test]
fn each_branch_has_its_own_timer_and_takes_no_change_of_another() {
    let mut s = Shown::new(rule(60, false));
    let first = [of_branch(1, true, "a"), of_branch(2, true, "b"), of_branch(3, false, "a")];
    assert_eq!((s.look(&first, at(0)), s.next_at()), (vec![], Some(at(60))));
    // Restarts that of its own branch only; newer than what fires.
    assert_eq!(s.look(&[of_branch(4, true, "b")], at(30)), NONE);
    assert_eq!((s.look(&[], at(60)), s.next_at()), (vec![vec![1, 3]], Some(at(90))));
    assert_eq!((s.look(&[], at(90)), s.next_at()), (vec![vec![2, 4]], None));
    assert!(s.state.branches.is_empty());
}

#[test]
fn repository_project_and_codebase_tell_branches_apart_too() {
    let mut s = Shown::new(rule(60, false));
    let mut all: Vec<Classified> = (1..=5).map(|id| change(id, true)).collect();
    all[1].change.new.repository = "r".into();
    all[2].change.new.project = "r".into();
    all[3].change.new.codebase = "r".into();
    all[4].change.new.branch = None;
    s.look(&all, at(0));
    let mut fired = s.look(&[], at(60));
    fired.sort();
    assert_eq!(fired, [[1], [2], [3], [4], [5]]);
}

#[test]
fn without_a_timer_each_important_change_is_its_own_buildset() {
    let mut s = Shown::new(Rule { each: single_branch::Rule { tree_stable: None, only_important: false } });
    assert_eq!(
        s.look(&[of_branch(1, true, "a"), of_branch(2, false, "a"), of_branch(3, true, "b")], at(0)),
        [[1], [3]]
    );
    assert!(s.state.branches.is_empty());
}

#[test]
fn a_timer_taken_out_of_the_configuration_fires_at_once_for_each_branch() {
    let mut s = Shown::new(rule(60, false));
    s.look(&[of_branch(1, true, "a"), of_branch(2, true, "b")], at(0));
    let mut s = s.becomes(Rule { each: single_branch::Rule { tree_stable: None, only_important: false } });
    assert_eq!(s.look(&[], at(1)), [[1], [2]]);
}

#[test]
fn run_now_takes_what_waits_on_each_branch() {
    let mut s = Shown::new(rule(60, false));
    s.look(&[of_branch(1, true, "a"), of_branch(2, false, "b")], at(0));
    assert_eq!(s.run(), [[1], [2]]);
    assert_eq!(s.next_at(), None);
}

#[test]
fn very_many_branches_lose_no_important_change_and_keep_the_state_small() {
    let mut s = Shown::new(rule(60, false));
    let many: Vec<Classified> = (0..TIMERS as i64 + 10).map(|i| of_branch(i, true, &format!("b{i}"))).collect();
    // Those whose timers began first are built early.
    let early = s.look(&many, at(0));
    assert_eq!((early.len(), s.state.branches.len()), (10, TIMERS));
    let rest = s.look(&[], at(60));
    let mut all: Vec<i64> = early.into_iter().chain(rest).flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..TIMERS as i64 + 10).collect::<Vec<_>>());

    let idle: Vec<Classified> = (0..IDLE as i64 + 10).map(|i| of_branch(i, false, &format!("b{i}"))).collect();
    assert_eq!(s.look(&idle, at(100)), NONE);
    assert_eq!(s.state.branches.len(), IDLE);
    let mut only = Shown::new(rule(60, true));
    only.look(&idle, at(0));
    assert!(only.state.branches.is_empty());
}
