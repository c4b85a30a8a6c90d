//! Feeds a rule step by step: change by change and with the clock, so that a
//! slow or failing function costs nothing of what came before.

use super::buildset::{Seen, Wish, complete, compose};
use super::functions::{Failed, Functions, blocking};
use super::pass::{Decided, Shown, bad};
use crate::schedulers::{Classified, Decision, Rule};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use tidemill_model::Change;
use tidemill_schema::Result;
use tidemill_schema::changes::Cursor;

/// What the row keeps: the rule's state, and beside it what was seen last of
/// each codebase, for `createAbsoluteSourceStamps` (SC-17).
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept<S> {
    #[serde(flatten)]
    rule: S,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    seen: BTreeMap<String, Seen>,
}

/// How far it came.
struct Progress<S> {
    cursor: Cursor,
    kept: Kept<S>,
    decided: Vec<Filled>,
    failed: Option<Failed>,
    ran: bool,
}

/// A decision, with what functions say of it.
struct Filled {
    decision: Decision,
    builders: Vec<String>,
    priority: i32,
    /// Somebody asked for it.
    asked: bool,
    seen: BTreeMap<String, Seen>,
}

pub async fn decide<R: Rule>(c: &mut PgConnection, functions: Functions, shown: Shown, rule: R) -> Result<Decided> {
    let name = shown.scheduler.name.clone();
    let kept: Kept<R::State> = serde_json::from_value(shown.scheduler.state.clone()).map_err(|e| bad(&name, e))?;
    let mut known: HashMap<i64, Change> = shown.changes.iter().map(|(_, ch)| (ch.id.0, ch.clone())).collect();
    let def = functions.def().clone();
    let asks = def.builders_function || def.priority_function;
    if asks {
        // They are asked with the changes that waited for the timer.
        complete(c, &mut known, R::waiting(&kept.rule).into_iter().map(|id| id.0)).await?;
    }
    let (heard, by) = (shown.heard, shown.scheduler.run_asked_by.clone());
    let (progress, next_at, mut known) = if asks || !shown.changes.is_empty() {
        blocking(move || {
            let progress = Feed { functions: &functions, rule: &rule, known: &known }.all(kept, shown);
            let next_at = rule.next_at(&progress.kept.rule);
            (progress, next_at, known)
        })
        .await?
    } else {
        // The clock alone asks no function of the project.
        let progress = Feed { functions: &functions, rule: &rule, known: &known }.all(kept, shown);
        let next_at = rule.next_at(&progress.kept.rule);
        (progress, next_at, known)
    };
    let mut buildsets = Vec::new();
    for Filled { decision, builders, priority, asked, seen } in progress.decided {
        complete(c, &mut known, decision.changes.iter().map(|id| id.0)).await?;
        let changes: Vec<&Change> = decision.changes.iter().filter_map(|id| known.get(&id.0)).collect();
        let wish = Wish {
            changes: &changes,
            left_out: decision.left_out,
            seen: Some(&seen),
            asked_by: by.as_deref().filter(|_| asked),
            ..Wish::default()
        };
        buildsets.push(compose(&def, wish, builders, priority));
    }
    Ok(Decided {
        cursor: progress.cursor,
        heard,
        state: serde_json::to_value(&progress.kept).map_err(|e| bad(&name, e))?,
        next_at,
        buildsets,
        failed: progress.failed,
        ran: progress.ran,
    })
}

struct Feed<'a, R> {
    functions: &'a Functions,
    rule: &'a R,
    known: &'a HashMap<i64, Change>,
}

impl<R: Rule> Feed<'_, R> {
    fn all(&self, kept: Kept<R::State>, shown: Shown) -> Progress<R::State> {
        let absolute = self.functions.def().absolute;
        let (now, cursor) = (shown.now, shown.scheduler.cursor);
        let mut at = Progress { cursor, kept, decided: Vec::new(), failed: None, ran: false };
        let tick = |at: &mut Progress<R::State>| self.step(at, false, |state| self.rule.tick(state, now));
        if R::CLOCK_FIRST && !tick(&mut at) {
            return at;
        }
        let mut looked = false;
        for (cursor, change) in shown.changes {
            // A slow function gets fewer changes at a time; the rest in the next transaction.
            if looked && self.functions.used_up() {
                return at;
            }
            looked = true;
            if let Some(important) = self.functions.classify(&change) {
                if absolute {
                    at.kept.seen.insert(change.new.codebase.clone(), Seen::of(&change));
                }
                let change = Classified { change, important };
                if !self.step(&mut at, false, |state| self.rule.change(state, &change, now)) {
                    return at;
                }
            }
            at.cursor = cursor;
        }
        at.cursor = shown.cursor;
        // What is still to be read belongs to the time that is due and to what somebody wants now.
        if !shown.more_changes {
            if !R::CLOCK_FIRST && !tick(&mut at) {
                return at;
            }
            if shown.scheduler.run_asked_by.is_some() {
                at.ran = self.step(&mut at, true, |state| self.rule.run(state));
            }
        }
        at
    }

    /// Asks the rule, and the functions about its decisions. False, and no step
    /// made, if one of these failed.
    fn step(&self, at: &mut Progress<R::State>, asked: bool, ask: impl FnOnce(&mut R::State) -> Vec<Decision>) -> bool {
        let before = self.functions.def().builders_function.then(|| at.kept.rule.clone());
        let mut filled = Vec::new();
        for decision in ask(&mut at.kept.rule) {
            let changes: Vec<Change> =
                decision.changes.iter().filter_map(|id| self.known.get(&id.0).cloned()).collect();
            match self.functions.builders(&changes) {
                Ok(builders) => {
                    let priority = self.functions.priority(&builders, &changes);
                    filled.push(Filled { decision, builders, priority, asked, seen: at.kept.seen.clone() });
                }
                Err(failed) => {
                    at.failed = Some(failed);
                    if let Some(before) = before {
                        at.kept.rule = before;
                    }
                    return false;
                }
            }
        }
        at.decided.extend(filled);
        true
    }
}
