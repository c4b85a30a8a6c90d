//! Triggers: what a running build asks for becomes buildsets, once.
//!
//! The call is composed outside of any transaction (functions of the project may
//! be asked), then stored in one: it shares the active revision's row, and begins
//! again if that moved; it locks the lease, so a build that is no longer its
//! worker's starts nothing; and it finds itself if it was stored before.

pub(crate) mod compose;

use crate::app::App;
use crate::http::ApiError;
use crate::policies::collapse;
use crate::schedulers::nightly_triggerable::{Rule, State};
use crate::schedulers::summary::summary;
use axum::http::StatusCode;
use compose::{Asked, Composed, What};
use sqlx::PgConnection;
use std::sync::Arc;
use tidemill_lang::Project;
use tidemill_model::BuildId;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{Fired, TRIGGER_DEPTH_MAX, TRIGGER_TARGETS_MAX, TriggerCall};
use tidemill_schema::config::revision_share;
use tidemill_schema::requests::buildset_insert;
use tidemill_schema::triggers::{
    Held, Key, Locked, scheduler_remember, schedulers_disabled, schedulers_hold, trigger_insert, trigger_known,
    trigger_lock, trigger_parent,
};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};
use time::OffsetDateTime;

/// How often it begins again because the project's revision moved.
const TRIES: u32 = 10;

/// Which trigger of which build is meant.
pub fn key(build: i64, step: u32, nth: u32) -> Result<Key, ApiError> {
    let number = |n: u32| i32::try_from(n).map_err(|_| ApiError::bad_request(format!("{n} is no number of a step")));
    Ok(Key { build: BuildId(build), step: number(step)?, nth: number(nth)? })
}

pub fn lease_lost(build: i64) -> ApiError {
    let detail = format!("the lease of build {build} is gone: kill what runs for it and forget it");
    ApiError::conflict(kinds::LEASE_LOST, detail)
}

/// The step ends with this text.
fn refused(detail: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, kinds::TRIGGER_REFUSED, "Nothing was triggered", detail)
}

/// Fires the schedulers that the call names; returns after the commit.
pub async fn fire(app: &App, call: &TriggerCall) -> Result<Vec<Fired>, ApiError> {
    let key = key(call.build, call.step, call.nth)?;
    if call.targets.is_empty() || call.targets.len() > TRIGGER_TARGETS_MAX {
        return Err(refused(format!("a trigger names 1 to {TRIGGER_TARGETS_MAX} schedulers")));
    }
    for _ in 0..TRIES {
        let mut c = app.db.pool().acquire().await?;
        let parent = trigger_parent(&mut c, key.build, &call.token, TRIGGER_DEPTH_MAX).await?;
        let parent = parent.ok_or_else(|| lease_lost(call.build))?;
        if let Some(known) = trigger_known(&mut c, key).await? {
            return Ok(known);
        }
        drop(c);
        if parent.depth >= TRIGGER_DEPTH_MAX {
            return Err(refused(format!(
                "{TRIGGER_DEPTH_MAX} builds stand above this one, each triggered by the next, and that is the most: \
                 does a builder trigger itself, or one that triggers it?"
            )));
        }
        let (revision, project) = match app.projects.active(&app.db).await {
            Ok(Some(active)) => active,
            Ok(None) => return Err(refused("no project configuration is active")),
            // Another replica may be of the release that can.
            Err(Error::Inconsistent(_)) => return Err(ApiError::unavailable()),
            Err(error) => return Err(error.into()),
        };
        let asked = Asked { app, revision, project: &project, call, parent: &parent };
        let composed = compose::compose(&asked).await?;
        let stored = run_tx!(app.db, "trigger", |c| {
            if revision_share(c).await?.0 == revision {
                store(c, app, revision, &project, call, key, &composed).await.map(Some)
            } else {
                Ok(None)
            }
        })?;
        match stored {
            Some(Stored::Made { fired, lanes }) => {
                if !lanes.is_empty() {
                    app.wakes.send(Wake::Work(lanes));
                }
                app.wakes.send(Wake::Events);
                return Ok(fired);
            }
            Some(Stored::Known(fired)) => return Ok(fired),
            Some(Stored::LeaseLost) => return Err(lease_lost(call.build)),
            Some(Stored::Disabled(names)) => {
                let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
                return Err(refused(format!("switched off: {}; enable it, then try again", names.join(", "))));
            }
            None => {}
        }
    }
    Err(ApiError::unavailable())
}

