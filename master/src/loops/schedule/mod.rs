//! The schedule loop: changes past the cursors become buildsets, exactly once,
//! and so do times, buildsets that ended, and wishes of people.
//!
//! One transaction takes schedulers that have something to do and that no other
//! replica holds, some hundred at most, reads the changes past their cursors and
//! what became of buildsets, both up to the horizon, asks each rule, and commits buildsets, requests, state and cursors
//! together. It shares the lock of the active revision and begins again if that
//! moved.
//!
//! Functions of the project run off the async threads and in bounded time. A
//! change whose filter fails is treated as important and matching: building too
//! much is safer than losing it. Where a rule, or a function that names the
//! builders, fails, nothing can be guessed: that scheduler's cursors stay before
//! what it failed on, it is left alone for 1 s, then twice as long, up to a
//! minute, and asked again; a new revision is tried at once. The others go on.

pub(crate) mod buildset;
mod custom;
mod dependent;
mod feed;
pub(crate) mod functions;
mod pass;
mod remembered;

use crate::app::App;
use pass::pass;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidemill_schema::config::revision_share;
use tidemill_schema::schedulers::schedulers_due;
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Without a wake.
const PERIOD: Duration = Duration::from_secs(2);

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    // Whether any scheduler hears of finished buildsets: only then the event stream concerns this loop.
    let listens = Arc::new(AtomicBool::new(true));
    let heeds = listens.clone();
    super::forward(app, wake.clone(), move |w| match w {
        Wake::Changes | Wake::Config | Wake::All => true,
        Wake::Events => heeds.load(Ordering::Relaxed),
        _ => false,
    });
    let this = app.clone();
    // Milliseconds until the next look at changes above the horizon: 2, 4 … 100.
    let behind = Arc::new(AtomicU64::new(0));
    reconcile::spawn(&app.life, "schedule", PERIOD, wake, move || {
        let (app, behind, listens) = (this.clone(), behind.clone(), listens.clone());
        async move {
            let look = look(&app, &listens).await?;
            let waited = behind.swap(0, Ordering::Relaxed);
            Ok::<_, Error>(match look {
                Look::Behind => {
                    let wait = (waited * 2).clamp(2, 100);
                    behind.store(wait, Ordering::Relaxed);
                    Next::After(Duration::from_millis(wait))
                }
                Look::More => Next::Again,
                Look::Until(d) => Next::After(d),
            })
        }
    });
}

enum Look {
    /// Committed changes wait above the horizon, or another replica holds a scheduler.
    Behind,
    /// A full page was read, a full batch taken, or the time used up.
    More,
    /// Nothing to do for so long, at most.
    Until(Duration),
}

async fn look(app: &App, listens: &AtomicBool) -> Result<Look> {
    let found = {
        let mut c = app.db.pool().acquire().await?;
        schedulers_due(&mut c).await?
    };
    listens.store(found.listens, Ordering::Relaxed);
    if !found.due {
        let wait = found.wait.map_or(PERIOD, |s| Duration::from_secs_f64(s.clamp(0.001, PERIOD.as_secs_f64())));
        return Ok(Look::Until(wait));
    }
    let Some((revision, project)) = app.projects.active(&app.db).await? else { return Ok(Look::Until(PERIOD)) };
    let pass = run_tx!(app.db, "schedule", |c| {
        if revision_share(c).await?.0 == revision { pass(c, app, revision, &project).await.map(Some) } else { Ok(None) }
    })?;
    let Some(pass) = pass else { return Ok(Look::More) };
    if !pass.lanes.is_empty() {
        app.wakes.send(Wake::Work(pass.lanes));
        app.wakes.send(Wake::Events);
    }
    Ok(pass.look)
}
