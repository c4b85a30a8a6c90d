//! `/api/v2/config`: the project's configuration, applied as a revision, and
//! going back to an older one.
//!
//! Whatever is to become active is first evaluated as a whole in a child process
//! under limits, by this release: also a revision that was good before. With an
//! error in it nothing changes, and the answer lists all errors.

use super::ApiError;
use super::access::Who;
use super::rest::ask::{At, Operators};
use crate::app::App;
use crate::projects::{evaluate_apart, wanted};
use axum::Json;
use axum::body::to_bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_lang::{Definition, Diagnostic, Severity};
use tidemill_model::RevisionId;
use tidemill_model::problem::FieldError;
use tidemill_model::revision::{Files, ROOT_FILE};
use tidemill_schema::config::{
    By, revision_activate_by, revision_active, revision_by_id, revision_definition, revision_insert,
};
use tidemill_schema::run_tx;
use tidemill_schema::wake::Wake;

/// Most bytes of a project's files, as JSON.
const FILES_MAX: usize = 8 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    files: Files,
    #[serde(default = "yes")]
    activate: bool,
    #[serde(default)]
    comment: String,
}

/// Files with their bound: larger than other bodies, and never without end.
impl<S: Send + Sync> FromRequest<S> for Apply {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let too_large = || {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload-too-large",
                "Too large",
                format!("the files of a project may have at most {} MiB together", FILES_MAX >> 20),
            )
        };
        let announced =
            request.headers().get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()).and_then(|l| l.parse().ok());
        if announced.is_some_and(|len: usize| len > FILES_MAX) {
            return Err(too_large());
        }
        let bytes = to_bytes(request.into_body(), FILES_MAX).await.map_err(|e| {
            if e.to_string().contains("length limit") {
                too_large()
            } else {
                ApiError::bad_request("the body broke off")
            }
        })?;
        serde_json::from_slice(&bytes)
            .map_err(|e| ApiError::bad_request(format!("the body is not the JSON that is wanted here: {e}")))
    }
}

fn yes() -> bool {
    true
}

#[derive(Serialize)]
pub struct Applied {
    revision: i64,
    hash: String,
    /// Whether another revision was active before.
    changed: bool,
    warnings: Vec<Diagnostic>,
}

/// `POST /api/v2/config`: evaluates the files as a whole, stores them, and
/// makes them the active revision in one transaction.
pub async fn apply(State(app): State<App>, who: Who, apply: Apply) -> Result<Json<Applied>, ApiError> {
    if !apply.files.0.contains_key(ROOT_FILE) {
        return Err(ApiError::field("files", format!("there is no `{ROOT_FILE}` among the files")));
    }
    let good = evaluate(&apply.files, "The project file has errors; the last good one stays").await?;
    store(&app, &who, &apply.files, good, apply.activate, &apply.comment).await.map(Json)
}

/// What may be said with an activation.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Activate {
    comment: String,
}

/// `POST /api/v2/config/revisions/{revision}/activate`: makes a stored revision
/// the active one, most often an older one. One that this release no longer
/// takes is refused with its diagnostics, and the active one stays.
pub async fn activate(app: &App, who: &Who, id: i64, said: Activate) -> Result<Json<Applied>, ApiError> {
    let revision = {
        let mut c = app.people.pool().acquire().await?;
        revision_by_id(&mut c, RevisionId(id)).await?.ok_or_else(|| no_revision(id))?
    };
    let good = evaluate(&revision.files, "This release does not take the revision; the active one stays").await?;
    store(app, who, &revision.files, good, true, &said.comment).await.map(Json)
}

/// Files that are good, and what they define.
struct Good {
    definition: Definition,
    warnings: Vec<Diagnostic>,
}

async fn evaluate(files: &Files, title: &str) -> Result<Good, ApiError> {
    let evaluated = evaluate_apart(files)
        .await
        .map_err(|e| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "config-invalid", title, e))?;
    match evaluated.definition {
        Some(definition) => Ok(Good { definition, warnings: evaluated.diagnostics }),
        None => Err(ApiError::unprocessable(
            "config-invalid",
            title,
            evaluated.diagnostics.iter().filter(|d| d.severity == Severity::Error).map(field_error).collect(),
        )),
    }
}

async fn store(
    app: &App,
    who: &Who,
    files: &Files,
    good: Good,
    activate: bool,
    comment: &str,
) -> Result<Applied, ApiError> {
    let wanted = wanted(&good.definition);
    let json = serde_json::to_value(&good.definition).map_err(ApiError::internal)?;
    let level = good.definition.vocabulary as i32;
    let by = By { name: &who.name, comment };
    let (id, changed) = run_tx!(app.db, "config.apply", |c| {
        let id = revision_insert(c, files, &json, level, comment, &who.name).await?;
        let activated = if activate { revision_activate_by(c, id, &wanted, by).await } else { Ok(false) };
        activated.map(|changed| (id, changed))
    })?;
    if changed {
        tracing::info!(revision = id.0, by = %who.name, "project configuration activated");
        app.wakes.send(Wake::Config);
        app.wakes.send(Wake::Events);
    }
    Ok(Applied { revision: id.0, hash: files.hash(), changed, warnings: good.warnings })
}

fn field_error(d: &Diagnostic) -> FieldError {
    FieldError { field: format!("{}:{}:{}", d.file, d.line, d.column), detail: d.to_string() }
}

fn no_revision(id: i64) -> ApiError {
    ApiError::not_found(format!("there is no config revision {id}: `tidemill config list` shows them"))
}

#[derive(Serialize)]
pub struct Active {
    revision: i64,
    hash: String,
    /// Whether the replica that answers has it evaluated, ready for its policies.
    ready: bool,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    files: Files,
}

/// `GET /api/v2/config`: the active revision.
pub async fn active(State(app): State<App>, ops: Operators) -> Result<Json<Active>, ApiError> {
    ops.only(&[])?;
    let mut c = app.people.pool().acquire().await?;
    let r = revision_active(&mut c)
        .await?
        .ok_or_else(|| ApiError::not_found("no project configuration is active: run `tidemill reconfig`"))?;
    let (ready, error) = (app.projects.known(r.id.0).is_some(), app.projects.refused(r.id.0));
    Ok(Json(Active { revision: r.id.0, hash: r.hash, ready, error, files: r.files }))
}

#[derive(Serialize)]
pub struct Content {
    revision: i64,
    hash: String,
    files: Files,
    /// What evaluation gave when it was applied last.
    definition: Value,
}

/// `GET /api/v2/config/revisions/{revision}/content`: its files.
pub async fn content(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Result<Json<Content>, ApiError> {
    ops.only(&[])?;
    let mut c = app.people.pool().acquire().await?;
    let r = revision_by_id(&mut c, RevisionId(id)).await?.ok_or_else(|| no_revision(id))?;
    let definition = revision_definition(&mut c, r.id).await?.unwrap_or_default();
    Ok(Json(Content { revision: id, hash: r.hash, files: r.files, definition }))
}
