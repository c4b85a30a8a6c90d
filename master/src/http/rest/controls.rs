//! The POST side of the API. Each answer follows the commit.

use super::ask::{At, Body, connection};
use super::builders::found;
use super::control::{self, Cancelled, Force, Rebuild};
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
use serde_json::json;
use tidemill_model::NewChange;
use tidemill_schema::read::builders::{self, Builder};
use tidemill_schema::request_control::{Selection, builders_named};
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
const REBUILD: &[(&str, &str)] = &[("latest", "True: the newest of the same branches instead of the same revisions.")];
const SELECTION: &[(&str, &str)] = &[
    ("builders", "Names of builders."),
    ("branch", "Of any of their codebases."),
    ("scheduler", "Name of the scheduler that made them."),
    ("buildsets", "Ids of buildsets."),
    ("buildrequests", "Ids of requests."),
    ("all", "True: without any of these, every open request."),
    ("pending_only", "True: builds that run go on."),
    ("reason", "For people."),
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
        .routes(describe::control(
            "/builders/{builder}/force",
            "201",
            "Build it now; Idempotency-Key makes it once",
            FORCE,
            post(force),
        ))
        .routes(describe::control("/builders/{builder}/pause", "200", "Claim none of its requests", &[], post(pause)))
        .routes(describe::control("/builders/{builder}/unpause", "200", "Let it go on", &[], post(unpause)))
        .routes(describe::control("/builds/{buildid}/stop", "202", "Stop a build", REASON, post(stop)))
        .routes(describe::control("/builds/{buildid}/rebuild", "201", "The same again", REBUILD, post(rebuild)))
        .routes(describe::control(
            "/buildrequests/cancel",
            "200",
            "Cancel all that wait and fit, and stop their builds; repeat while `more`",
            SELECTION,
            post(cancel_all),
        ))
        .routes(describe::control(
            "/buildrequests/{buildrequestid}/priority",
            "200",
            "Change the priority of a request that waits",
            &[("priority", "A whole number; higher goes first.")],
            post(priority),
        ))
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
    let key = control::idempotency_key(&headers)?;
    let id = control::change(&app, &new, key.as_deref()).await?;
    Ok((StatusCode::CREATED, Json(json!({ "changeid": id.0 }))).into_response())
}

async fn force(
    State(app): State<App>,
    who: Who,
    headers: HeaderMap,
    At(builder): At<String>,
    Body(wish): Body<Force>,
) -> Result<Response, ApiError> {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    let builder: Builder = builders::one(&mut c, &[builders::by_id(id)])
        .await?
        .ok_or_else(|| ApiError::not_found("the builder is gone"))?;
    drop(c);
    let made = control::force(&app, id, &builder.name, wish, &who.name, control::idempotency_key(&headers)?).await?;
    Ok(submitted(&made))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Again {
    latest: bool,
}

async fn rebuild(State(app): State<App>, At(build): At<i64>, Body(again): Body<Again>) -> Result<Response, ApiError> {
    let which = if again.latest { Rebuild::Latest } else { Rebuild::Same };
    Ok(submitted(&control::rebuild(&app, build, which).await?))
}

async fn pause(State(app): State<App>, who: Who, At(builder): At<String>) -> Result<Response, ApiError> {
    paused(&app, &who, &builder, true).await
}

async fn unpause(State(app): State<App>, who: Who, At(builder): At<String>) -> Result<Response, ApiError> {
    paused(&app, &who, &builder, false).await
}

async fn paused(app: &App, who: &Who, builder: &str, paused: bool) -> Result<Response, ApiError> {
    let mut c = connection(app).await?;
    let id = found(&mut c, builder).await?;
    drop(c);
    control::pause(app, id, paused, &who.name).await?;
    Ok(Json(json!({ "builderid": id, "paused": paused })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Priority {
    priority: i32,
}

async fn priority(
    State(app): State<App>,
    At(request): At<i64>,
    Body(wish): Body<Priority>,
) -> Result<Response, ApiError> {
    control::prioritize(&app, request, wish.priority).await?;
    Ok(Json(json!({ "buildrequestid": request, "priority": wish.priority })).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Selected {
    builders: Vec<String>,
    branch: Option<String>,
    scheduler: Option<String>,
    buildsets: Vec<i64>,
    buildrequests: Vec<i64>,
    all: bool,
    pending_only: bool,
    reason: String,
}

async fn cancel_all(State(app): State<App>, who: Who, Body(asked): Body<Selected>) -> Result<Response, ApiError> {
    let mut c = connection(&app).await?;
    let selection = Selection {
        requests: asked.buildrequests,
        builders: builders_named(&mut c, &asked.builders).await?,
        buildsets: asked.buildsets,
        branch: asked.branch,
        scheduler: asked.scheduler,
        all: asked.all,
    };
    drop(c);
    if selection.is_empty() {
        let detail = "say which: builders, branch, scheduler, buildsets, buildrequests, or all";
        return Err(ApiError::field("all", detail));
    }
    let reason = Reason { reason: asked.reason }.by(&who);
    let done = control::cancel_all(&app, &selection, asked.pending_only, &reason).await?;
    let body = json!({ "cancelled": done.requests, "stopping": done.builds.len(), "more": done.more });
    Ok(Json(body).into_response())
}

pub(super) fn submitted(made: &Submitted) -> Response {
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
