//! The schedule loop: changes past the cursors become buildsets, exactly once.
//!
//! One transaction takes the schedulers that no other replica holds, reads the
//! changes past their cursors and the buildsets that finished, both up to the
//! horizon, asks each rule, and commits buildsets, requests, state and cursors
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
pub(crate) mod functions;
mod single_branch;

use crate::app::App;
use crate::policies::collapse;
use buildset::Composed;
use functions::{Failed, Functions};
use sqlx::PgConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidemill_lang::Project;
use tidemill_lang::definition::{SchedulerDef, SchedulerKind};
use tidemill_model::Change;
use tidemill_schema::changes::{Cursor, changes_after};
use tidemill_schema::config::revision_share;
use tidemill_schema::finished::{self, Finished, finished_after};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::requests::{Submitted, buildset_insert};
use tidemill_schema::schedulers::{Advance, Scheduler, schedulers_advance, schedulers_due, schedulers_take};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use time::OffsetDateTime;
use tokio::sync::Notify;

/// Changes, and finished buildsets, of one transaction.
const PAGE: i64 = 500;
/// Without a wake.
const PERIOD: Duration = Duration::from_secs(2);
/// How long a transaction, which holds rows that nobody else can take, goes on
/// to the next scheduler.
const BUDGET: Duration = Duration::from_secs(1);
/// Pauses of a scheduler whose functions fail.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

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
    /// A full page was read, or the time was used up.
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

struct Pass {
    lanes: Vec<i64>,
    look: Look,
}

/// What one scheduler is shown.
struct Shown {
    scheduler: Scheduler,
    def: SchedulerDef,
    /// Past its cursor, in order.
    changes: Vec<(Cursor, Change)>,
    /// Past what it heard of, in order.
    finished: Vec<Finished>,
    /// Where its cursors are after all this.
    cursor: Cursor,
    heard: Cursor,
    now: OffsetDateTime,
}

impl Shown {
    fn timer(&self) -> bool {
        self.scheduler.next_at.is_some_and(|at| at <= self.now)
    }
}

/// What it decided: stored together.
struct Decided {
    cursor: Cursor,
    heard: Cursor,
    state: serde_json::Value,
    next_at: Option<OffsetDateTime>,
    buildsets: Vec<Composed>,
    /// It came so far, and there a function failed.
    failed: Option<Failed>,
}

async fn pass(c: &mut PgConnection, app: &App, revision: i64, project: &Arc<Project>) -> Result<Pass> {
    let begun = Instant::now();
    let (schedulers, now) = schedulers_take(c).await?;
    let Some(lowest) = schedulers.iter().map(|s| s.cursor).min() else {
        // All are held by other replicas, which see what we saw.
        return Ok(Pass { lanes: Vec::new(), look: Look::Behind });
    };
    let mut all = Vec::with_capacity(schedulers.len());
    let mut advances = Vec::new();
    for scheduler in schedulers {
        match serde_json::from_value::<SchedulerDef>(scheduler.definition.clone()) {
            Ok(def) => all.push((scheduler, def)),
            // Another release may have stored it; the others go on.
            Err(error) => {
                let said = format!("this release cannot read its definition: {error}");
                advances.push(put_off(app, revision, &scheduler, now, "definition", said));
            }
        }
    }
    let page = changes_after(c, lowest, PAGE).await?;
    let heard = finished_page(c, &all).await?;
    let full = page.changes.len() as i64 == PAGE || heard.full;
    // Everything below the end of the page was read; without changes the cursor stays.
    let end = page.changes.last().map(|(cursor, _)| *cursor);
    let mut made = Vec::new();
    let mut cut = false;
    for (scheduler, def) in all {
        if begun.elapsed() > BUDGET {
            cut = true;
            break;
        }
        let upstream = upstream(&def);
        let heard_to = heard.end.filter(|_| !upstream.is_empty()).unwrap_or(scheduler.heard).max(scheduler.heard);
        let shown = Shown {
            changes: page.changes.iter().filter(|(at, _)| *at > scheduler.cursor).cloned().collect(),
            finished: heard
                .finished
                .iter()
                .filter(|f| f.at > scheduler.heard && upstream.contains(&f.scheduler))
                .cloned()
                .collect(),
            cursor: end.unwrap_or(scheduler.cursor).max(scheduler.cursor),
            heard: heard_to,
            scheduler,
            def,
            now,
        };
        if shown.changes.is_empty() && shown.finished.is_empty() && !shown.timer() && shown.scheduler.failures == 0 {
            if shown.cursor > shown.scheduler.cursor || shown.heard > shown.scheduler.heard {
                let moved = Advance { cursor: shown.cursor, heard: shown.heard, ..shown.scheduler.unchanged() };
                advances.push(moved);
            }
            continue;
        }
        let (cursor, heard) = (shown.cursor, shown.heard);
        let scheduler = shown.scheduler.clone();
        let advance = match decide(c, app, revision, project, shown, begun + BUDGET, &mut made).await {
            // Said before anything of it was stored, such as a state that cannot be read.
            Err(Error::Inconsistent(said)) => put_off(app, revision, &scheduler, now, "state", said.to_string()),
            decided => decided?,
        };
        cut |= advance.retry.is_none() && (advance.cursor < cursor || advance.heard < heard);
        advances.push(advance);
    }
    schedulers_advance(c, &advances).await?;
    collapse::merge(c, app, revision, project, &made).await?;
    let lanes = made.into_iter().flat_map(|m| m.lanes).collect();
    let look = match (full || cut, page.more_above_horizon || heard.more_above_horizon) {
        (true, _) => Look::More,
        (false, true) => Look::Behind,
        (false, false) => Look::Until(Duration::from_millis(1)),
    };
    Ok(Pass { lanes, look })
}

