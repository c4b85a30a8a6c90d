//! SingleBranchScheduler: feeds its rule change by change, so that a slow or
//! failing function costs nothing of what came before.

use super::buildset::{complete, compose};
use super::functions::{Failed, Functions, blocking};
use super::{Decided, Shown, bad};
use crate::schedulers::single_branch::{Rule, State};
use crate::schedulers::{Classified, Decision};
use sqlx::PgConnection;
use std::collections::HashMap;
use tidemill_model::Change;
use tidemill_schema::Result;
use tidemill_schema::changes::Cursor;
use time::OffsetDateTime;

/// How far it came.
struct Progress {
    cursor: Cursor,
    state: State,
    next_at: Option<OffsetDateTime>,
    decided: Vec<Filled>,
    failed: Option<Failed>,
}

/// A decision, with what functions say of it.
struct Filled {
    decision: Decision,
    builders: Vec<String>,
    priority: i32,
}

pub async fn decide(
    c: &mut PgConnection,
    functions: Functions,
    shown: Shown,
    tree_stable_us: Option<u64>,
    only_important: bool,
) -> Result<Decided> {
    let name = shown.scheduler.name.clone();
    let rule = Rule { tree_stable: tree_stable_us.map(|us| time::Duration::microseconds(us as i64)), only_important };
    let state: State = serde_json::from_value(shown.scheduler.state.clone()).map_err(|e| bad(&name, e))?;
    let mut known: HashMap<i64, Change> = shown.changes.iter().map(|(_, ch)| (ch.id.0, ch.clone())).collect();
    let def = functions.def().clone();
    if def.builders_function || def.priority_function {
        // They are asked with the changes that waited for the timer.
        complete(c, &mut known, state.collected.iter().copied()).await?;
    }
    let heard = shown.heard;
    let (progress, mut known) = blocking(move || (feed(&functions, &rule, state, shown, &known), known)).await?;
    let mut buildsets = Vec::new();
    for Filled { decision, builders, priority } in progress.decided {
        complete(c, &mut known, decision.changes.iter().map(|id| id.0)).await?;
        let changes: Vec<&Change> = decision.changes.iter().filter_map(|id| known.get(&id.0)).collect();
        buildsets.push(compose(&def, &changes, builders, priority));
    }
    Ok(Decided {
        cursor: progress.cursor,
        heard,
        state: serde_json::to_value(&progress.state).map_err(|e| bad(&name, e))?,
        next_at: progress.next_at,
        buildsets,
        failed: progress.failed,
    })
}

fn feed(functions: &Functions, rule: &Rule, state: State, shown: Shown, known: &HashMap<i64, Change>) -> Progress {
    let before = shown.scheduler;
    let mut at = Progress { cursor: before.cursor, state, next_at: before.next_at, decided: Vec::new(), failed: None };
    // First the timer alone: what was due does not depend on what came.
    if !step(functions, rule, &[], shown.now, known, &mut at) {
        return at;
    }
    let mut looked = false;
    for (cursor, change) in shown.changes {
        // A slow function gets fewer changes at a time; the rest in the next transaction.
        if looked && functions.used_up() {
            return at;
        }
        looked = true;
        if let Some(important) = functions.classify(&change)
            && !step(functions, rule, &[Classified { change, important }], shown.now, known, &mut at)
        {
            return at;
        }
        at.cursor = cursor;
    }
    at.cursor = shown.cursor;
    at
}

/// Asks the rule, and the functions about its decisions. False, and no step
/// made, if one of these failed.
fn step(
    functions: &Functions,
    rule: &Rule,
    changes: &[Classified],
    now: OffsetDateTime,
    known: &HashMap<i64, Change>,
    at: &mut Progress,
) -> bool {
    let decided = rule.decide(at.state.clone(), changes, now);
    let mut filled = Vec::new();
    for decision in decided.decisions {
        let changes: Vec<Change> = decision.changes.iter().filter_map(|id| known.get(&id.0).cloned()).collect();
        match functions.builders(&changes) {
            Ok(builders) => {
                let priority = functions.priority(&builders, &changes);
                filled.push(Filled { decision, builders, priority });
            }
            Err(failed) => {
                at.failed = Some(failed);
                return false;
            }
        }
    }
    at.decided.extend(filled);
    at.state = decided.state;
    at.next_at = decided.next_at;
    true
}
