//! What people may do, whether they ask by REST or by a form on a page: each
//! commits first, and then wakes who has to look.

use super::answer::missing;
use super::forced::FORM as FORCE;
use crate::app::App;
use crate::http::ApiError;
use crate::policies::{announced, collapse};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tidemill_lang::definition::{Branches, ChangeSourceDef, ChangeSourceKind};
use tidemill_model::problem::kinds;
use tidemill_model::{
    BuildId, BuilderId, ChangeId, ChangeSourceId, NewChange, Properties, RequestId, Results, SourceStamp,
};
use tidemill_schema::builds::build_stop;
use tidemill_schema::change_sources::{Which, change_source_poll_now};
use tidemill_schema::changes::{change_insert_once, changes_insert};
use tidemill_schema::read::control::{self, RequestState};
use tidemill_schema::request_control::{self, CancelledAll, Selection, builder_pause, requests_prioritize};
use tidemill_schema::requests::{NewBuildset, Submitted, buildset_insert, requests_cancel};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};

/// What a forced build is to be. What is not said is as in the builder's
/// newest buildset, or as its change source says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Force {
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub repository: Option<String>,
    pub codebase: Option<String>,
    pub project: Option<String>,
    pub properties: BTreeMap<String, Value>,
    pub reason: String,
    pub priority: i32,
}

/// Asks for a build of a builder now.
pub async fn force(
    app: &App,
    builder: i64,
    name: &str,
    force: Force,
    by: &str,
    key: Option<String>,
) -> Result<Submitted, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let sourcestamps = stamps(&mut c, builder, &force).await?;
    drop(c);
    let mut properties = Properties::new();
    for (key, value) in force.properties {
        if key.is_empty() {
            return Err(ApiError::field("properties", "a property has a name"));
        }
        properties.set(key, value, FORCE);
    }
    properties.set("owner", by, FORCE);
    properties.check().map_err(|e| ApiError::field("properties", e.to_string()))?;
    let reason = match force.reason.trim() {
        "" => format!("forced by {by}"),
        said => said.to_owned(),
    };
    let new = NewBuildset {
        reason,
        scheduler: "force".into(),
        sourcestamps,
        properties,
        builders: vec![name.to_owned()],
        priority: force.priority,
        dedupe_key: key,
        ..NewBuildset::default()
    };
    submit(app, new).await
}

/// Which source a build is repeated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// Exactly what it was.
    Same,
    /// The newest of the same branches.
    Latest,
}

/// The same again: sources, properties, blame list and parent of a build's buildset; it names the first build of
/// the chain (D-22).
pub async fn rebuild(app: &App, build: i64, which: Rebuild) -> Result<Submitted, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let mut origin = control::build_origin(&mut c, BuildId(build)).await?.ok_or_else(|| missing("build", build))?;
    drop(c);
    let mut reason = "rebuild";
    if which == Rebuild::Latest {
        reason = "rebuild of the newest source";
        origin.sourcestamps.iter_mut().for_each(|s| s.revision = None);
        // They led to the revision that it was.
        origin.changes.clear();
    }
    let new = NewBuildset {
        reason: reason.into(),
        scheduler: "rebuild".into(),
        sourcestamps: origin.sourcestamps,
        properties: origin.properties,
        changes: origin.changes,
        parent: origin.parent,
        rebuilt: Some(origin.first),
        builders: vec![origin.builder],
        ..NewBuildset::default()
    };
    submit(app, new).await
}

/// Gives a request that waits another priority.
pub async fn prioritize(app: &App, request: i64, priority: i32) -> Result<(), ApiError> {
    let (moved, lanes) =
        run_tx!(app.people, "request.prioritize", |c| requests_prioritize(c, &[RequestId(request)], priority).await)?;
    if moved.is_empty() {
        let mut c = app.people.pool().acquire().await?;
        return Err(match control::request_state(&mut c, request).await? {
            None => missing("build request", request),
            Some(state) => ApiError::conflict(
                kinds::CONFLICT,
                match state {
                    RequestState::Complete => format!("build request {request} is already over"),
                    RequestState::Collapsed => {
                        format!("build request {request} became part of another: change the priority of that one")
                    }
                    RequestState::Claimed(_) => format!("build request {request} has begun"),
                    RequestState::Waiting => format!("build request {request} is changing hands; try again"),
                },
            ),
        });
    }
    app.wakes.send(Wake::Work(lanes));
    app.wakes.send(Wake::Events);
    Ok(())
}

/// Pauses a builder or lets it go on; harmless to repeat.
pub async fn pause(app: &App, builder: i64, paused: bool, by: &str) -> Result<(), ApiError> {
    let lanes = run_tx!(app.people, "builder.pause", |c| builder_pause(c, BuilderId(builder), paused, by).await)?;
    if let Some(lanes) = lanes {
        // What replicas remember of builders changes with it.
        app.wakes.send(Wake::Config);
        app.wakes.send(Wake::Work(lanes));
        app.wakes.send(Wake::Events);
    }
    Ok(())
}

