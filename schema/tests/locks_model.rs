//! The line of locks against a simple model: builds and steps that come, end and
//! are cancelled at random. What the database gives is what the model gives, and
//! a lock never holds more than there is of it.
//!
//! The clock stands still, so nobody's turn or patience runs out.

mod common;
use common::locks::*;
use common::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use tidemill_model::wire::Claim;
use tidemill_model::{AccessMode, LockAccess, RequestId, Results};
use tidemill_schema::locks::Asked;
use tidemill_schema::requests::requests_cancel;
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

const LOCKS: [(&str, u32); 3] = [("a", 1), ("b", 3), ("c", 5)];

#[derive(Clone, Debug, PartialEq)]
enum Who {
    /// The builder, by its number.
    Builder(usize),
    /// A step of the build with this id.
    Step(i64),
}

struct Waiter {
    who: Who,
    wants: Vec<LockAccess>,
}

#[derive(Default)]
struct Model {
    /// What builds (step 0) and steps hold.
    holds: BTreeMap<(i64, u32), Vec<LockAccess>>,
    line: Vec<Waiter>,
    pending: Vec<Vec<RequestId>>,
}

/// What is taken of each lock: units, and whether exclusively.
type Taken = BTreeMap<String, (u32, bool)>;

fn capacity(lock: &str) -> u32 {
    LOCKS.iter().find(|(name, _)| *name == lock).unwrap().1
}

fn take(taken: &mut Taken, access: &LockAccess) {
    let entry = taken.entry(access.lock.clone()).or_default();
    entry.0 += access.count.min(capacity(&access.lock));
    entry.1 |= access.mode == AccessMode::Exclusive;
}

fn lacks<'a>(taken: &Taken, wants: &'a [LockAccess]) -> Vec<&'a LockAccess> {
    let lacks = |a: &&LockAccess| {
        let (units, shut) = taken.get(&a.lock).copied().unwrap_or_default();
        let room = capacity(&a.lock);
        shut || if a.mode == AccessMode::Exclusive { units > 0 } else { units + a.count.min(room) > room }
    };
    wants.iter().filter(lacks).collect()
}

impl Model {
    /// Whether `who` gets its locks; keeps or gives it its place in the line if not.
    fn ask(&mut self, who: Who, wants: &[LockAccess]) -> bool {
        let mut taken = Taken::new();
        self.holds.values().flatten().for_each(|a| take(&mut taken, a));
        let mut i = 0;
        while i < self.line.len() && self.line[i].who != who {
            let waiter = &self.line[i];
            if !waiter.wants.iter().any(|a| wants.iter().any(|b| a.lock == b.lock)) {
                i += 1;
                continue;
            }
            if let Who::Builder(b) = waiter.who
                && self.pending[b].is_empty()
            {
                self.line.remove(i);
                continue;
            }
            let missing: Vec<LockAccess> = lacks(&taken, &waiter.wants).into_iter().cloned().collect();
            match missing.as_slice() {
                [] => waiter.wants.iter().for_each(|a| take(&mut taken, a)),
                [one] => take(&mut taken, one),
                _ => {}
            }
            i += 1;
        }
        let gets = lacks(&taken, wants).is_empty();
        if gets {
            self.line.retain(|w| w.who != who);
        } else if !self.line.iter().any(|w| w.who == who) {
            self.line.push(Waiter { who, wants: wants.to_vec() });
        }
        gets
    }
}

/// Locks of one or two names, in the order of names.
fn accesses(rng: &mut StdRng) -> Vec<LockAccess> {
    let all: Vec<LockAccess> = LOCKS
        .iter()
        .filter_map(|(name, _)| match rng.random_range(0..4) {
            0 => Some(exclusive(name)),
            1 => Some(counting(name, rng.random_range(1..4))),
            _ => None,
        })
        .collect();
    if all.is_empty() { vec![counting("b", 2)] } else { all }
}

