//! Takes builds away from workers that were silent for a whole term, returns
//! requests whose back-off is over to the queue, and ends those that expired.
//!
//! What a worker has written must not keep other builds from being taken away:
//! if a pass over many fails, each is ended by itself, and one that cannot be is
//! ended without a look into its logs. No task waits for another's success.

use crate::app::App;
use crate::loops::locks;
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::BuildId;
use tidemill_schema::builds::{builds_lost, builds_lost_bare};
use tidemill_schema::leases::{Expired, lease_expired, leases_expired};
use tidemill_schema::request_control::requests_expire;
use tidemill_schema::requests::waits_release;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Builds of one transaction.
const BATCH: i64 = 200;
/// Builds of one pass that ends each by itself: more than a few that can never be ended.
const SINGLY: i64 = 10_000;

pub fn start(app: &App) {
    let this = app.clone();
    // Often enough that a lease is noticed within a small part of its term.
    let period = (app.settings.lease / 10).clamp(Duration::from_millis(100), Duration::from_secs(2));
    reconcile::spawn(&app.life, "reap", period, Arc::new(Notify::new()), move || {
        let app = this.clone();
        async move {
            let reaped = reap(&app).await;
            let released = release(&app).await;
            expire(&app).await?;
            released?;
            reaped
        }
    });
}

async fn release(app: &App) -> Result<()> {
    let lanes = run_tx!(app.db, "waits.release", |c| waits_release(c).await)?;
    if !lanes.is_empty() {
        app.wakes.send(Wake::Work(lanes));
    }
    Ok(())
}

async fn expire(app: &App) -> Result<()> {
    let expired = run_tx!(app.db, "requests.expire", |c| requests_expire(c).await)?;
    if expired > 0 {
        tracing::warn!(requests = expired, "requests ended: no worker that may build them was connected");
        app.wakes.send(Wake::Events);
    }
    Ok(())
}

async fn reap(app: &App) -> Result<Next> {
    let term = app.settings.lease;
    let pass = run_tx!(app.db, "reap", |c| {
        let expired = leases_expired(c, term, BATCH).await?;
        builds_lost(c, &expired).await.map(|unlocked| (expired, unlocked))
    });
    let ((lost, unlocked), next) = match pass {
        Ok((lost, unlocked)) => {
            let next = if lost.len() as i64 == BATCH { Next::Again } else { Next::Idle };
            ((lost, unlocked), next)
        }
        Err(error) if error.is_unavailable() => return Err(error),
        Err(error) => {
            tracing::error!(%error, "lost builds cannot be ended together; each is ended by itself");
            (reap_singly(app).await?, Next::Idle)
        }
    };
    for e in &lost {
        tracing::warn!(build.id = e.build.0, worker.name = %e.worker, "build lost: its lease ran out");
    }
    if !lost.is_empty() {
        app.wakes.send(Wake::Events);
    }
    locks::given_back(app, unlocked).await;
    Ok(next)
}

/// Lost builds, and the locks that they gave back.
type Lost = (Vec<Expired>, Vec<i64>);

async fn reap_singly(app: &App) -> Result<Lost> {
    let term = app.settings.lease;
    let found = run_tx!(app.db, "reap.look", |c| leases_expired(c, term, SINGLY).await)?;
    let mut lost = Lost::default();
    for build in found.into_iter().map(|e| e.build) {
        match reap_one(app, build).await {
            Ok((ended, unlocked)) => {
                lost.0.extend(ended);
                lost.1.extend(unlocked);
            }
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => tracing::error!(build.id = build.0, %error, "a lost build cannot be ended"),
        }
    }
    Ok(lost)
}

/// Nothing if its lease was renewed, or another replica has it.
async fn reap_one(app: &App, build: BuildId) -> Result<(Option<Expired>, Vec<i64>)> {
    let term = app.settings.lease;
    let whole: Result<_, Error> = run_tx!(app.db, "reap.one", |c| {
        let expired = lease_expired(c, term, build).await?;
        builds_lost(c, expired.as_slice()).await.map(|unlocked| (expired, unlocked))
    });
    match whole {
        Err(error) if !error.is_unavailable() => {
            tracing::error!(build.id = build.0, %error, "a lost build is ended without a look into its logs");
            run_tx!(app.db, "reap.bare", |c| {
                let expired = lease_expired(c, term, build).await?;
                builds_lost_bare(c, expired.as_slice()).await.map(|unlocked| (expired, unlocked))
            })
        }
        whole => whole,
    }
}
