//! One transaction of the loop: a batch of schedulers is shown what came, and
//! what they decide is stored together with how far they came.

use super::buildset::Composed;
use super::functions::{Failed, Functions};
use super::{Look, custom, dependent, feed, remembered};
use crate::app::App;
use crate::policies::collapse;
use crate::schedulers::any_branch;
use crate::schedulers::nightly;
use crate::schedulers::periodic;
use crate::schedulers::single_branch;
use crate::schedulers::summary::summary;
use crate::schedulers::timed::Timed;
use sqlx::PgConnection;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_lang::Project;
use tidemill_lang::definition::{SchedulerDef, SchedulerKind};
use tidemill_model::Change;
use tidemill_schema::changes::{self, Cursor, changes_after};
use tidemill_schema::finished::{self, Finished, Made, finished_after};
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::requests::{Submitted, buildset_insert};
use tidemill_schema::schedulers::{Advance, BATCH, Scheduler, schedulers_advance, schedulers_take};
use tidemill_schema::{Error, Result};
use time::OffsetDateTime;

/// Changes, and finished buildsets, of one transaction.
pub const PAGE: i64 = 500;
/// How long a transaction, which holds rows that nobody else can take, goes on
/// to the next scheduler.
const BUDGET: Duration = Duration::from_secs(1);
/// Pauses of a scheduler whose functions fail.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

pub struct Pass {
    pub lanes: Vec<i64>,
    pub look: Look,
}

/// What one scheduler is shown.
pub struct Shown {
    pub scheduler: Scheduler,
    pub def: SchedulerDef,
    /// Past its cursor, in order.
    pub changes: Vec<(Cursor, Change)>,
    /// There may be more of them, which are shown in the next transaction.
    pub more_changes: bool,
    /// Past what it heard of, in order.
    pub finished: Vec<Finished>,
    /// The same of those that were made.
    pub made: Vec<Made>,
    /// Where its cursors are after all this.
    pub cursor: Cursor,
    pub heard: Cursor,
    pub now: OffsetDateTime,
}

impl Shown {
    pub fn timer(&self) -> bool {
        self.scheduler.next_at.is_some_and(|at| at <= self.now)
    }

    fn nothing(&self) -> bool {
        self.changes.is_empty()
            && self.finished.is_empty()
            && self.made.is_empty()
            && !self.timer()
            && self.scheduler.failures == 0
            && self.scheduler.run_asked_by.is_none()
    }
}

/// What it decided: stored together.
pub struct Decided {
    pub cursor: Cursor,
    pub heard: Cursor,
    pub state: serde_json::Value,
    pub next_at: Option<OffsetDateTime>,
    pub buildsets: Vec<Composed>,
    /// It came so far, and there a function failed.
    pub failed: Option<Failed>,
    /// It did what somebody asked for.
    pub ran: bool,
}

