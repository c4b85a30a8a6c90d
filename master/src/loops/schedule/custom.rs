//! `schedulers.Custom` (SC-23): the project's own rule.
//!
//! It is called with the changes that pass its filter, the upstream buildsets
//! that finished, and when a time that it asked for or its interval has come.
//! What it leaves as state and what it asks for are stored together with the
//! cursors: an input counts for one call whose outcome is stored, exactly once.

use super::buildset::{Composed, Wish, complete, compose};
use super::functions::{Failed, Functions, blocking};
use super::pass::{Decided, PAGE, Shown, bad};
use crate::app::App;
use crate::policies::Host;
use crate::schedulers::{micros, moment};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sqlx::PgConnection;
use std::collections::HashMap;
use std::time::Duration;
use tidemill_lang::definition::CustomSchedulerDef;
use tidemill_lang::policies::{self, FinishedView, RuleInput, RuleOutput};
use tidemill_model::Change;
use tidemill_schema::Result;
use tidemill_schema::changes::Cursor;
use time::OffsetDateTime;

/// All questions of one call.
const QUESTIONS: Duration = Duration::from_secs(1);

/// A time that is as good as never: a hundred years.
const FAR_US: i64 = 100 * 365 * 86_400_000_000;

/// What its row remembers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    /// The rule's own.
    #[serde(default)]
    rule: Json,
    /// When it asked to be called; an interval does not move it.
    #[serde(default)]
    wake_at_us: Option<i64>,
}

pub async fn decide(
    c: &mut PgConnection,
    app: &App,
    functions: Functions,
    mut shown: Shown,
    custom: CustomSchedulerDef,
) -> Result<Decided> {
    shorten(&mut shown);
    let before = shown.scheduler.clone();
    let mut state: State = serde_json::from_value(before.state.clone()).map_err(|e| bad(&before.name, e))?;
    let (now, heard, end) = (shown.now, shown.heard, shown.cursor);
    let known: HashMap<i64, Change> = shown.changes.iter().map(|(_, ch)| (ch.id.0, ch.clone())).collect();
    let host = Host::new(app, QUESTIONS);
    let (asked, rule_state, only_important) = (functions.clone(), state.rule.clone(), custom.only_important);
    // It is looked at too when it was enabled: that is no time that it asked for.
    let timer = shown.timer() && (custom.interval_us.is_some() || state.wake_at_us.is_some_and(|at| at <= micros(now)));
    let (called, stopped) = blocking(move || call(&asked, &host, shown, rule_state, timer, only_important)).await?;
    let stays = |failed: Failed| Decided {
        cursor: before.cursor,
        heard: before.heard,
        state: before.state.clone(),
        next_at: before.next_at,
        buildsets: Vec::new(),
        failed: Some(failed),
        ran: true,
    };
    let mut buildsets = Vec::new();
    let mut next_at = before.next_at.filter(|at| *at > now).or_else(|| next_call(&state, &custom, now));
    match called {
        Called::Failed(failed) => return Ok(stays(failed)),
        Called::Nothing => {}
        Called::Decided(output) => {
            buildsets = match fill(c, functions, output.buildsets, known).await? {
                Ok(buildsets) => buildsets,
                Err(failed) => return Ok(stays(failed)),
            };
            // The time it asks for now, or the one it asked for before if that is to come.
            let wake_at_us = output.wake_at_us.or(state.wake_at_us.filter(|at| *at > micros(now)));
            state = State { rule: output.state, wake_at_us };
            next_at = next_call(&state, &custom, now);
        }
    }
    Ok(Decided {
        cursor: stopped.unwrap_or(end),
        heard,
        state: serde_json::to_value(&state).map_err(|e| bad(&before.name, e))?,
        next_at,
        buildsets,
        failed: None,
        ran: true,
    })
}