/// How long one call goes on cancelling.
const CANCEL_BUDGET: Duration = Duration::from_secs(8);

/// Cancels everything that is meant, as far as the time goes.
pub async fn cancel_all(
    app: &App,
    selection: &Selection,
    pending_only: bool,
    reason: &str,
) -> Result<CancelledAll, ApiError> {
    let done = request_control::cancel_all(&app.people, selection, pending_only, reason, CANCEL_BUDGET).await?;
    if !done.builds.is_empty() {
        app.wakes.send(Wake::Stop(done.builds.iter().map(|b| b.0).collect()));
    }
    app.wakes.send(Wake::Events);
    Ok(done)
}

/// Stores it, merged with what waits if its rule says so.
pub(super) async fn submit(app: &App, mut new: NewBuildset) -> Result<Submitted, ApiError> {
    let made = match app.projects.active(&app.db).await {
        Ok(Some((revision, project))) => {
            // Neither a forced build nor a rebuild comes from changes: it merges with the same revision only.
            collapse::choose(app, revision, &project, &mut new, &[], Instant::now() + collapse::BUDGET).await?;
            run_tx!(app.people, "buildset.submit", |c| {
                let made = buildset_insert(c, &new).await?;
                collapse::merge(c, app, revision, &project, std::slice::from_ref(&made)).await?;
                Ok::<_, Error>(made)
            })?
        }
        // Without a project that this replica can evaluate nothing is merged.
        Ok(None) | Err(Error::Inconsistent(_)) => {
            run_tx!(app.people, "buildset.submit", |c| buildset_insert(c, &new).await)?
        }
        Err(error) => return Err(error.into()),
    };
    app.wakes.send(Wake::Work(made.lanes.clone()));
    app.wakes.send(Wake::Events);
    Ok(made)
}

/// Stops a build. It ends when its worker has heard of it.
pub async fn stop(app: &App, build: i64, reason: &str) -> Result<(), ApiError> {
    if run_tx!(app.people, "build.stop", |c| build_stop(c, BuildId(build), reason, Results::Cancelled).await)? {
        app.wakes.send(Wake::Stop(vec![build]));
        app.wakes.send(Wake::Events);
        return Ok(());
    }
    let mut c = app.people.pool().acquire().await?;
    match control::build_origin(&mut c, BuildId(build)).await? {
        None => Err(missing("build", build)),
        Some(_) => Err(ApiError::conflict(kinds::CONFLICT, format!("build {build} is already over"))),
    }
}

/// What became of a request that was to be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It had not begun.
    Now,
    /// A worker has it: this build is asked to stop.
    Stopping(i64),
}

/// Cancels a request, or stops its build if it has begun.
pub async fn cancel(app: &App, request: i64, reason: &str) -> Result<Cancelled, ApiError> {
    // Between two looks it may be claimed, or given back by a lost build.
    for _ in 0..5 {
        let found = run_tx!(app.people, "request.cancel", |c| cancel_once(c, request, reason).await)?;
        // In a transaction of its own: whoever writes a build locks its lease before the buildset.
        let found = match found {
            Found::Claimed(build) => {
                match run_tx!(app.people, "build.stop", |c| build_stop(c, build, reason, Results::Cancelled).await)? {
                    true => Found::Stopping(build.0),
                    false => Found::Moved,
                }
            }
            other => other,
        };
        let done = match found {
            Found::Missing => return Err(missing("build request", request)),
            Found::Complete => {
                return Err(ApiError::conflict(kinds::CONFLICT, format!("build request {request} is already over")));
            }
            Found::Moved | Found::Claimed(_) => continue,
            Found::Cancelled => Cancelled::Now,
            Found::Stopping(build) => {
                app.wakes.send(Wake::Stop(vec![build]));
                Cancelled::Stopping(build)
            }
        };
        app.wakes.send(Wake::Events);
        return Ok(done);
    }
    Err(ApiError::conflict(kinds::CONFLICT, format!("build request {request} is changing hands; try again")))
}

enum Found {
    Missing,
    Complete,
    Moved,
    Cancelled,
    Claimed(BuildId),
    Stopping(i64),
}

async fn cancel_once(c: &mut PgConnection, request: i64, reason: &str) -> Result<Found, Error> {
    if !requests_cancel(c, &[RequestId(request)], reason).await?.is_empty() {
        return Ok(Found::Cancelled);
    }
    Ok(match control::request_state(c, request).await? {
        None => Found::Missing,
        Some(RequestState::Complete) => Found::Complete,
        Some(RequestState::Waiting | RequestState::Collapsed) => Found::Moved,
        Some(RequestState::Claimed(build)) => Found::Claimed(build),
    })
}

/// Stores a change; with a key only once. The answer may be given: it is committed.
pub async fn change(app: &App, change: &NewChange, key: Option<&str>) -> Result<ChangeId, ApiError> {
    let change = &announced::completed(app, vec![change.clone()]).await.remove(0);
    change.properties.check().map_err(|e| ApiError::field("properties", e.to_string()))?;
    let id = run_tx!(app.people, "change.insert", |c| change_store(c, change, key).await)?;
    app.wakes.send(Wake::Changes);
    app.wakes.send(Wake::Events);
    Ok(id)
}

