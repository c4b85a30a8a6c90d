//! `/api/v2/config`: the project's configuration, applied as a revision.

use super::ApiError;
use super::access::Who;
use crate::app::App;
use crate::projects::{evaluate_apart, wanted};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tidemill_lang::{Diagnostic, Severity};
use tidemill_model::problem::FieldError;
use tidemill_model::revision::{Files, ROOT_FILE};
use tidemill_schema::config::{revision_activate, revision_active, revision_insert};
use tidemill_schema::run_tx;
use tidemill_schema::wake::Wake;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    files: Files,
    #[serde(default = "yes")]
    activate: bool,
    #[serde(default)]
    comment: String,
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
/// makes them the active revision in one transaction. With an error in them
/// nothing changes, and the answer lists all of them.
pub async fn apply(State(app): State<App>, who: Who, Json(apply): Json<Apply>) -> Result<Json<Applied>, ApiError> {
    if !apply.files.0.contains_key(ROOT_FILE) {
        return Err(ApiError::field("files", format!("there is no `{ROOT_FILE}` among the files")));
    }
    let evaluated = evaluate_apart(&apply.files).await.map_err(|e| {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "config-invalid", "The project file was not accepted", e)
    })?;
    let Some(definition) = evaluated.definition else {
        return Err(ApiError::unprocessable(
            "config-invalid",
            "The project file has errors; the last good one stays",
            evaluated.diagnostics.iter().filter(|d| d.severity == Severity::Error).map(field_error).collect(),
        ));
    };
    let wanted = wanted(&definition);
    let json = serde_json::to_value(&definition).map_err(ApiError::internal)?;
    let level = definition.vocabulary as i32;
    let (id, changed) = run_tx!(app.db, "config.apply", |c| {
        let id = revision_insert(c, &apply.files, &json, level, &apply.comment, &who.name).await?;
        let activated = if apply.activate { revision_activate(c, id, &wanted).await } else { Ok(false) };
        activated.map(|changed| (id, changed))
    })?;
    if changed {
        tracing::info!(revision = id.0, by = %who.name, "project configuration activated");
        app.wakes.send(Wake::Config);
        app.wakes.send(Wake::Events);
    }
    Ok(Json(Applied { revision: id.0, hash: apply.files.hash(), changed, warnings: evaluated.diagnostics }))
}

fn field_error(d: &Diagnostic) -> FieldError {
    FieldError { field: format!("{}:{}:{}", d.file, d.line, d.column), detail: d.to_string() }
}

#[derive(Serialize)]
pub struct Active {
    revision: i64,
    hash: String,
    files: Files,
}

/// `GET /api/v2/config`: the active revision.
pub async fn active(State(app): State<App>) -> Result<Json<Active>, ApiError> {
    let mut c = app.people.pool().acquire().await?;
    let r = revision_active(&mut c)
        .await?
        .ok_or_else(|| ApiError::not_found("no project configuration is active: run `tidemill reconfig`"))?;
    Ok(Json(Active { revision: r.id.0, hash: r.hash, files: r.files }))
}
