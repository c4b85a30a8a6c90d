//! Polls change sources that are due, each under the lease of its row:
//! whichever replica is free takes the next. Version control is asked one
//! source at a time a replica; functions of the project, which may take
//! minutes, run beside that, a few at once, so that none holds up another.

use crate::app::App;
use crate::policies::announced;
use crate::pollers::custom::{self, Broken};
use crate::pollers::git::{self, Heads};
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::definition::{ChangeSourceDef, ChangeSourceKind};
use tidemill_model::NewChange;
use tidemill_schema::change_sources::{
    Due, change_source_failed, change_source_polled, change_source_release, change_source_take, change_sources_wait,
};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::{Notify, Semaphore};

/// Longer than the longest poll.
const LEASE: Duration = Duration::from_secs(600);
const PERIOD: Duration = Duration::from_secs(5);
/// Longest pause after failures.
const BACK_OFF_MAX: Duration = Duration::from_secs(600);
/// Longest stored error, in bytes: a traceback and what it says.
const ERROR_MAX: usize = 8 << 10;
/// Functions that poll at the same time.
const CUSTOM_MAX: usize = 4;

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Poll | Wake::Config | Wake::All));
    let this = app.clone();
    let custom = Arc::new(Semaphore::new(CUSTOM_MAX));
    let ended = wake.clone();
    reconcile::spawn(&app.life, "poll", PERIOD, wake, move || {
        let (app, custom, ended) = (this.clone(), custom.clone(), ended.clone());
        async move {
            let place = custom.try_acquire_owned().ok();
            let due = {
                let mut c = app.db.pool().acquire().await?;
                change_source_take(&mut c, app.master(), LEASE, place.is_some()).await?
            };
            let Some(due) = due else {
                let mut c = app.db.pool().acquire().await?;
                let wait = change_sources_wait(&mut c, place.is_some()).await?;
                return Ok::<_, Error>(
                    wait.map_or(Next::Idle, |s| Next::After(Duration::from_secs_f64(s.clamp(0.01, 60.0)))),
                );
            };
            match due.definition.pointer("/kind/custom") {
                None => poll(&app, due).await?,
                Some(_) => {
                    let this = app.clone();
                    app.life.spawn("poll.custom", async move {
                        let name = due.name.clone();
                        if let Err(error) = poll(&this, due).await {
                            tracing::warn!(source = %name, %error, "what a poll gave could not be stored");
                        }
                        drop(place);
                        ended.notify_one();
                    });
                }
            }
            Ok(Next::Again)
        }
    });
}

/// What a poll found.
struct Found {
    changes: Vec<NewChange>,
    cursor: serde_json::Value,
    interval: Duration,
}

/// Why it found nothing.
enum Failed {
    Said(String),
    /// This replica is to end.
    Draining,
}

async fn poll(app: &App, due: Due) -> Result<()> {
    match find(app, &due).await {
        Ok(found) => store(app, &due, found).await,
        Err(Failed::Draining) => {
            let mut c = app.db.pool().acquire().await?;
            change_source_release(&mut c, due.id, app.master()).await
        }
        Err(Failed::Said(mut error)) => {
            error.truncate(error.floor_char_boundary(ERROR_MAX));
            let pause = Duration::from_secs(5).saturating_mul(1 << due.errors.clamp(0, 7)).min(BACK_OFF_MAX);
            tracing::warn!(source = %due.name, %error, ?pause, "poll failed");
            let mut c = app.db.pool().acquire().await?;
            change_source_failed(&mut c, due.id, app.master(), &error, pause).await
        }
    }
}

async fn find(app: &App, due: &Due) -> Result<Found, Failed> {
    fn said(e: impl ToString) -> Failed {
        Failed::Said(e.to_string())
    }
    let interval = |us| Duration::from_micros(us).max(Duration::from_millis(100));
    let def: ChangeSourceDef = serde_json::from_value(due.definition.clone()).map_err(said)?;
    match def.kind {
        ChangeSourceKind::GitPoller(def) => {
            let cursor: Option<Heads> = due.cursor.clone().map(serde_json::from_value).transpose().map_err(said)?;
            let found = git::poll(&def, cursor, &app.settings.cache_dir).await.map_err(said)?;
            let cursor = serde_json::to_value(&found.heads).map_err(said)?;
            Ok(Found { changes: found.changes, cursor, interval: interval(def.poll_interval_us) })
        }
        ChangeSourceKind::Custom(def) => {
            let active = app.projects.active(&app.db).await.map_err(said)?;
            let (revision, project) = active.ok_or_else(|| said("no project configuration is active"))?;
            match custom::poll(app, project, due.name.clone(), due.cursor.clone(), due.now_us).await {
                Ok(output) => {
                    let interval = interval(def.poll_interval_us);
                    Ok(Found { changes: output.changes, cursor: output.state, interval })
                }
                Err(Broken::Draining) => Err(Failed::Draining),
                Err(Broken::Failed(error)) => {
                    let subject = Subject::ChangeSource(due.name.clone());
                    app.failures.failed(&app.db, revision, subject, "poll", &error);
                    Err(said(error))
                }
            }
        }
        ChangeSourceKind::Declared(def) => {
            Err(said(format!("change sources of the kind {} are not run by this release", def.kind)))
        }
    }
}

async fn store(app: &App, due: &Due, found: Found) -> Result<()> {
    let Found { changes, cursor, interval } = found;
    let changes = announced::completed(app, changes).await;
    let stored = run_tx!(app.db, "poll", |c| {
        change_source_polled(c, due.id, app.master(), &changes, &cursor, interval).await
    });
    if let Err(error) = stored {
        // If it was committed after all, the row is no longer ours and this changes nothing.
        let mut c = app.db.pool().acquire().await?;
        let pause = Duration::from_secs(5);
        change_source_failed(&mut c, due.id, app.master(), &error.to_string(), pause).await?;
        return Err(error);
    }
    if !changes.is_empty() {
        tracing::info!(source = %due.name, changes = changes.len(), "found changes");
        app.wakes.send(Wake::Changes);
        app.wakes.send(Wake::Events);
    }
    Ok(())
}
