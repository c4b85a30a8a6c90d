//! Takes builds away from workers that were silent for a whole term, and
//! returns requests whose back-off is over to the queue.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::builds::builds_lost;
use tidemill_schema::leases::leases_expired;
use tidemill_schema::requests::waits_release;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Builds of one transaction.
const BATCH: i64 = 200;

pub fn start(app: &App) {
    let this = app.clone();
    // Often enough that a lease is noticed within a small part of its term.
    let period = (app.settings.lease / 10).clamp(Duration::from_millis(100), Duration::from_secs(2));
    reconcile::spawn(&app.life, "reap", period, Arc::new(Notify::new()), move || {
        let app = this.clone();
        async move {
            let term = app.settings.lease;
            let lost = run_tx!(app.db, "reap", |c| {
                let expired = leases_expired(c, term, BATCH).await?;
                builds_lost(c, &expired).await.map(|()| expired)
            })?;
            for e in &lost {
                tracing::warn!(build.id = e.build.0, worker.name = %e.worker, "build lost: its lease ran out");
            }
            let lanes = run_tx!(app.db, "waits.release", |c| waits_release(c).await)?;
            if !lanes.is_empty() {
                app.wakes.send(Wake::Work(lanes));
            }
            if !lost.is_empty() {
                app.wakes.send(Wake::Events);
            }
            Ok::<_, Error>(if lost.len() as i64 == BATCH { Next::Again } else { Next::Idle })
        }
    });
}
