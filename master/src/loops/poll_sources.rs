//! Polls change sources that are due, each under the lease of its row:
//! whichever replica is free takes the next, a few at once, functions of the
//! project apart from the others, so that none holds up another.
//!
//! The lease is short and renewed while a poll runs, so that another replica
//! goes on within a minute when this one dies. A poll that finds much stores it
//! page by page. When the replica is to end, or the source is defined anew, the
//! poll is given up, its programs with it.

use crate::app::App;
use crate::policies::announced;
use crate::pollers::custom::{self, Broken};
use crate::pollers::functions::Functions;
use crate::pollers::git::{self, Heads};
use crate::pollers::{Found, Outcome, PollError, World, arguments, declared, mark_proposals};
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::definition::{ChangeSourceDef, ChangeSourceKind, GitPollerDef};
use tidemill_lang::{EvalError, Project};
use tidemill_schema::change_sources::{
    Due, Room, change_source_failed, change_source_hold, change_source_page, change_source_polled,
    change_source_release, change_source_rest, change_source_take, change_sources_wait,
};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Term of a poll's lease, and how often it is renewed.
const TERM: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(5);
/// Pauses after failures: doubled from the first to the longest.
const BACK_OFF: Duration = Duration::from_secs(5);
const BACK_OFF_MAX: Duration = Duration::from_secs(600);
/// Longest stored error, in bytes: a traceback and what it says.
const ERROR_MAX: usize = 8 << 10;
/// Polls at the same time: by functions of the project, and others.
const CUSTOM_MAX: usize = 4;
const OTHERS_MAX: usize = 4;
/// Of both, sources that failed the last time: servers that keep still take no more places.
const FAILING_MAX: usize = 2;

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Poll | Wake::Config | Wake::All));
    let this = app.clone();
    let places = |n| Arc::new(Semaphore::new(n));
    let (custom, others, failing) = (places(CUSTOM_MAX), places(OTHERS_MAX), places(FAILING_MAX));
    let ended = wake.clone();
    reconcile::spawn(&app.life, "poll", PERIOD, wake, move || {
        let (app, ended) = (this.clone(), ended.clone());
        let [custom, others, failing] =
            [&custom, &others, &failing].map(|places| places.clone().try_acquire_owned().ok());
        async move {
            let room = Room { custom: custom.is_some(), others: others.is_some(), failing: failing.is_some() };
            let mut c = app.db.pool().acquire().await?;
            let Some(due) = change_source_take(&mut c, app.master(), TERM, room).await? else {
                let wait = change_sources_wait(&mut c, room).await?;
                return Ok::<_, Error>(
                    wait.map_or(Next::Idle, |s| Next::After(Duration::from_secs_f64(s.clamp(0.01, 60.0)))),
                );
            };
            drop(c);
            let place = if due.definition.pointer("/kind/custom").is_some() { custom } else { others };
            let failing = failing.filter(|_| due.errors > 0);
            spawn(&app, due, (place, failing), ended);
            Ok(Next::Again)
        }
    });
}

type Place = Option<OwnedSemaphorePermit>;

fn spawn(app: &App, due: Due, places: (Place, Place), ended: Arc<Notify>) {
    let this = app.clone();
    app.life.spawn("poll.source", async move {
        let name = due.name.clone();
        if let Err(error) = poll(&this, due).await {
            tracing::warn!(source = %name, %error, "what a poll gave could not be stored");
        }
        drop(places);
        ended.notify_one();
    });
}

/// Why a poll found nothing.
enum Failed {
    Said(String),
    /// A function of the project failed; shown at the project too.
    Function(EvalError),
    /// Nothing polls such a source, and why.
    NotPolled(Option<String>),
    /// This replica is to end.
    Draining,
    /// The source is no longer ours.
    Lost,
}

