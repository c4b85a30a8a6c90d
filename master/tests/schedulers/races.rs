//! Two replicas, writers that commit out of order, passes that end uncommitted:
//! no change is lost, and none scheduled twice.
//!
//! The model of the database is what `schema` promises: one replica holds the
//! row of a scheduler, reads changes past the row's cursor in the order of
//! (xid, id) and below the oldest open writer, and its commit stores cursor,
//! state and buildsets at once.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tidemill_master::schedulers::{any_branch, single_branch};
use time::Duration;

#[derive(Clone, Debug)]
enum Act {
    /// A writer begins, with a change of this branch.
    Begin {
        branch: u8,
        important: bool,
    },
    /// One of the open writers commits.
    Commit(usize),
    /// A replica takes the row and decides, if nobody has it.
    Take(bool),
    /// It commits, or dies.
    End {
        replica: bool,
        dies: bool,
    },
    Wait(i64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0_u8..3, prop::bool::weighted(0.7)).prop_map(|(branch, important)| Act::Begin { branch, important }),
        4 => any::<usize>().prop_map(Act::Commit),
        4 => any::<bool>().prop_map(Act::Take),
        4 => (any::<bool>(), prop::bool::weighted(0.3)).prop_map(|(replica, dies)| Act::End { replica, dies }),
        2 => (1_i64..40).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 1..120)
}

struct Held<S> {
    by: bool,
    cursor: (i64, i64),
    state: S,
    decided: Vec<Vec<i64>>,
}

struct Model<R: Rule> {
    rule: R,
    now: i64,
    next: i64,
    /// Writers that are open, by xid.
    open: BTreeMap<i64, Classified>,
    /// Committed changes, by (xid, id).
    changes: BTreeMap<(i64, i64), Classified>,
    cursor: (i64, i64),
    state: R::State,
    held: Option<Held<R::State>>,
    buildsets: Vec<Vec<i64>>,
}

impl<R: Rule + Clone> Model<R> {
    fn new(rule: R) -> Model<R> {
        Model {
            rule,
            now: 0,
            next: 1,
            open: BTreeMap::new(),
            changes: BTreeMap::new(),
            cursor: (0, 0),
            state: R::State::default(),
            held: None,
            buildsets: Vec::new(),
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Begin { branch, important } => {
                self.open.insert(self.next, of_branch(self.next, important, &branch.to_string()));
                self.next += 1;
            }
            Act::Commit(which) => {
                let Some(xid) = self.open.keys().nth(which % self.open.len().max(1)).copied() else { return };
                let mut change = self.open.remove(&xid).unwrap();
                // Ids are taken at the insert, which may be long after the transaction began.
                change.change.id = ChangeId(self.next);
                self.changes.insert((xid, self.next), change);
                self.next += 1;
            }
            Act::Take(by) if self.held.is_none() => {
                let horizon = self.open.keys().next().copied().unwrap_or(self.next);
                let page: Vec<((i64, i64), Classified)> = self
                    .changes
                    .range(self.cursor..(horizon, 0))
                    .filter(|(place, _)| **place > self.cursor)
                    .map(|(place, change)| (*place, change.clone()))
                    .collect();
                let mut shown = Shown { rule: self.rule.clone(), state: self.state.clone() };
                let changes: Vec<Classified> = page.iter().map(|(_, c)| c.clone()).collect();
                let decided = shown.look(&changes, at(self.now));
                let cursor = page.last().map_or(self.cursor, |(place, _)| *place);
                self.held = Some(Held { by, cursor, state: shown.state, decided });
            }
            Act::Take(_) => {}
            Act::End { replica, dies } => {
                let Some(held) = self.held.take_if(|h| h.by == replica) else { return };
                if !dies {
                    self.cursor = held.cursor;
                    self.state = held.state;
                    self.buildsets.extend(held.decided);
                }
            }
            Act::Wait(seconds) => self.now += seconds,
        }
    }

    /// Everything commits, the timers pass: how often each change is in a buildset.
    fn end(mut self) -> (Vec<Classified>, BTreeMap<i64, usize>, Vec<Vec<i64>>) {
        while !self.open.is_empty() {
            self.act(&Act::Commit(0));
        }
        self.held = None;
        for _ in 0..2 {
            self.act(&Act::Take(false));
            self.act(&Act::End { replica: false, dies: false });
            self.now += 1000;
        }
        let mut times = BTreeMap::new();
        self.buildsets.iter().flatten().for_each(|id| *times.entry(*id).or_default() += 1);
        (self.changes.into_values().collect(), times, self.buildsets)
    }
}

fn each_once(changes: &[Classified], times: &BTreeMap<i64, usize>) -> Result<(), TestCaseError> {
    for c in changes {
        let found = times.get(&c.change.id.0).copied().unwrap_or(0);
        prop_assert!(found == 1 || found == 0 && !c.important, "change {} is in {found} buildsets", c.change.id.0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn one_timer_for_all_schedules_each_change_once(acts in acts(), stable in prop::option::of(1_i64..30)) {
        let rule = single_branch::Rule { tree_stable: stable.map(Duration::seconds), only_important: false };
        let mut model = Model::new(rule);
        acts.iter().for_each(|act| model.act(act));
        let (changes, times, _) = model.end();
        each_once(&changes, &times)?;
    }

    #[test]
    fn a_timer_for_each_branch_schedules_each_change_once_with_its_own_branch(
        acts in acts(), stable in prop::option::of(1_i64..30), only_important in any::<bool>(),
    ) {
        let each = single_branch::Rule { tree_stable: stable.map(Duration::seconds), only_important };
        let mut model = Model::new(any_branch::Rule { each });
        acts.iter().for_each(|act| model.act(act));
        let (changes, times, buildsets) = model.end();
        each_once(&changes, &times)?;
        let branches: BTreeMap<i64, Option<String>> =
            changes.iter().map(|c| (c.change.id.0, c.change.new.branch.clone())).collect();
        for set in buildsets {
            prop_assert!(set.iter().all(|id| branches[id] == branches[&set[0]]), "{set:?} are of several branches");
        }
        if only_important {
            prop_assert!(changes.iter().all(|c| c.important || !times.contains_key(&c.change.id.0)));
        }
    }
}
