//! The schedule loop: changes past the cursors become buildsets, exactly once.
//!
//! One transaction takes the schedulers that no other replica holds, reads the
//! changes past their cursors up to the horizon, asks each rule, and commits
//! buildsets, requests, state and cursor together. It shares the lock of the
//! active revision and begins again if that moved. A change whose filter fails
//! with an error is treated as important and matching: building too much is
//! safer than losing it, and the error is in the log.

use crate::app::App;
use crate::policies::collapse;
use crate::schedulers::single_branch::{Rule, State};
use crate::schedulers::{Classified, Decision};
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tidemill_lang::Project;
use tidemill_lang::definition::{SchedulerDef, SchedulerKind};
use tidemill_model::{Change, ChangeId, Properties, SourceStamp};
use tidemill_schema::changes::{Cursor, changes_after};
use tidemill_schema::config::revision_share;
use tidemill_schema::requests::{NewBuildset, Submitted, buildset_insert};
use tidemill_schema::schedulers::{Advance, Scheduler, schedulers_advance, schedulers_due, schedulers_take};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, Result, run_tx};
use tidemill_service::reconcile::{self, Next};
use time::OffsetDateTime;
use tokio::sync::Notify;

/// Changes of one transaction.
const PAGE: i64 = 500;
/// Without a wake.
const PERIOD: Duration = Duration::from_secs(2);

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Changes | Wake::Config | Wake::All));
    let this = app.clone();
    // Milliseconds until the next look at changes above the horizon: 2, 4 … 100.
    let behind = Arc::new(AtomicU64::new(0));
    reconcile::spawn(&app.life, "schedule", PERIOD, wake, move || {
        let (app, behind) = (this.clone(), behind.clone());
        async move {
            let look = look(&app).await?;
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
    /// A full page was read.
    More,
    /// Nothing to do for so long, at most.
    Until(Duration),
}

async fn look(app: &App) -> Result<Look> {
    let (due, wait) = {
        let mut c = app.db.pool().acquire().await?;
        schedulers_due(&mut c).await?
    };
    if !due {
        let wait = wait.map_or(PERIOD, |s| Duration::from_secs_f64(s.clamp(0.001, PERIOD.as_secs_f64())));
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

async fn pass(c: &mut PgConnection, app: &App, revision: i64, project: &Arc<Project>) -> Result<Pass> {
    let (schedulers, now) = schedulers_take(c).await?;
    let Some(lowest) = schedulers.iter().map(|s| s.cursor).min() else {
        // All are held by other replicas, which see what we saw.
        return Ok(Pass { lanes: Vec::new(), look: Look::Behind });
    };
    let page = changes_after(c, lowest, PAGE).await?;
    let full = page.changes.len() as i64 == PAGE;
    // Everything below the end of the page was read; without changes the cursor stays.
    let end = page.changes.last().map(|(cursor, _)| *cursor);
    let mut made = Vec::new();
    let mut advances = Vec::new();
    let mut cut = false;
    for scheduler in &schedulers {
        let changes: Vec<(Cursor, Change)> =
            page.changes.iter().filter(|(at, _)| *at > scheduler.cursor).cloned().collect();
        let cursor = end.unwrap_or(scheduler.cursor).max(scheduler.cursor);
        let timer = scheduler.next_at.is_some_and(|at| at <= now);
        if changes.is_empty() && !timer {
            if cursor > scheduler.cursor {
                let (state, next_at) = (scheduler.state.clone(), scheduler.next_at);
                advances.push(Advance { id: scheduler.id, cursor, state, next_at });
            }
            continue;
        }
        let decided = decide(c, app, revision, project, scheduler, changes, cursor, now, &mut made).await?;
        cut |= decided.cursor < cursor;
        advances.push(decided);
    }
    schedulers_advance(c, &advances).await?;
    collapse::merge(c, app, revision, project, &made).await?;
    let lanes = made.into_iter().flat_map(|m| m.lanes).collect();
    let look = match (full || cut, page.more_above_horizon) {
        (true, _) => Look::More,
        (false, true) => Look::Behind,
        (false, false) => Look::Until(Duration::from_millis(1)),
    };
    Ok(Pass { lanes, look })
}

#[expect(clippy::too_many_arguments, reason = "one decision of one pass")]
async fn decide(
    c: &mut PgConnection,
    app: &App,
    revision: i64,
    project: &Arc<Project>,
    scheduler: &Scheduler,
    changes: Vec<(Cursor, Change)>,
    cursor: Cursor,
    now: OffsetDateTime,
    made: &mut Vec<Submitted>,
) -> Result<Advance> {
    let bad = |e| Error::Inconsistent(format!("scheduler `{}`: {e}", scheduler.name));
    let def: SchedulerDef = serde_json::from_value(scheduler.definition.clone()).map_err(bad)?;
    // A disabled scheduler ignores what comes in (SC-08), and its timer rests.
    if !scheduler.enabled {
        let state = scheduler.state.clone();
        return Ok(Advance { id: scheduler.id, cursor, state, next_at: None });
    }
    // What has no engine in this release passes everything by; checkconfig warned of it.
    let SchedulerKind::SingleBranch { tree_stable_us, only_important } = def.kind else {
        let state = scheduler.state.clone();
        return Ok(Advance { id: scheduler.id, cursor, state, next_at: None });
    };
    let (at, mut changes): (Vec<Cursor>, Vec<Change>) = changes.into_iter().unzip();
    let (classified, looked) = classify(project.clone(), def.clone(), changes.clone()).await?;
    // A slow filter gets fewer changes at a time; the rest in the next transaction.
    let cursor = if looked < changes.len() { at[looked - 1] } else { cursor };
    changes.truncate(looked);
    let rule = Rule { tree_stable: tree_stable_us.map(|us| time::Duration::microseconds(us as i64)), only_important };
    let state: State = serde_json::from_value(scheduler.state.clone()).map_err(bad)?;
    let decided = rule.decide(state, &classified, now);
    let mut by_id: HashMap<i64, Change> = changes.into_iter().map(|ch| (ch.id.0, ch)).collect();
    for decision in &decided.decisions {
        let mut new = buildset(c, &def, decision, &mut by_id).await?;
        let codebase = |id: &ChangeId| by_id.get(&id.0).map(|ch| (id.0, ch.new.codebase.clone()));
        let changes: Vec<(i64, String)> = new.changes.iter().filter_map(codebase).collect();
        collapse::choose(app, revision, project, &mut new, &changes).await?;
        made.push(buildset_insert(c, &new).await?);
    }
    let state = serde_json::to_value(&decided.state).map_err(bad)?;
    Ok(Advance { id: scheduler.id, cursor, state, next_at: decided.next_at })
}

/// How long the functions of a project may hold the schedulers' rows, which
/// nobody else can take meanwhile.
const BUDGET: Duration = Duration::from_millis(200);

/// Runs the filter and fileIsImportant over changes, off the async threads. Also
/// says at how many it looked before the budget was used up: one at least, if
/// there is any.
async fn classify(project: Arc<Project>, def: SchedulerDef, changes: Vec<Change>) -> Result<(Vec<Classified>, usize)> {
    let declared = |def: &SchedulerDef, codebase: &str| {
        if def.codebases.is_empty() { codebase.is_empty() } else { def.codebases.iter().any(|c| c == codebase) }
    };
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let mut classified = Vec::new();
        let mut looked = 0;
        for change in changes {
            if looked > 0 && begun.elapsed() > BUDGET {
                break;
            }
            looked += 1;
            if !declared(&def, &change.new.codebase) {
                continue;
            }
            let matches = project.change_matches(&def.name, &change).unwrap_or_else(|error| {
                tracing::warn!(scheduler = %def.name, change.id = change.id.0, %error, "change filter failed; the change counts as matching");
                true
            });
            if matches {
                let important = project.change_is_important(&def.name, &change).unwrap_or_else(|error| {
                    tracing::warn!(scheduler = %def.name, change.id = change.id.0, %error, "fileIsImportant failed; the change counts as important");
                    true
                });
                classified.push(Classified { change, important });
            }
        }
        (classified, looked)
    })
    .await
    .map_err(|e| Error::Inconsistent(format!("classifying changes: {e}")))
}

/// The buildset of a decision: for each codebase the source of its newest
/// change by arrival (D-25), and one with no revision for those without a change.
async fn buildset(
    c: &mut PgConnection,
    def: &SchedulerDef,
    decision: &Decision,
    known: &mut HashMap<i64, Change>,
) -> Result<NewBuildset> {
    let missing: Vec<i64> = decision.changes.iter().map(|id| id.0).filter(|id| !known.contains_key(id)).collect();
    for change in tidemill_schema::changes::changes_get(c, &missing).await? {
        known.insert(change.id.0, change);
    }
    let changes: Vec<&Change> = decision.changes.iter().filter_map(|id| known.get(&id.0)).collect();
    let mut stamps: BTreeMap<String, SourceStamp> = def
        .codebases
        .iter()
        .map(|name| (name.clone(), SourceStamp { codebase: name.clone(), ..SourceStamp::default() }))
        .collect();
    let mut properties = Properties::new();
    for change in &changes {
        stamps.insert(change.new.codebase.clone(), change.new.sourcestamp());
        let left_out = properties.update_within(&change.new.properties);
        if !left_out.is_empty() {
            let names = left_out.join(", ");
            tracing::warn!(scheduler = %def.name, change.id = change.id.0, names, "properties of a change are too large to join the others");
        }
    }
    def.properties.iter().for_each(|(k, v)| properties.set(k, v.clone(), "Scheduler"));
    properties.set("scheduler", def.name.clone(), "Scheduler");
    let reason = if def.reason.is_empty() { format!("scheduler {}", def.name) } else { def.reason.clone() };
    Ok(NewBuildset {
        reason,
        scheduler: def.name.clone(),
        sourcestamps: stamps.into_values().collect(),
        properties,
        changes: changes.iter().map(|ch| ch.id).collect(),
        builders: def.builder_names.clone(),
        priority: def.priority,
        ..NewBuildset::default()
    })
}
