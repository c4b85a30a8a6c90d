//! What must not be forgotten but has time: partitions ahead, old events.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::refusals::refusals_prune;
use tidemill_schema::{Error, events, hooks, log_chunks, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// How long the event stream is kept, whatever the cursors.
const EVENT_DAYS: i32 = 14;
/// How long a delivery of a hook is known again.
const DELIVERY_DAYS: i32 = 30;

pub fn start(app: &App) {
    let this = app.clone();
    reconcile::spawn(&app.life, "housekeeping", Duration::from_secs(600), Arc::new(Notify::new()), move || {
        let app = this.clone();
        async move {
            let ahead = log_chunks::partitions_ensure(&app.db).await?;
            if ahead < log_chunks::AHEAD {
                tracing::error!(ahead, "too few log partitions lie ahead; inserts of log chunks will fail soon");
            }
            events::events_prune(&app.db, EVENT_DAYS).await?;
            hooks::deliveries_prune(&app.db, DELIVERY_DAYS).await?;
            run_tx!(app.db, "refusals.prune", |c| refusals_prune(c).await)?;
            Ok::<_, Error>(Next::Idle)
        }
    });
}
