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
use std::collections::BTreeMap;
use tidemill_lang::{Definition, Diagnostic, Severity};
use tidemill_model::RevisionId;
use tidemill_model::problem::FieldError;
use tidemill_model::properties::properties_check;
use tidemill_model::revision::{Files, ROOT_FILE};
use tidemill_schema::config::{
    By, activation, revision_activate_by, revision_active, revision_by_id, revision_definition, revision_insert,
    revision_redefine,
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
        Some(definition) => match oversized(&definition) {
            errors if errors.is_empty() => Ok(Good { definition, warnings: evaluated.diagnostics }),
            errors => Err(ApiError::unprocessable("config-invalid", title, errors)),
        },
        None => Err(ApiError::unprocessable(
            "config-invalid",
            title,
            evaluated.diagnostics.iter().filter(|d| d.severity == Severity::Error).map(field_error).collect(),
        )),
    }
}

/// Properties that are too large or nested too deep to travel with a build.
fn oversized(definition: &Definition) -> Vec<FieldError> {
    let check = |of: &str, sets: &[&BTreeMap<String, Value>]| {
        let all = sets.iter().flat_map(|set| set.iter().map(|(name, value)| (name.as_str(), value)));
        let error = properties_check(all).err()?;
        Some(FieldError { field: of.to_owned(), detail: error.to_string() })
    };
    let builders = definition.builders.iter().filter_map(|b| {
        let sets = [&definition.properties, &b.properties, &b.default_properties];
        check(&format!("builder `{}`", b.name), &sets)
    });
    let schedulers =
        definition.schedulers.iter().filter_map(|s| check(&format!("scheduler `{}`", s.name), &[&s.properties]));
    builders.chain(schedulers).collect()
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
        let activated = match activate {
            true => {
                revision_redefine(c, id, &json, level).await?;
                revision_activate_by(c, id, &wanted, by).await
            }
            false => Ok(false),
        };
        activated.map(|changed| (id, changed))
    })?;
    if activate {
        // Also of the same revision: this release may see more in it than the one before.
        app.wakes.send(Wake::Config);
    }
    if changed {
        tracing::info!(revision = id.0, by = %who.name, "project configuration activated");
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
    activated_at: Option<i64>,
    activated_by: Option<String>,
    /// For those who may change it only, as the reason of `error`: project files
    /// may hold what not everybody is to read, such as passwords in addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Files>,
}

/// `GET /api/v2/config`: the active revision.
pub async fn active(State(app): State<App>, who: Who, ops: Operators) -> Result<Json<Active>, ApiError> {
    ops.only(&[])?;
    let mut c = app.people.pool().acquire().await?;
    let r = revision_active(&mut c)
        .await?
        .ok_or_else(|| ApiError::not_found("no project configuration is active: run `tidemill reconfig`"))?;
    let by = activation(&mut c, r.id).await?;
    let (activated_at, activated_by) = by.map(|a| (a.at.unix_timestamp(), a.by)).unzip();
    let ready = app.projects.known(r.id.0, &r.hash).is_some();
    let error = app.projects.refused(r.id.0, &r.hash).map(|said| match who.has_token {
        true => said,
        false => "this replica cannot evaluate it; whoever asks with a token is told why".to_owned(),
    });
    let files = who.has_token.then_some(r.files);
    Ok(Json(Active { revision: r.id.0, hash: r.hash, ready, error, activated_at, activated_by, files }))
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
/// With a token only, see [`Active::files`].
pub async fn content(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    ops: Operators,
) -> Result<Json<Content>, ApiError> {
    ops.only(&[])?;
    if !who.has_token {
        return Err(ApiError::unauthorized(
            "the files of a project may hold secrets, so reading them needs a token: send `Authorization: Bearer …`; \
             `tidemill user add NAME` beside the database makes one",
        ));
    }
    let mut c = app.people.pool().acquire().await?;
    let r = revision_by_id(&mut c, RevisionId(id)).await?.ok_or_else(|| no_revision(id))?;
    let definition = revision_definition(&mut c, r.id).await?.unwrap_or_default();
    Ok(Json(Content { revision: id, hash: r.hash, files: r.files, definition }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_no_build_can_carry_are_named_with_their_builder() {
        let deep = (0..70).fold(Value::from(1), |inner, _| Value::Array(vec![inner]));
        let mut definition = Definition::default();
        for name in ["good", "bad"] {
            let mut builder = tidemill_lang::definition::BuilderDef { name: name.into(), ..Default::default() };
            builder.properties.insert("deep".into(), if name == "bad" { deep.clone() } else { Value::from(1) });
            definition.builders.push(builder);
        }
        let errors = oversized(&definition);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].field, "builder `bad`");
        assert!(errors[0].detail.contains("64 deep"), "{}", errors[0].detail);
    }
}
