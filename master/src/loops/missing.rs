//! Notices workers that stay away longer than the project file says they may.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::notices::missing::workers_miss;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Workers are written down as seen every 15 s.
const PERIOD: Duration = Duration::from_secs(5);

pub fn start(app: &App) {
    let this = app.clone();
    reconcile::spawn(&app.life, "missing", PERIOD, Arc::new(Notify::new()), move || {
        let app = this.clone();
        async move {
            let missing = run_tx!(app.db, "workers.miss", |c| workers_miss(c).await)?;
            if missing > 0 {
                tracing::warn!(workers = missing, "workers stay away");
                app.wakes.send(Wake::Events);
            }
            Ok::<_, Error>(Next::Idle)
        }
    });
}
