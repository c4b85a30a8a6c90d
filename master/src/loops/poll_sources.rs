//! Polls change sources that are due, one at a time a replica, each under the
//! lease of its row: whichever replica is free takes the next.

use crate::app::App;
use crate::pollers::git::{self, Heads};
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::definition::{ChangeSourceDef, ChangeSourceKind};
use tidemill_schema::change_sources::{
    Due, change_source_failed, change_source_polled, change_source_take, change_sources_wait,
};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Longer than the longest poll.
const LEASE: Duration = Duration::from_secs(600);
const PERIOD: Duration = Duration::from_secs(5);
/// Longest pause after failures.
const BACK_OFF_MAX: Duration = Duration::from_secs(600);

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Poll | Wake::Config | Wake::All));
    let this = app.clone();
    reconcile::spawn(&app.life, "poll", PERIOD, wake, move || {
        let app = this.clone();
        async move {
            let due = {
                let mut c = app.db.pool().acquire().await?;
                change_source_take(&mut c, app.master(), LEASE).await?
            };
            if let Some(due) = due {
                poll(&app, due).await?;
                return Ok(Next::Again);
            }
            let mut c = app.db.pool().acquire().await?;
            let wait = change_sources_wait(&mut c).await?;
            Ok::<_, Error>(wait.map_or(Next::Idle, |s| Next::After(Duration::from_secs_f64(s.clamp(0.01, 60.0)))))
        }
    });
}

async fn poll(app: &App, due: Due) -> Result<()> {
    let found = async {
        let def: ChangeSourceDef = serde_json::from_value(due.definition.clone()).map_err(|e| e.to_string())?;
        let ChangeSourceKind::GitPoller(git_def) = def.kind else {
            return Err(format!("change sources of the kind {} are not run by this release", def.kind.name()));
        };
        let cursor: Option<Heads> =
            due.cursor.clone().map(serde_json::from_value).transpose().map_err(|e| e.to_string())?;
        let interval = Duration::from_micros(git_def.poll_interval_us).max(Duration::from_millis(100));
        let found = git::poll(&git_def, cursor, &app.settings.cache_dir).await.map_err(|e| e.to_string())?;
        Ok::<_, String>((found, interval))
    };
    match found.await {
        Ok((found, interval)) => {
            let cursor = serde_json::to_value(&found.heads).unwrap_or_default();
            let stored = run_tx!(app.db, "poll", |c| {
                change_source_polled(c, due.id, app.master(), &found.changes, &cursor, interval).await
            });
            if let Err(error) = stored {
                // If it was committed after all, the row is no longer ours and this changes nothing.
                let mut c = app.db.pool().acquire().await?;
                let pause = Duration::from_secs(5);
                change_source_failed(&mut c, due.id, app.master(), &error.to_string(), pause).await?;
                return Err(error);
            }
            if !found.changes.is_empty() {
                tracing::info!(source = %due.name, changes = found.changes.len(), "found changes");
                app.wakes.send(Wake::Changes);
                app.wakes.send(Wake::Events);
            }
        }
        Err(error) => {
            let pause = Duration::from_secs(5).saturating_mul(1 << due.errors.clamp(0, 7)).min(BACK_OFF_MAX);
            tracing::warn!(source = %due.name, %error, ?pause, "poll failed");
            let mut c = app.db.pool().acquire().await?;
            change_source_failed(&mut c, due.id, app.master(), &error, pause).await?;
        }
    }
    Ok(())
}