/// One that failed is shown half as much, and again half: what was too much for
/// its limits at once passes in parts.
fn shorten(shown: &mut Shown) {
    let most = (PAGE as usize >> shown.scheduler.failures.clamp(0, 16)).max(1);
    if shown.changes.len() > most {
        shown.changes.truncate(most);
        shown.cursor = shown.changes[most - 1].0;
    }
    if shown.finished.len() > most {
        shown.finished.truncate(most);
        shown.heard = shown.finished[most - 1].at;
    }
}

enum Called {
    /// There was nothing to call it for.
    Nothing,
    Decided(RuleOutput),
    Failed(Failed),
}

/// Classifies, and calls the rule. Also where it stopped looking at changes.
fn call(
    functions: &Functions,
    host: &Host,
    shown: Shown,
    state: Json,
    timer: bool,
    only_important: bool,
) -> (Called, Option<Cursor>) {
    let (mut changes, stopped) = functions.classify_all(shown.changes);
    changes.retain(|(_, important)| *important || !only_important);
    if changes.is_empty() && shown.finished.is_empty() && !timer {
        return (Called::Nothing, stopped);
    }
    let finished = shown.finished.into_iter().map(|f| FinishedView {
        buildset: f.buildset.0,
        scheduler: f.scheduler,
        results: f.results,
        sourcestamps: f.sourcestamps,
        properties: f.properties,
    });
    let input = RuleInput { now_us: micros(shown.now), state, changes, finished: finished.collect(), timer };
    match functions.policies().schedule(&functions.def().name, input, host) {
        Ok(output) => (Called::Decided(output), stopped),
        Err(error) => (Called::Failed(Failed::new("rule", error)), stopped),
    }
}

/// Finds what the rule named, and asks the functions for what it left open.
async fn fill(
    c: &mut PgConnection,
    functions: Functions,
    asked: Vec<policies::NewBuildset>,
    mut known: HashMap<i64, Change>,
) -> Result<Result<Vec<Composed>, Failed>> {
    complete(c, &mut known, asked.iter().flat_map(|b| b.changes.iter().copied())).await?;
    if let Some(id) = asked.iter().flat_map(|b| &b.changes).find(|id| !known.contains_key(id)) {
        let error = format!("addBuildset names the change {id}, which is not stored (any more)");
        return Ok(Err(Failed::new("rule", error)));
    }
    blocking(move || asked.into_iter().map(|new| buildset(&functions, new, &known)).collect()).await
}

fn buildset(
    functions: &Functions,
    new: policies::NewBuildset,
    known: &HashMap<i64, Change>,
) -> Result<Composed, Failed> {
    let changes: Vec<Change> = new.changes.iter().filter_map(|id| known.get(id).cloned()).collect();
    let builders = match new.builder_names {
        Some(names) => names,
        None => functions.builders(&changes)?,
    };
    let priority = new.priority.unwrap_or_else(|| functions.priority(&builders, &changes));
    let changes: Vec<&Change> = changes.iter().collect();
    let mut composed = compose(functions.def(), Wish { changes: &changes, ..Wish::default() }, builders, priority);
    let set = &mut composed.new;
    for stamp in new.sourcestamps {
        set.sourcestamps.retain(|s| s.codebase != stamp.codebase);
        set.sourcestamps.push(stamp);
    }
    new.properties.into_iter().for_each(|(k, v)| set.properties.set(k, v, "Scheduler"));
    set.properties.check().map_err(|e| Failed::new("rule", format!("addBuildset: {e}")))?;
    if let Some(reason) = new.reason {
        set.reason = reason;
    }
    Ok(composed)
}

fn next_call(state: &State, custom: &CustomSchedulerDef, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let interval = custom.interval_us.map(|us| micros(now).saturating_add(i64::try_from(us).unwrap_or(i64::MAX)));
    let at = [state.wake_at_us, interval].into_iter().flatten().min()?;
    // Who asks for a time of before now, or again and again for now, is called a few times a second.
    let at = at.clamp(micros(now) + 250_000, micros(now) + FAR_US);
    moment(at)
}
