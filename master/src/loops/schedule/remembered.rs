//! NightlyTriggerable: its latest trigger becomes a buildset when its time comes,
//! as the definition of that moment says.

use super::buildset::Composed;
use super::functions::{Failed, Functions, blocking};
use super::pass::{Decided, Shown, bad};
use crate::schedulers::nightly_triggerable::{Rule, State};
use crate::triggers::compose::{Latest, own_priority};
use sqlx::PgConnection;
use tidemill_lang::definition::CronDef;
use tidemill_model::Change;
use tidemill_schema::Result;
use tidemill_schema::changes::changes_get;

pub async fn decide(c: &mut PgConnection, functions: Functions, shown: Shown, at: &CronDef) -> Result<Decided> {
    let before = shown.scheduler.clone();
    let name = before.name.clone();
    let rule = Rule::new(at, before.enabled_at).map_err(|e| bad(&name, e))?;
    let mut state: State = serde_json::from_value(before.state.clone()).map_err(|e| bad(&name, e))?;
    let mut buildsets = Vec::new();
    if let Some(latest) = rule.tick(&mut state, shown.now) {
        let latest: Latest = serde_json::from_value(latest).map_err(|e| bad(&name, e))?;
        match fire(c, functions, latest).await? {
            Ok(composed) => buildsets.push(composed),
            Err(failed) => {
                return Ok(Decided {
                    cursor: shown.cursor,
                    heard: shown.heard,
                    state: before.state,
                    next_at: before.next_at,
                    buildsets,
                    failed: Some(failed),
                    ran: false,
                });
            }
        }
    }
    Ok(Decided {
        cursor: shown.cursor,
        heard: shown.heard,
        next_at: rule.next_at(&state),
        state: serde_json::to_value(&state).map_err(|e| bad(&name, e))?,
        buildsets,
        failed: None,
        ran: true,
    })
}

async fn fire(c: &mut PgConnection, functions: Functions, latest: Latest) -> Result<Result<Composed, Failed>> {
    let def = functions.def().clone();
    let changes: Vec<Change> = match def.builders_function || def.priority_function {
        true => changes_get(c, &latest.changes()).await?,
        false => Vec::new(),
    };
    blocking(move || {
        let builders = functions.builders(&changes)?;
        let priority = match own_priority(&def) {
            true => functions.priority(&builders, &changes),
            false => latest.parent.priority,
        };
        let said = |error: crate::http::ApiError| Failed::new("trigger", &error.problem().detail);
        latest.buildset(&def, builders, priority).map_err(said)
    })
    .await
}