async fn poll(app: &App, mut due: Due) -> Result<()> {
    // A function of the project ends by itself then: no poll of it overlaps the next.
    let own_end = due.definition.pointer("/kind/custom").is_some();
    let error = loop {
        let found = tokio::select! {
            found = find(app, &due) => found,
            () = lost(app, &due) => Err(Failed::Lost),
            () = app.life.draining().cancelled(), if !own_end => Err(Failed::Draining),
        };
        match found {
            Ok((found, _)) if found.more => {
                let cursor = found.cursor.clone();
                store(app, &due, found, None).await?;
                due.cursor = Some(cursor);
            }
            Ok((found, next)) => return store(app, &due, found, Some(next)).await,
            Err(Failed::Lost) => {
                tracing::info!(source = %due.name, "a poll was given up: the source is another's, or defined anew");
                return Ok(());
            }
            Err(Failed::Draining) => {
                let mut c = app.db.pool().acquire().await?;
                return change_source_release(&mut c, &due).await;
            }
            Err(Failed::NotPolled(why)) => {
                tracing::info!(source = %due.name, why, "the source is not polled");
                let mut c = app.db.pool().acquire().await?;
                return change_source_rest(&mut c, &due, why.as_deref()).await;
            }
            Err(Failed::Function(error)) => {
                if let Ok(Some((revision, _))) = app.projects.active(&app.db).await {
                    app.failures.failed(&app.db, revision, Subject::ChangeSource(due.name.clone()), "poll", &error);
                }
                break error.to_string();
            }
            Err(Failed::Said(error)) => break error,
        }
    };
    let mut error = error;
    error.truncate(error.floor_char_boundary(ERROR_MAX));
    let pause = back_off(due.errors, rand::random());
    tracing::warn!(source = %due.name, %error, ?pause, "poll failed");
    let mut c = app.db.pool().acquire().await?;
    change_source_failed(&mut c, &due, &error, pause).await
}

/// The pause after so many failures before this one. `drawn`, from 0 to 1, keeps
/// sources that failed together from coming back together.
fn back_off(errors: i32, drawn: f64) -> Duration {
    let pause = BACK_OFF.saturating_mul(1 << errors.clamp(0, 7)).min(BACK_OFF_MAX);
    pause.mul_f64(0.75 + drawn.clamp(0.0, 1.0) / 2.0)
}

/// Renews the lease; ends when the source is no longer ours.
async fn lost(app: &App, due: &Due) {
    loop {
        tokio::time::sleep(RENEW).await;
        let held = async { change_source_hold(&mut *app.db.pool().acquire().await?, due, TERM).await };
        match held.await {
            Ok(true) => {}
            Ok(false) => return,
            // Without a database nobody else can take it either.
            Err(error) => tracing::debug!(%error, source = %due.name, "could not renew a poll's lease"),
        }
    }
}

async fn find(app: &App, due: &Due) -> Result<(Found, Duration), Failed> {
    fn said(e: impl ToString) -> Failed {
        Failed::Said(e.to_string())
    }
    let def: ChangeSourceDef = serde_json::from_value(due.definition.clone()).map_err(said)?;
    let least = |d: Duration| d.max(Duration::from_millis(100));
    match def.kind {
        ChangeSourceKind::GitPoller(def) => {
            let cursor: Option<Heads> = due.cursor.clone().map(serde_json::from_value).transpose().map_err(said)?;
            let calls = def.category_function
                || def.project_function
                || def.branches == tidemill_lang::definition::Branches::Function;
            let functions = functions(app, due, calls).await?;
            let mut found = git::poll(&def, cursor, &world(app, due, &functions)).await.map_err(failed)?;
            if def.category_function || def.project_function {
                found.changes = functions.stamped(found.changes).await.map_err(Failed::Function)?;
            }
            Ok((found, least(git_pause(&def, rand::random()))))
        }
        ChangeSourceKind::Custom(def) => {
            let active = app.projects.active(&app.db).await.map_err(said)?;
            let (_, project) = active.ok_or_else(|| said("no project configuration is active"))?;
            match custom::poll(app, project, due.name.clone(), due.cursor.clone(), due.now_us).await {
                Ok(mut output) => {
                    mark_proposals(&mut output.changes);
                    let found = Found { changes: output.changes, cursor: output.state, more: false, note: None };
                    Ok((found, least(Duration::from_micros(def.poll_interval_us))))
                }
                Err(Broken::Draining) => Err(Failed::Draining),
                Err(Broken::Failed(error)) => Err(Failed::Function(error)),
            }
        }
        ChangeSourceKind::Declared(def) => {
            let functions = functions(app, due, true).await?;
            match declared(&def, due.cursor.clone(), &world(app, due, &functions)).await.map_err(failed)? {
                Outcome::Found(mut found) => {
                    if arguments::category_function(&def) {
                        found.changes = functions.stamped(found.changes).await.map_err(Failed::Function)?;
                    }
                    Ok((found, least(arguments::interval(&def))))
                }
                Outcome::NotPolled(why) => Err(Failed::NotPolled(why)),
            }
        }
    }
}

