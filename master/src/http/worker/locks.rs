//! `POST /worker/v1/locks`: a step asks for its locks, under its build's lease.
//!
//! The answer comes when it has them, or after the wait that it asked for. Any
//! replica may be asked at any time: its place in the line is a row.

use super::Worker;
use crate::app::App;
use crate::http::ApiError;
use axum::Json;
use axum::extract::State;
use std::time::Duration;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{Held, LOCKS_MAX, LocksAsk, LocksReply};
use tidemill_schema::locks::{Asked, step_locks_ask};
use tidemill_schema::run_tx;
use tidemill_schema::wake::Wake;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// Longest wait, whatever the worker asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two looks without a wake.
const LOOK: Duration = Duration::from_secs(3);

pub async fn locks(
    State(app): State<App>,
    _worker: Worker,
    Json(ask): Json<LocksAsk>,
) -> Result<Json<LocksReply>, ApiError> {
    if ask.locks.len() > LOCKS_MAX {
        return Err(ApiError::bad_request(format!("a step may hold at most {LOCKS_MAX} locks")));
    }
    let deadline = Instant::now() + Duration::from_micros(ask.wait_us).min(WAIT_MAX);
    let held = Held { build: ask.build, token: ask.token.clone() };
    // Interest begins before the look, so none is missed.
    let mut wakes = app.wakes.subscribe();
    loop {
        let says = match run_tx!(app.db, "locks.ask", |c| step_locks_ask(c, &held, ask.step, &ask.locks).await)? {
            Asked::Granted => return Ok(Json(LocksReply { granted: true, says: String::new() })),
            Asked::Waits(says) => says,
            Asked::LeaseLost => {
                let detail = format!("the lease of build {} is gone: kill what runs for it and forget it", ask.build);
                return Err(ApiError::conflict(kinds::LEASE_LOST, detail));
            }
            Asked::Refused(why) => return Err(ApiError::bad_request(why)),
        };
        let again = (Instant::now() + LOOK).min(deadline);
        if again >= deadline && Instant::now() >= deadline || app.life.draining().is_cancelled() {
            return Ok(Json(LocksReply { granted: false, says }));
        }
        tokio::select! {
            () = its_turn(&mut wakes, ask.build) => {}
            _ = tokio::time::sleep_until(again) => {}
            _ = app.life.draining().cancelled() => return Ok(Json(LocksReply { granted: false, says })),
        }
    }
}

/// Until something may have changed for this build.
async fn its_turn(wakes: &mut broadcast::Receiver<Wake>, build: i64) {
    loop {
        match wakes.recv().await {
            Ok(Wake::Locks(builds)) if builds.is_empty() || builds.contains(&build) => return,
            Ok(Wake::All | Wake::Config) | Err(broadcast::error::RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // The replica ends; the wait does with it.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
