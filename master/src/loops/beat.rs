//! Proves every few seconds that this replica can renew leases, and notes for
//! people which sessions it hears, which workers stay away, and whether tokens are
//! still good: a few small statements, whatever the number of idle workers.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::{beats, sessions, workers};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Between two notes of who is heard.
const SEEN: Duration = Duration::from_secs(15);

pub fn start(app: &App) {
    let this = app.clone();
    reconcile::spawn(&app.life, "beat", beats::BEAT, Arc::new(Notify::new()), move || {
        let app = this.clone();
        async move {
            let mut c = app.db.pool().acquire().await?;
            beats::beat(&mut c, app.master()).await?;
            Ok::<_, tidemill_schema::Error>(Next::Idle)
        }
    });
    let this = app.clone();
    reconcile::spawn(&app.life, "seen", SEEN, Arc::new(Notify::new()), move || {
        let app = this.clone();
        async move {
            let heard = app.polls.sessions().heard(SEEN);
            if !heard.is_empty() {
                let mut c = app.db.pool().acquire().await?;
                for gone in sessions::sessions_seen(&mut c, &heard).await? {
                    app.polls.sessions().forget(gone);
                }
            }
            let missing = sessions::workers_missing(&mut *app.db.pool().acquire().await?).await?;
            if !missing.is_empty() {
                tracing::warn!(workers = %missing.join(", "), "nothing is heard of workers");
                app.wakes.send(tidemill_schema::wake::Wake::Events);
            }
            let hashes = app.known_workers.hashes();
            if !hashes.is_empty() {
                let mut c = app.db.pool().acquire().await?;
                let good = workers::tokens_good(&mut c, &hashes).await?;
                app.known_workers.keep(&hashes, &good);
            }
            Ok::<_, tidemill_schema::Error>(Next::Idle)
        }
    });
}
