//! The POST side of the API. Each answer follows the commit.

use super::ask::{At, Body, connection};
use super::builders::found;
use super::control::{self, Cancelled, Force};
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_model::NewChange;
use tidemill_schema::read::builders::{self, Builder};
use tidemill_schema::requests::Submitted;
use utoipa_axum::router::OpenApiRouter;

const REASON: &[(&str, &str)] = &[("reason", "For people.")];
const FORCE: &[(&str, &str)] = &[
    ("branch", "Default: as in the builder's newest build, or of its change source."),
    ("revision", "Default: the newest of the branch."),
    ("repository", "Default: as of the branch."),
    ("codebase", "Which one the above are of; empty where there is only one."),
    ("project", "Default: as of the branch."),
    ("properties", "An object of names and values."),
    ("reason", "For people."),
    ("priority", "A whole number; higher goes first; default 0."),
];
const CHANGE: &[(&str, &str)] = &[
    ("author", "Who wrote it."),
    ("committer", "Who committed it."),
    ("comments", "The message."),
    ("files", "A list of paths."),
    ("branch", "Null is the default branch."),
    ("revision", "Of the version control system."),
    ("repository", "Most often a URL."),
    ("project", "Name of the project."),
    ("codebase", "Empty where a project has only one."),
    ("category", "For filters of schedulers."),
    ("revlink", "A page about the revision."),
    ("when", "Seconds since 1970."),
    ("properties", "An object: name: [value, source]."),
    ("parents", "Revisions that its commit was made from."),
];

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::control(
            "/changes",
            "201",
            "Announce a change; Idempotency-Key makes it once",
            CHANGE,
            post(change),
        ))
        .routes(describe::control("/builders/{builder}/force", "201", "Build it now", FORCE, post(force)))
        .routes(describe::control("/builds/{buildid}/stop", "202", "Stop a build", REASON, post(stop)))
        .routes(describe::control("/builds/{buildid}/rebuild", "201", "The same again", &[], post(rebuild)))
        .routes(describe::control(
            "/buildrequests/{buildrequestid}/cancel",
            "200",
            "Cancel a request, or stop its build",
            REASON,
            post(cancel),
        ))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Reason {
    reason: String,
}

impl Reason {
    fn by(&self, who: &Who) -> String {
        if self.reason.trim().is_empty() { format!("asked by {}", who.name) } else { self.reason.clone() }
    }
}

async fn change(State(app): State<App>, headers: HeaderMap, Body(new): Body<NewChange>) -> Result<Response, ApiError> {
    let key = match headers.get("idempotency-key") {
        None => None,
        Some(key) => match key.to_str() {
            Ok(key) if !key.is_empty() && key.len() <= 255 => Some(key),
            _ => return Err(ApiError::field("Idempotency-Key", "give 1 to 255 visible ASCII characters")),
        },
    };
    let id = control::change(&app, &new, key).await?;
    Ok((StatusCode::CREATED, Json(json!({ "changeid": id.0 }))).into_response())
}

async fn force(
    State(app): State<App>,
    who: Who,
    At(builder): At<String>,
    Body(wish): Body<Force>,
) -> Result<Response, ApiError> {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    let builder: Builder = builders::one(&mut c, &[builders::by_id(id)])
        .await?
        .ok_or_else(|| ApiError::not_found("the builder is gone"))?;
    drop(c);
    let made = control::force(&app, id, &builder.name, wish, &who.name).await?;
    Ok(submitted(&made))
}

async fn rebuild(State(app): State<App>, At(build): At<i64>, Body(_): Body<Value>) -> Result<Response, ApiError> {
    Ok(submitted(&control::rebuild(&app, build).await?))
}

fn submitted(made: &Submitted) -> Response {
    let requests: Vec<i64> = made.requests.iter().map(|r| r.0).collect();
    let body = json!({ "buildsetid": made.buildset.0, "buildrequestids": requests });
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn stop(
    State(app): State<App>,
    who: Who,
    At(build): At<i64>,
    Body(reason): Body<Reason>,
) -> Result<Response, ApiError> {
    control::stop(&app, build, &reason.by(&who)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "buildid": build, "stopping": true }))).into_response())
}

async fn cancel(
    State(app): State<App>,
    who: Who,
    At(request): At<i64>,
    Body(reason): Body<Reason>,
) -> Result<Response, ApiError> {
    let body = match control::cancel(&app, request, &reason.by(&who)).await? {
        Cancelled::Now => json!({ "buildrequestid": request, "cancelled": true }),
        Cancelled::Stopping(build) => json!({ "buildrequestid": request, "cancelled": false, "stopping": build }),
    };
    Ok(Json(body).into_response())
}
