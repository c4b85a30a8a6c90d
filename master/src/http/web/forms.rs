//! Forms on pages. The guard before all routes has checked their token; here
//! the fields become a call, and the answer leads to a page (303), so that
//! loading it again repeats nothing.

use super::builder::unknown;
use super::show::builder_path;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use crate::http::rest::ask::{At, body};
use crate::http::rest::control::{self, Cancelled, Force, Rebuild};
use crate::http::rest::held;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;
use std::collections::HashMap;
use tidemill_model::problem::FieldError;
use tidemill_schema::read::builders;
use tidemill_schema::request_control::Selection;
use tidemill_schema::requests::Submitted;

/// Fields of a form; empty ones are as if not given.
struct Fields(HashMap<String, String>);

impl Fields {
    async fn of(request: Request) -> Result<Fields, ApiError> {
        let bytes = body(request).await?;
        let fields = url::form_urlencoded::parse(&bytes).into_owned();
        Ok(Fields(fields.map(|(k, v)| (k, v.trim().to_owned())).filter(|(_, v)| !v.is_empty()).collect()))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn reason(&mut self, who: &Who) -> String {
        self.take("reason").unwrap_or_else(|| format!("asked by {} on the page", who.name))
    }
}

pub async fn force(
    State(app): State<App>,
    who: Who,
    At(name): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let mut fields = Fields::of(request).await?;
    let mut c = app.people.pool().acquire().await?;
    let id = builders::by_name(&mut c, &name).await?.ok_or_else(|| unknown(&name))?;
    drop(c);
    let mut force = Force {
        branch: fields.take("branch"),
        revision: fields.take("revision"),
        repository: fields.take("repository"),
        codebase: fields.take("codebase"),
        project: fields.take("project"),
        reason: fields.take("reason").unwrap_or_default(),
        ..Force::default()
    };
    // All that is wrong at once (D-53).
    let mut wrong = Vec::new();
    if let Some(priority) = fields.take("priority") {
        match priority.parse() {
            Ok(priority) => force.priority = priority,
            Err(_) => wrong.push(FieldError { field: "priority".into(), detail: "give a whole number".into() }),
        }
    }
    for line in fields.take("properties").unwrap_or_default().lines().map(str::trim).filter(|l| !l.is_empty()) {
        match line.split_once('=') {
            Some((key, value)) => {
                force.properties.insert(key.trim().to_owned(), Value::String(value.trim().to_owned()));
            }
            None => {
                let line: String = line.chars().take(100).collect();
                let detail = format!("write `name=value` on each line, not `{line}`");
                wrong.push(FieldError { field: "properties".into(), detail });
            }
        }
    }
    if !wrong.is_empty() {
        return Err(ApiError::fields(wrong));
    }
    let made = control::force(&app, id, &name, force, &who.name, None).await?;
    Ok(to_request(&made).unwrap_or_else(|| Redirect::to(&builder_path(&name)).into_response()))
}

pub async fn rebuild(State(app): State<App>, At(build): At<i64>, request: Request) -> Result<Response, ApiError> {
    let which = match Fields::of(request).await?.take("latest") {
        Some(_) => Rebuild::Latest,
        None => Rebuild::Same,
    };
    let made = control::rebuild(&app, build, which).await?;
    Ok(to_request(&made).unwrap_or_else(|| Redirect::to("/").into_response()))
}

pub async fn stop(
    State(app): State<App>,
    who: Who,
    At(build): At<i64>,
    request: Request,
) -> Result<Response, ApiError> {
    let reason = Fields::of(request).await?.reason(&who);
    control::stop(&app, build, &reason).await?;
    Ok(Redirect::to(&format!("/builds/{build}")).into_response())
}

pub async fn cancel(State(app): State<App>, who: Who, At(id): At<i64>, request: Request) -> Result<Response, ApiError> {
    let reason = Fields::of(request).await?.reason(&who);
    let to = match control::cancel(&app, id, &reason).await? {
        Cancelled::Now => format!("/buildrequests/{id}"),
        Cancelled::Stopping(build) => format!("/builds/{build}"),
    };
    Ok(Redirect::to(&to).into_response())
}

pub async fn pause(
    State(app): State<App>,
    who: Who,
    At(name): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let paused = Fields::of(request).await?.take("paused").is_some();
    let mut c = app.people.pool().acquire().await?;
    let id = builders::by_name(&mut c, &name).await?.ok_or_else(|| unknown(&name))?;
    drop(c);
    control::pause(&app, id, paused, &who.name).await?;
    Ok(Redirect::to(&builder_path(&name)).into_response())
}

/// Everything of a builder that waits.
pub async fn cancel_waiting(
    State(app): State<App>,
    who: Who,
    At(name): At<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let reason = Fields::of(request).await?.reason(&who);
    let mut c = app.people.pool().acquire().await?;
    let id = builders::by_name(&mut c, &name).await?.ok_or_else(|| unknown(&name))?;
    drop(c);
    let selection = Selection { builders: vec![id], ..Selection::default() };
    control::cancel_all(&app, &selection, true, &reason).await?;
    Ok(Redirect::to(&builder_path(&name)).into_response())
}

pub async fn priority(State(app): State<App>, At(id): At<i64>, request: Request) -> Result<Response, ApiError> {
    let priority = Fields::of(request).await?.take("priority").and_then(|p| p.parse().ok());
    let priority = priority.ok_or_else(|| ApiError::field("priority", "give a whole number"))?;
    control::prioritize(&app, id, priority).await?;
    Ok(Redirect::to(&format!("/buildrequests/{id}")).into_response())
}

pub async fn approve(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    request: Request,
) -> Result<Response, ApiError> {
    let revision = Fields::of(request).await?.take("revision").unwrap_or_default();
    held::approved(&app, id, &revision, &who.name).await?;
    Ok(Redirect::to("/changes").into_response())
}

pub async fn refuse(State(app): State<App>, who: Who, At(id): At<i64>) -> Result<Response, ApiError> {
    held::refused(&app, id, &who.name).await?;
    Ok(Redirect::to("/changes").into_response())
}

fn to_request(made: &Submitted) -> Option<Response> {
    made.requests.first().map(|r| Redirect::to(&format!("/buildrequests/{}", r.0)).into_response())
}
