//! `POST /try`: a difference that somebody wants built before it is committed
//! (SC-20, SC-21).
//!
//! A Try scheduler of the project file says which builders may be named; one that
//! may not is an error that lists those that may, and nothing is queued (D-37).
//! Whoever sends the token is the owner; what the body says of a name is for
//! people (A13).

use super::ask::{Operators, body_within, connection, too_large};
use super::control;
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidemill_lang::definition::SchedulerDef;
use tidemill_model::problem::FieldError;
use tidemill_model::{BuildsetId, NewPatch, PATCH_MAX, Properties, SourceStamp};
use tidemill_schema::patches::patch_intern;
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::tries::{requests_of, schedulers_active, try_find, try_insert};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};
use utoipa_axum::router::OpenApiRouter;

/// Source of properties that come with a try, as in Buildbot.
const SOURCE: &str = "try build";

/// Bytes of the body beside the patch, which is base64 in it.
const BESIDE: usize = 1 << 20;

const TRY: &[(&str, &str)] = &[
    ("scheduler", "Name of a Try scheduler; not needed where one allows the builders."),
    ("builders", "A list of names; none are all of the scheduler's."),
    ("codebase", "Which one the rest is of; empty where there is only one."),
    ("branch", "Null is the default branch."),
    ("revision", "What the patch is on top of; null is the newest."),
    ("repository", "Default: as the scheduler or the change source says."),
    ("project", "Name of the project."),
    ("patch", "An object: `body` in base64, `level` (default 1), `subdir`; without it the revision is built as it is."),
    ("comment", "For people."),
    ("who", "For people: whose work it is."),
    ("properties", "An object of names and values."),
];

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::other("/try", "Try schedulers, and their builders", "application/json", &[], get(list)))
        .routes(describe::control(
            "/try",
            "201",
            "Build a difference before it is committed; Idempotency-Key makes it once; a token of the scope `try` is enough",
            TRY,
            post(submit),
        ))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Try {
    scheduler: Option<String>,
    builders: Vec<String>,
    codebase: Option<String>,
    branch: Option<String>,
    revision: Option<String>,
    repository: Option<String>,
    project: Option<String>,
    patch: Option<TryPatch>,
    comment: String,
    who: String,
    properties: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TryPatch {
    body: String,
    #[serde(default = "one")]
    level: u32,
    #[serde(default)]
    subdir: String,
}

fn one() -> u32 {
    1
}

/// A Try scheduler.
struct Allowed {
    def: SchedulerDef,
    enabled: bool,
}

async fn allowed(c: &mut PgConnection) -> Result<Vec<Allowed>, ApiError> {
    let rows = schedulers_active(c).await?;
    let read = |row: tidemill_schema::tries::Scheduler| {
        let def = serde_json::from_value::<SchedulerDef>(row.definition).ok()?;
        def.takes_tries().then_some(Allowed { def, enabled: row.enabled })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

async fn list(State(app): State<App>, ops: Operators) -> Result<Json<Value>, ApiError> {
    ops.only(&[])?;
    let found = allowed(&mut *connection(&app).await?).await?;
    let one = |a: Allowed| json!({ "name": a.def.name, "enabled": a.enabled, "builders": a.def.builder_names, "codebases": a.def.codebases });
    Ok(Json(json!({ "schedulers": found.into_iter().map(one).collect::<Vec<_>>() })))
}

async fn submit(State(app): State<App>, who: Who, request: Request) -> Result<Response, ApiError> {
    let key = control::idempotency_key(request.headers())?;
    let most = PATCH_MAX.div_ceil(3) * 4 + BESIDE;
    let bytes = body_within(request, most, &beyond("the request")).await?;
    let wish: Try = serde_json::from_slice(&bytes)
        .map_err(|e| ApiError::bad_request(format!("the body is not the JSON that is wanted here: {e}")))?;
    let mut c = connection(&app).await?;
    let known = allowed(&mut c).await?;
    let scheduler = choose(&known, &wish)?;
    let sources = control::source_stamps(&mut c).await?;
    drop(c);
    let patch = patch(&wish, &who)?;
    let new = compose(scheduler, &wish, &who, sources)?;
    let codebase = codebase(scheduler, &wish)?;
    let (made, repeated) = run_tx!(app.people, "try.submit", |c| {
        let mut new = new.clone();
        if let Some(key) = &key
            && let Some(first) = try_find(c, &who.name, key).await?
        {
            return Ok((Made { buildset: first, lanes: vec![] }, true));
        }
        if let Some(patch) = &patch {
            let stored = patch_intern(c, patch).await?;
            new.sourcestamps.iter_mut().filter(|s| s.codebase == codebase).for_each(|s| s.patch = Some(stored.clone()));
        }
        let made = buildset_insert(c, &new).await?;
        try_insert(c, made.buildset, &new.scheduler, &who.name, key.as_deref()).await?;
        Ok::<_, Error>((Made { buildset: made.buildset, lanes: made.lanes }, false))
    })?;
    if !repeated {
        app.wakes.send(Wake::Work(made.lanes));
        app.wakes.send(Wake::Events);
    }
    let requests = requests_of(&mut *connection(&app).await?, made.buildset).await?;
    let ids: Vec<i64> = requests.iter().map(|(id, _)| *id).collect();
    let builders: Vec<Value> =
        requests.iter().map(|(id, name)| json!({ "buildername": name, "buildrequestid": id })).collect();
    let body = json!({
        "buildsetid": made.buildset.0, "buildrequestids": ids, "scheduler": scheduler.name, "requests": builders,
    });
    let status = if repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(body)).into_response())
}

struct Made {
    buildset: BuildsetId,
    lanes: Vec<i64>,
}

fn beyond(what: &str) -> String {
    format!(
        "{what} is too large: a patch may have at most {} MiB; commit to a branch, push it and force a build of that",
        PATCH_MAX >> 20
    )
}

/// The scheduler that takes it. An error names what is allowed.
fn choose<'a>(known: &'a [Allowed], wish: &Try) -> Result<&'a SchedulerDef, ApiError> {
    if known.is_empty() {
        return Err(ApiError::not_found(
            "the project has no Try scheduler: add schedulers.Try_Userpass(name = \"try\", builderNames = [\"…\"])",
        ));
    }
    let names = |all: &[Allowed]| all.iter().map(|a| a.def.name.clone()).collect::<Vec<_>>().join(", ");
    let candidates: Vec<&Allowed> = match &wish.scheduler {
        None => known.iter().collect(),
        Some(name) => match known.iter().find(|a| a.def.name == *name) {
            Some(found) => vec![found],
            None => {
                let detail = format!("there is no Try scheduler `{}`; there are: {}", shown(name), names(known));
                return Err(ApiError::field("scheduler", detail));
            }
        },
    };
    let takes = |a: &&Allowed| wish.builders.iter().all(|b| a.def.builder_names.contains(b));
    let fitting: Vec<&Allowed> = candidates.iter().copied().filter(takes).collect();
    let enabled: Vec<&Allowed> = fitting.iter().copied().filter(|a| a.enabled).collect();
    match (enabled.as_slice(), fitting.as_slice()) {
        ([one], _) => Ok(&one.def),
        ([first, ..], _) if !wish.builders.is_empty() => Ok(&first.def),
        ([_, ..], _) => {
            let detail = format!("say which scheduler, or which builders; there are: {}", names(known));
            Err(ApiError::field("scheduler", detail))
        }
        ([], [one, ..]) => Err(ApiError::field("scheduler", format!("the scheduler `{}` is disabled", one.def.name))),
        ([], []) => {
            let refused = |b: &&String| !candidates.iter().any(|a| a.def.builder_names.contains(b));
            let allowed: Vec<String> = candidates
                .iter()
                .map(|a| format!("scheduler `{}` allows: {}", a.def.name, a.def.builder_names.join(", ")))
                .collect();
            let allowed = allowed.join("; ");
            let wrong: Vec<FieldError> = wish
                .builders
                .iter()
                .filter(refused)
                .map(|b| FieldError {
                    field: "builders".into(),
                    detail: format!("`{}` may not be tried; {allowed}", shown(b)),
                })
                .collect();
            if wrong.is_empty() {
                return Err(ApiError::field("builders", format!("no one scheduler allows all of them; {allowed}")));
            }
            Err(ApiError::fields(wrong))
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

fn patch(wish: &Try, who: &Who) -> Result<Option<NewPatch>, ApiError> {
    let Some(given) = &wish.patch else { return Ok(None) };
    let body = BASE64_STANDARD
        .decode(given.body.as_bytes())
        .map_err(|e| ApiError::field("patch", format!("`body` is not base64: {e}")))?;
    if body.len() > PATCH_MAX {
        return Err(too_large(&beyond(&format!("the patch of {} bytes", body.len()))));
    }
    let empty = body.iter().all(u8::is_ascii_whitespace);
    let author = match wish.who.trim() {
        "" => who.name.clone(),
        said => said.to_owned(),
    };
    let (level, subdir) = (given.level, given.subdir.clone());
    let patch = NewPatch { body, level, subdir, author, comment: wish.comment.clone() };
    match patch.fault() {
        Some(fault) => Err(ApiError::field("patch", fault)),
        None => Ok(Some(patch).filter(|_| !empty)),
    }
}

/// The codebase that the patch is of.
fn codebase(def: &SchedulerDef, wish: &Try) -> Result<String, ApiError> {
    match (&wish.codebase, def.codebases.as_slice()) {
        (None, []) => Ok(String::new()),
        (None, [one]) => Ok(one.clone()),
        (Some(named), []) if named.is_empty() => Ok(String::new()),
        (Some(named), all) if all.contains(named) => Ok(named.clone()),
        (_, []) => {
            Err(ApiError::field("codebase", format!("the scheduler `{}` has only the one without a name", def.name)))
        }
        (_, all) => Err(ApiError::field("codebase", format!("say which one: {}", all.join(", ")))),
    }
}

/// The buildset without its patch.
fn compose(def: &SchedulerDef, wish: &Try, who: &Who, sources: Vec<SourceStamp>) -> Result<NewBuildset, ApiError> {
    let tried = codebase(def, wish)?;
    let unnamed = [String::new()];
    let names = if def.codebases.is_empty() { &unnamed[..] } else { &def.codebases };
    let stamp = |name: &String| {
        let given = def.codebase_defaults.get(name).cloned().unwrap_or_default();
        let mut of_name = sources.iter().filter(|s| s.codebase == *name);
        // Several sources of one codebase do not say which repository.
        let source = of_name.next().filter(|_| of_name.next().is_none()).cloned().unwrap_or_default();
        let or_source = |given: String| if given.is_empty() { source.repository.clone() } else { given };
        let mut stamp = SourceStamp {
            codebase: name.clone(),
            repository: or_source(given.repository),
            project: source.project.clone(),
            branch: given.branch.or(source.branch),
            revision: given.revision,
            ..SourceStamp::default()
        };
        if *name == tried {
            stamp.repository = wish.repository.clone().unwrap_or(stamp.repository);
            stamp.project = wish.project.clone().unwrap_or(stamp.project);
            stamp.branch = wish.branch.clone().or(stamp.branch);
            stamp.revision = wish.revision.clone().or(stamp.revision);
        }
        stamp
    };
    let mut properties = Properties::new();
    for (name, value) in &wish.properties {
        if name.is_empty() {
            return Err(ApiError::field("properties", "a property has a name"));
        }
        properties.set(name, value.clone(), SOURCE);
    }
    // As in Buildbot: what the project says of tries is not for those who try to change.
    def.properties.iter().for_each(|(k, v)| properties.set(k, v.clone(), "Scheduler"));
    properties.set("scheduler", def.name.clone(), "Scheduler");
    properties.set("owner", who.name.as_str(), SOURCE);
    properties.check().map_err(|e| ApiError::field("properties", e.to_string()))?;
    let mut reason = format!("'try' job by user {}", who.name);
    if !wish.comment.trim().is_empty() {
        reason.push_str(&format!(" ({})", wish.comment.lines().next().unwrap_or_default().trim()));
    }
    let mut builders = wish.builders.clone();
    if builders.is_empty() {
        builders.clone_from(&def.builder_names);
    }
    let mut named = std::collections::BTreeSet::new();
    builders.retain(|b| named.insert(b.clone()));
    if builders.is_empty() {
        return Err(ApiError::field("builders", format!("the scheduler `{}` has no builders", def.name)));
    }
    Ok(NewBuildset {
        reason,
        scheduler: def.name.clone(),
        sourcestamps: names.iter().map(stamp).collect(),
        properties,
        builders,
        priority: def.priority.unwrap_or_default(),
        ..NewBuildset::default()
    })
}
