//! What must not be forgotten but has time: partitions ahead, and rows whose
//! time is over (docs/retention.md), a batch at a time.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::refusals::refusals_prune;
use tidemill_schema::{Error, events, facts, hooks, log_chunks, notices, run_tx, tries, triggers};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// How long the event stream is kept, whatever the cursors.
const EVENT_DAYS: i32 = 14;
/// How long a delivery of a hook is known again.
const DELIVERY_DAYS: i32 = 30;
/// How long it is known who was told what.
const NOTICE_DAYS: i32 = 30;
/// How long a try that is sent again is known.
const TRY_DAYS: i32 = 30;
/// How long a trigger is kept after its build is over.
const TRIGGER_DAYS: i32 = 14;

pub fn start(app: &App) {
    let this = app.clone();
    reconcile::spawn(&app.life, "housekeeping", Duration::from_secs(600), Arc::new(Notify::new()), move || {
        let app = this.clone();
        async move {
            let ahead = log_chunks::partitions_ensure(&app.db).await?;
            if ahead < log_chunks::AHEAD {
                tracing::error!(ahead, "too few log partitions lie ahead; inserts of log chunks will fail soon");
            }
            facts::partitions::partitions_ensure(&app.db).await?;
            events::events_prune(&app.db, EVENT_DAYS).await?;
            hooks::deliveries_prune(&app.db, DELIVERY_DAYS).await?;
            notices::send::notices_prune(&app.db, NOTICE_DAYS).await?;
            notices::control::controls_prune(&app.db, NOTICE_DAYS).await?;
            run_tx!(app.db, "refusals.prune", |c| refusals_prune(c).await)?;
            tries::tries_prune(&app.db, TRY_DAYS).await?;
            triggers::triggers_prune(&app.db, TRIGGER_DAYS).await?;
            Ok::<_, Error>(Next::Idle)
        }
    });
}
