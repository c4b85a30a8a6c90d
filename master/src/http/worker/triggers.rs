//! `POST /worker/v1/triggers`: a running build starts others; and
//! `POST /worker/v1/triggers/wait`: it waits for them.
//!
//! Waiting costs a replica one reader of the event stream for all who wait; the
//! rows are looked at when an event concerns them, and when the wait is over.

use super::Worker;
use crate::app::App;
use crate::http::ApiError;

use crate::live::Told;
use crate::paths::build_path;
use crate::triggers::{fire, key, lease_lost};
use axum::Json;
use axum::extract::State;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::time::Duration;
use tidemill_model::wire::{TriggerCall, TriggerReply, TriggerState, TriggerWatch};
use tidemill_schema::events::Event;
use tidemill_schema::triggers::{pending_blocked, trigger_watch};
use tokio::time::Instant;

/// Longest wait, whatever the worker asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);

// The lease's token, which only its worker was given, is the right to both.

pub async fn triggers(
    State(app): State<App>,
    _worker: Worker,
    Json(call): Json<TriggerCall>,
) -> Result<Json<TriggerReply>, ApiError> {
    let made = Box::pin(fire(&app, &call)).await?;
    Ok(Json(TriggerReply { made, skipped: None }))
}

pub async fn wait(
    State(app): State<App>,
    _worker: Worker,
    Json(watch): Json<TriggerWatch>,
) -> Result<Json<TriggerState>, ApiError> {
    let deadline = Instant::now() + Duration::from_micros(watch.wait_us).min(WAIT_MAX);
    // Listens before it looks, so nothing falls between the two.
    let mut feed = app.live.listen(None).await?;
    loop {
        let state = Box::pin(look(&app, &watch)).await?;
        if state.over() || state.version != watch.version {
            return Ok(Json(state));
        }
        let requests: HashSet<i64> = state.sets.iter().flat_map(|s| &s.requests).map(|r| r.request).collect();
        let buildsets: HashSet<i64> = state.sets.iter().filter_map(|s| s.buildset).collect();
        let concerns = |event: &Event| {
            let id = |name: &str| event.data.get(name).and_then(|v| v.as_i64());
            id("buildrequestid").is_some_and(|r| requests.contains(&r))
                || id("bsid").is_some_and(|b| buildsets.contains(&b))
                || event.kind == "builds.finished" && event.build_id == Some(watch.build)
        };
        loop {
            tokio::select! {
                told = feed.next() => match told {
                    None => return Ok(Json(state)),
                    Some(Err(error)) => return Err(error.into()),
                    Some(Ok(Told::Event(event))) if !concerns(&event) => {}
                    Some(Ok(_)) => break,
                },
                _ = tokio::time::sleep_until(deadline) => return Ok(Json(Box::pin(look(&app, &watch)).await?)),
            }
        }
    }
}

async fn look(app: &App, watch: &TriggerWatch) -> Result<TriggerState, ApiError> {
    let key = key(watch.build, watch.step, watch.nth)?;
    let mut c = app.db.pool().acquire().await?;
    let mut sets = trigger_watch(&mut c, key, &watch.token).await?.ok_or_else(|| lease_lost(watch.build))?;
    for request in sets.iter_mut().flat_map(|s| &mut s.requests) {
        for build in &mut request.builds {
            build.url = format!("{}{}", app.url, build_path(&request.builder, build.number));
        }
    }
    let unbegun = |r: &&tidemill_model::wire::TriggeredRequest| {
        !r.complete && r.builds.last().is_none_or(|b| b.state == "finished")
    };
    let pending: Vec<i64> = sets.iter().flat_map(|s| &s.requests).filter(unbegun).map(|r| r.request).collect();
    let blocked = pending_blocked(&mut c, &pending).await?;
    let mut state = TriggerState { version: String::new(), sets, blocked };
    let digest = Sha256::digest(serde_json::to_vec(&state).unwrap_or_default());
    state.version = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
    Ok(state)
}