async fn run(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let t = TestDb::new().await;
    let now: String = scalar(&t, "select clock_timestamp()::text").await;
    let still = format!(
        "create or replace function tidemill_now() returns timestamptz language sql volatile parallel safe
         as $$ select timestamptz '{now}' $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(still)).execute(t.db.pool()).await.unwrap();
    let names = ["b0", "b1", "b2", "b3", "b4"];
    let locks: Vec<Vec<LockAccess>> = (0..4).map(|_| accesses(&mut rng)).chain([vec![]]).collect();
    let builders: Vec<(&str, &[LockAccess])> = names.iter().zip(&locks).map(|(n, l)| (*n, l.as_slice())).collect();
    activate(&t.db, &wanted(&LOCKS, &builders)).await;
    let session = worker(&t.db, "w").await;
    let mut model = Model { pending: vec![vec![]; names.len()], ..Model::default() };
    let mut running: Vec<(Claim, usize, u64)> = vec![];
    let mut poll = 0;
    for turn in 0..150 {
        let b = rng.random_range(0..names.len());
        match rng.random_range(0..10) {
            0..=1 => model.pending[b].push(submit(&t.db, names[b]).await.requests[0]),
            2 => {
                if let Some(request) = model.pending[b].pop() {
                    let gone = run_tx!(t.db, "test", |c| requests_cancel(c, &[request], "").await).unwrap();
                    assert_eq!(gone, [request]);
                }
            }
            3..=5 => {
                poll += 1;
                let got = claim_of(&t, names[b], session, poll, 1).await;
                if model.pending[b].is_empty() {
                    assert!(got.is_empty());
                    continue;
                }
                let gets = locks[b].is_empty() || model.ask(Who::Builder(b), &locks[b]);
                assert_eq!(got.len(), usize::from(gets), "seed {seed}, turn {turn}: {}", names[b]);
                if let Some(claim) = got.into_iter().next() {
                    assert_eq!(claim.request, model.pending[b].remove(0).0);
                    model.holds.insert((claim.build, 0), locks[b].clone());
                    running.push((claim, b, 0));
                }
            }
            6..=7 if !running.is_empty() => {
                let i = rng.random_range(0..running.len());
                let (claim, of, _) = &running[i];
                let mut wants = accesses(&mut rng);
                // A waiting step asks for what it asked for.
                if let Some(waits) = model.line.iter().find(|w| w.who == Who::Step(claim.build)) {
                    wants = waits.wants.clone();
                }
                let step = running[i].2 as u32 + 1;
                let own = wants.iter().any(|a| locks[*of].iter().any(|l| l.lock == a.lock));
                let said = ask(&t, claim, step, &wants).await;
                if own {
                    assert!(matches!(said, Asked::Refused(_)));
                    continue;
                }
                let gets = model.holds.contains_key(&(claim.build, step)) || model.ask(Who::Step(claim.build), &wants);
                assert_eq!(said == Asked::Granted, gets, "seed {seed}, turn {turn}: step of {}", claim.build);
                if gets {
                    model.holds.entry((claim.build, step)).or_insert(wants);
                }
            }
            8 if !running.is_empty() => {
                let i = rng.random_range(0..running.len());
                running[i].2 += 1;
                let (claim, _, step) = &running[i];
                store(&t.db, batch(claim, *step, step_finished(*step as u32))).await;
                model.holds.remove(&(claim.build, *step as u32));
                model.line.retain(|w| w.who != Who::Step(claim.build));
            }
            _ if !running.is_empty() => {
                let i = rng.random_range(0..running.len());
                let (claim, _, step) = running.swap_remove(i);
                store(&t.db, batch(&claim, step + 1, vec![finished(Results::Success)])).await;
                model.holds.retain(|(build, _), _| *build != claim.build);
                model.line.retain(|w| w.who != Who::Step(claim.build));
            }
            _ => {}
        }
        never_passed(&t).await;
    }
    t.drop().await;
}

#[tokio::test]
async fn the_line_of_random_builds_and_steps_is_that_of_a_simple_model() {
    let begin = std::env::var("TIDEMILL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    for seed in begin..begin + 8 {
        run(seed).await;
    }
}