fn failed(error: PollError) -> Failed {
    match error {
        PollError::Function(error) => Failed::Function(error),
        other => Failed::Said(other.to_string()),
    }
}

/// The source's functions, if it has any.
async fn functions(app: &App, due: &Due, wanted: bool) -> Result<Functions, Failed> {
    let mut project: Option<Arc<Project>> = None;
    if wanted {
        project = app.projects.active(&app.db).await.map_err(|e| Failed::Said(e.to_string()))?.map(|(_, p)| p);
    }
    Ok(Functions::new(project, &due.name))
}

fn world<'a>(app: &'a App, due: &'a Due, functions: &'a Functions) -> World<'a> {
    World {
        cache: &app.settings.cache_dir,
        local: app.settings.poll_local_addresses,
        secrets: &app.secrets,
        functions,
        now_us: due.now_us,
    }
}

/// With the random delay that it asks for.
fn git_pause(def: &GitPollerDef, drawn: f64) -> Duration {
    let spread = def.random_delay_max_us.saturating_sub(def.random_delay_min_us) as f64;
    let delay = def.random_delay_min_us + (spread * drawn.clamp(0.0, 1.0)) as u64;
    Duration::from_micros(def.poll_interval_us.saturating_add(delay))
}

/// Stores a page, and with it the end of the poll if the time of the next is given.
async fn store(app: &App, due: &Due, found: Found, next: Option<Duration>) -> Result<()> {
    let Found { changes, cursor, note, .. } = found;
    let changes = announced::completed(app, changes).await;
    let stored = match next {
        None => run_tx!(app.db, "poll.page", |c| change_source_page(c, due, &changes, &cursor, TERM).await),
        Some(next) => {
            let note = note.as_deref();
            run_tx!(app.db, "poll", |c| change_source_polled(c, due, &changes, &cursor, next, note).await)
        }
    };
    if let Err(error) = stored {
        // If it was committed after all, the row is no longer ours and this changes nothing.
        let mut c = app.db.pool().acquire().await?;
        change_source_failed(&mut c, due, &error.to_string(), back_off(due.errors, rand::random())).await?;
        return Err(error);
    }
    if !changes.is_empty() {
        tracing::info!(source = %due.name, changes = changes.len(), "found changes");
        app.wakes.send(Wake::Changes);
        app.wakes.send(Wake::Events);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_after_failures_grow_to_a_bound_and_differ() {
        let pauses: Vec<u64> = (0..10).map(|n| back_off(n, 0.5).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
        assert!(back_off(3, 0.0) < back_off(3, 1.0));
    }

    #[test]
    fn the_random_delay_is_added_to_each_pause() {
        let def = GitPollerDef {
            poll_interval_us: 60_000_000,
            random_delay_min_us: 1_000_000,
            random_delay_max_us: 3_000_000,
            ..GitPollerDef::default()
        };
        let pauses = [0.0, 0.5, 1.0].map(|drawn| git_pause(&def, drawn).as_secs());
        assert_eq!(pauses, [61, 62, 63]);
    }
}