/// Schedulers that only remember that they were triggered.
fn later(composed: &[Composed]) -> Vec<String> {
    let later = composed.iter().filter(|m| matches!(m.what, What::Later { .. }));
    later.map(|m| m.scheduler.clone()).collect()
}

/// What is not to be built at once goes into the states of its schedulers. Of
/// several for one scheduler the last stays (D-33).
async fn remember(
    c: &mut PgConnection,
    project: &Project,
    composed: &[Composed],
    held: Vec<Held>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    for Held { id, name, state, enabled_at } in held {
        let inconsistent = |e: &dyn std::fmt::Display| Error::Inconsistent(format!("scheduler `{name}`: {e}"));
        let last = composed.iter().rfind(|m| m.scheduler == name && matches!(m.what, What::Later { .. }));
        let Some(What::Later { latest, at }) = last.map(|m| &m.what) else { continue };
        let rule = Rule::new(at, enabled_at).map_err(|e| inconsistent(&e))?;
        let mut state: State = serde_json::from_value(state).unwrap_or_default();
        rule.remember(&mut state, serde_json::to_value(latest).map_err(|e| inconsistent(&e))?, now);
        let stored = serde_json::to_value(&state).map_err(|e| inconsistent(&e))?;
        let def = project.definition().schedulers.iter().find(|s| s.name == name);
        let summary = def.map(|def| summary(def, &stored)).unwrap_or_default();
        scheduler_remember(c, id, &stored, rule.next_at(&state), &summary).await?;
    }
    Ok(())
}

enum Stored {
    Made { fired: Vec<Fired>, lanes: Vec<i64> },
    Known(Vec<Fired>),
    LeaseLost,
    Disabled(Vec<String>),
}

async fn store(
    c: &mut PgConnection,
    app: &App,
    revision: i64,
    project: &Arc<Project>,
    call: &TriggerCall,
    key: Key,
    composed: &[Composed],
) -> Result<Stored, Error> {
    // Before the lease: a scheduler may be held while its functions are asked, and what the
    // build reports meanwhile, with that of others in the same group, must not wait for it.
    let held = match later(composed) {
        names if names.is_empty() => None,
        names => Some(schedulers_hold(c, &names).await?),
    };
    match trigger_lock(c, key, &call.token).await? {
        Locked::LeaseLost => return Ok(Stored::LeaseLost),
        Locked::Known(fired) => return Ok(Stored::Known(fired)),
        Locked::New => {}
    }
    let names: Vec<String> = composed.iter().map(|m| m.scheduler.clone()).collect();
    let disabled = schedulers_disabled(c, &names).await?;
    if !disabled.is_empty() {
        return Ok(Stored::Disabled(disabled));
    }
    if let Some((held, now)) = held {
        remember(c, project, composed, held, now).await?;
    }
    let (mut fired, mut made) = (Vec::new(), Vec::new());
    for one in composed {
        let buildset = match &one.what {
            What::Now(new) => {
                let submitted = buildset_insert(c, new).await?;
                let buildset = submitted.buildset.0;
                made.push(submitted);
                Some(buildset)
            }
            What::Later { .. } => None,
        };
        fired.push(Fired { scheduler: one.scheduler.clone(), unimportant: one.unimportant, buildset });
    }
    trigger_insert(c, key, call.wait, &fired).await?;
    collapse::merge(c, app, revision, project, &made).await?;
    Ok(Stored::Made { fired, lanes: made.into_iter().flat_map(|m| m.lanes).collect() })
}