pub async fn pass(c: &mut PgConnection, app: &App, revision: i64, project: &Arc<Project>) -> Result<Pass> {
    let begun = Instant::now();
    let (schedulers, now) = schedulers_take(c).await?;
    if schedulers.is_empty() {
        // All are held by other replicas, which see what we saw, or what there is lies above the horizon.
        return Ok(Pass { lanes: Vec::new(), look: Look::Behind });
    }
    let batch_is_full = schedulers.len() == BATCH;
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
    let page = changes_page(c, &all).await?;
    let heard = finished_page(c, &all).await?;
    let full = page.changes.len() as i64 == PAGE;
    // Everything below the end of the page was read; without changes the cursor stays.
    let end = page.changes.last().map(|(cursor, _)| *cursor);
    let mut made = Vec::new();
    let mut cut = false;
    for (scheduler, def) in all {
        if begun.elapsed() > BUDGET {
            cut = true;
            break;
        }
        let shown = show(scheduler, def, &page.changes, end, full, &heard, now);
        if shown.nothing() {
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
    let more = batch_is_full || full || heard.full || cut;
    let look = match (more, page.more_above_horizon || heard.more_above_horizon) {
        (true, _) => Look::More,
        (false, true) => Look::Behind,
        (false, false) => Look::Until(Duration::from_millis(1)),
    };
    Ok(Pass { lanes, look })
}

/// What is past the cursors of one scheduler, if it looks at such things.
fn show(
    scheduler: Scheduler,
    def: SchedulerDef,
    changes: &[(Cursor, Change)],
    end: Option<Cursor>,
    full: bool,
    heard: &finished::Page,
    now: OffsetDateTime,
) -> Shown {
    let after = |at: Cursor| scheduler.watches && at > scheduler.cursor;
    let (cursor_before, heard_before) = (scheduler.cursor, scheduler.heard);
    let upstream = def.upstream();
    let hears = |at: Cursor, of: &String| at > heard_before && upstream.contains(of);
    Shown {
        changes: changes.iter().filter(|(at, _)| after(*at)).cloned().collect(),
        more_changes: full && scheduler.watches,
        finished: heard.finished.iter().filter(|f| hears(f.at, &f.scheduler)).cloned().collect(),
        made: heard.made.iter().filter(|m| hears(m.at, &m.scheduler)).cloned().collect(),
        cursor: end.filter(|_| scheduler.watches).unwrap_or(cursor_before).max(cursor_before),
        heard: heard.end.filter(|_| !upstream.is_empty()).unwrap_or(heard_before).max(heard_before),
        scheduler,
        def,
        now,
    }
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

pub fn bad(scheduler: &str, error: impl std::fmt::Display) -> Error {
    Error::Inconsistent(format!("scheduler `{scheduler}`: {error}"))
}

/// The changes past the lowest cursor of those that look at changes.
async fn changes_page(c: &mut PgConnection, all: &[(Scheduler, SchedulerDef)]) -> Result<changes::Page> {
    match all.iter().filter(|(s, _)| s.watches).map(|(s, _)| s.cursor).min() {
        Some(lowest) => changes_after(c, lowest, PAGE).await,
        None => Ok(changes::Page { changes: Vec::new(), more_above_horizon: false }),
    }
}

async fn finished_page(c: &mut PgConnection, all: &[(Scheduler, SchedulerDef)]) -> Result<finished::Page> {
    let listening = || all.iter().filter(|(_, def)| !def.upstream().is_empty());
    let Some(lowest) = listening().map(|(s, _)| s.heard).min() else { return Ok(finished::Page::default()) };
    let mut names: Vec<String> = listening().flat_map(|(_, def)| def.upstream().iter().cloned()).collect();
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
    let passed_by =
        Advance { cursor: shown.cursor, heard: shown.heard, next_at: None, ran: true, ..scheduler.unchanged() };
    // A disabled scheduler ignores what comes in (SC-08), and its timer rests.
    if !scheduler.enabled {
        return Ok(passed_by);
    }
    let def = shown.def.clone();
    let functions = Functions::new(app, revision, project.clone(), def.clone());
    let enabled_at = scheduler.enabled_at;
    let decided = match def.kind.clone() {
        SchedulerKind::SingleBranch { tree_stable_us, only_important } => {
            let rule = single_branch::Rule::new(tree_stable_us, only_important);
            feed::decide(c, functions, shown, rule).await?
        }
        SchedulerKind::AnyBranch { tree_stable_us, only_important } => {
            let each = single_branch::Rule::new(tree_stable_us, only_important);
            feed::decide(c, functions, shown, any_branch::Rule { each }).await?
        }
        SchedulerKind::Periodic { interval_us, timed } => {
            let rule = periodic::Rule { timed: Timed::new(&timed), interval_us, enabled_at };
            feed::decide(c, functions, shown, rule).await?
        }
        SchedulerKind::Nightly(nightly) => {
            let rule = nightly::Rule::new(&def.name, &nightly, enabled_at).map_err(|e| bad(&def.name, e))?;
            feed::decide(c, functions, shown, rule).await?
        }
        SchedulerKind::Dependent { upstream } => dependent::decide(c, functions, shown, &upstream).await?,
        SchedulerKind::NightlyTriggerable { at } => remembered::decide(c, functions, shown, &at).await?,
        SchedulerKind::Custom(custom) => custom::decide(c, app, functions, shown, custom).await?,
        // What others than this loop set off, or has no engine in this release, passes everything by.
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
        summary: summary(&def, &decided.state),
        state: decided.state,
        next_at: decided.next_at,
        retry,
        ran: decided.ran,
    })
}