/// Leaves a scheduler where it is, to be tried again later; who looks at it sees why.
fn put_off(
    app: &App,
    revision: i64,
    scheduler: &Scheduler,
    now: OffsetDateTime,
    policy: &'static str,
    error: String,
) -> Advance {
    let pause = RETRY_MIN.saturating_mul(1 << scheduler.failures.clamp(0, 6)).min(RETRY_MAX);
    tracing::warn!(scheduler = %scheduler.name, policy, ?pause, "nothing is lost: asked again later");
    app.failures.failed_saying(&app.db, revision, Subject::Scheduler(scheduler.name.clone()), policy, error);
    let retry = Some((now + pause, scheduler.failures.saturating_add(1)));
    Advance { retry, ..scheduler.unchanged() }
}

fn bad(scheduler: &str, error: impl std::fmt::Display) -> Error {
    Error::Inconsistent(format!("scheduler `{scheduler}`: {error}"))
}

/// Whose finished buildsets a scheduler hears of.
fn upstream(def: &SchedulerDef) -> &[String] {
    match &def.kind {
        SchedulerKind::Custom(custom) => &custom.upstream,
        _ => &[],
    }
}

async fn finished_page(c: &mut PgConnection, all: &[(Scheduler, SchedulerDef)]) -> Result<finished::Page> {
    let listening = || all.iter().filter(|(_, def)| !upstream(def).is_empty());
    let Some(lowest) = listening().map(|(s, _)| s.heard).min() else {
        return Ok(finished::Page { finished: Vec::new(), end: None, full: false, more_above_horizon: false });
    };
    let mut names: Vec<String> = listening().flat_map(|(_, def)| upstream(def).iter().cloned()).collect();
    names.sort();
    names.dedup();
    finished_after(c, lowest, &names, PAGE).await
}

async fn decide(
    c: &mut PgConnection,
    app: &App,
    revision: i64,
    project: &Arc<Project>,
    shown: Shown,
    until: Instant,
    made: &mut Vec<Submitted>,
) -> Result<Advance> {
    let scheduler = shown.scheduler.clone();
    let now = shown.now;
    let passed_by = Advance { cursor: shown.cursor, heard: shown.heard, next_at: None, ..scheduler.unchanged() };
    // A disabled scheduler ignores what comes in (SC-08), and its timer rests.
    if !scheduler.enabled {
        return Ok(passed_by);
    }
    let functions = Functions::new(app, revision, project.clone(), shown.def.clone());
    let decided = match shown.def.kind.clone() {
        SchedulerKind::SingleBranch { tree_stable_us, only_important } => {
            single_branch::decide(c, functions, shown, tree_stable_us, only_important).await?
        }
        SchedulerKind::Custom(custom) => custom::decide(c, app, functions, shown, custom).await?,
        // What has no engine in this release passes everything by; checkconfig warned of it.
        _ => return Ok(passed_by),
    };
    let mut buildsets = Vec::with_capacity(decided.buildsets.len());
    for Composed { mut new, changes } in decided.buildsets {
        collapse::choose(app, revision, project, &mut new, &changes, until).await?;
        buildsets.push(new);
    }
    for new in &buildsets {
        made.push(buildset_insert(c, new).await?);
    }
    let retry = decided.failed.and_then(|f| put_off(app, revision, &scheduler, now, f.policy, f.error).retry);
    Ok(Advance {
        id: scheduler.id,
        cursor: decided.cursor,
        heard: decided.heard,
        state: decided.state,
        next_at: decided.next_at,
        retry,
    })
}