async fn change_store(c: &mut PgConnection, change: &NewChange, key: Option<&str>) -> Result<ChangeId, Error> {
    match key {
        Some(key) => change_insert_once(c, change, key).await,
        None => Ok(changes_insert(c, std::slice::from_ref(change), None).await?[0]),
    }
}

/// Asks a change source for a poll now, by its id or name.
pub async fn poll(app: &App, source: &str) -> Result<Vec<String>, ApiError> {
    let which = match source.parse() {
        Ok(id) => Which::Id(ChangeSourceId(id)),
        Err(_) => Which::Name(source),
    };
    let names = run_tx!(app.people, "change_source.poll_now", |c| change_source_poll_now(c, which).await)?;
    if names.is_empty() {
        return Err(ApiError::not_found(format!("there is no change source `{source}` that is polled")));
    }
    app.wakes.send(Wake::Poll);
    Ok(names)
}

/// The sources of a forced build.
async fn stamps(c: &mut PgConnection, builder: i64, force: &Force) -> Result<Vec<SourceStamp>, ApiError> {
    let mut stamps = control::latest_stamps(c, builder).await?;
    // The newest of the branch, not what was built last.
    stamps.iter_mut().for_each(|s| s.revision = None);
    if stamps.is_empty() {
        stamps = from_sources(c, force).await?;
    }
    let codebase = match &force.codebase {
        Some(named) => named.clone(),
        None if stamps.len() > 1 && !stamps.iter().any(|s| s.codebase.is_empty()) => {
            let says = force.branch.is_some() || force.revision.is_some() || force.repository.is_some();
            if !says {
                return Ok(stamps);
            }
            let names: Vec<&str> = stamps.iter().map(|s| s.codebase.as_str()).collect();
            return Err(ApiError::field("codebase", format!("say which one: {}", names.join(", "))));
        }
        None => stamps.first().filter(|_| stamps.len() == 1).map(|s| s.codebase.clone()).unwrap_or_default(),
    };
    let at = match stamps.iter().position(|s| s.codebase == codebase) {
        Some(at) => at,
        None => {
            stamps.push(SourceStamp { codebase, ..SourceStamp::default() });
            stamps.len() - 1
        }
    };
    let stamp = &mut stamps[at];
    if let Some(repository) = &force.repository {
        if stamp.repository != *repository {
            // Another repository has branches of its own.
            stamp.branch = None;
        }
        stamp.repository = repository.clone();
    }
    if let Some(project) = &force.project {
        stamp.project = project.clone();
    }
    if force.branch.is_some() {
        stamp.branch = force.branch.clone();
    }
    stamp.revision = force.revision.clone();
    Ok(stamps)
}

/// What the active change sources look at.
pub async fn source_stamps(c: &mut PgConnection) -> Result<Vec<SourceStamp>, ApiError> {
    let mut found: Vec<SourceStamp> = control::source_definitions(c)
        .await?
        .into_iter()
        .filter_map(|d| serde_json::from_value::<ChangeSourceDef>(d).ok())
        .map(|d| source_stamp(&d.kind))
        .collect();
    found.dedup();
    Ok(found)
}

/// The key by which a request that is sent again is known.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    match headers.get("idempotency-key") {
        None => Ok(None),
        Some(key) => match key.to_str() {
            Ok(key) if !key.is_empty() && key.len() <= 255 => Ok(Some(key.to_owned())),
            _ => Err(ApiError::field("Idempotency-Key", "give 1 to 255 visible ASCII characters")),
        },
    }
}

/// What the active change sources look at: the one that there is, or the one of
/// the codebase that was named.
pub(super) async fn from_sources(c: &mut PgConnection, force: &Force) -> Result<Vec<SourceStamp>, ApiError> {
    let mut found = source_stamps(c).await?;
    found.retain(|s| force.codebase.as_ref().is_none_or(|c| *c == s.codebase));
    match found.len() {
        0 | 1 => Ok(found),
        _ if force.repository.is_some() => Ok(Vec::new()),
        _ => {
            let names: Vec<&str> = found.iter().map(|s| s.repository.as_str()).collect();
            Err(ApiError::field("repository", format!("say which one to build: {}", names.join(", "))))
        }
    }
}

fn source_stamp(kind: &ChangeSourceKind) -> SourceStamp {
    match kind {
        ChangeSourceKind::GitPoller(git) => SourceStamp {
            codebase: git.codebase.clone(),
            repository: tidemill_model::repository::public_url(&git.repourl),
            project: git.project.clone(),
            branch: match &git.branches {
                Branches::Named(names) => names.first().filter(|n| !n.contains(['*', '?'])).cloned(),
                Branches::Default | Branches::All | Branches::Function => None,
            },
            revision: None,
            patch: None,
        },
        _ => SourceStamp::default(),
    }
}
