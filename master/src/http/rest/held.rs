//! `heldchanges`: what outsiders announced and waits for an approval (A14).
//! An approval names the revision that was looked at, and is for no other.

use super::answer::{self, Answer};
use super::ask::{At, Body, Operators};
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tidemill_model::ChangeId;
use tidemill_schema::hooks::{held_approve, held_refuse};
use tidemill_schema::read::held::{self, HELD_CHANGES};
use tidemill_schema::run_tx;
use tidemill_schema::wake::Wake;
use utoipa_axum::router::OpenApiRouter;

const REVISION: &[(&str, &str)] = &[("revision", "The revision that was looked at; needed.")];

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list(
            "/heldchanges",
            &HELD_CHANGES,
            "Changes that wait for an approval, and what became of them",
            get(all),
        ))
        .routes(describe::one("/heldchanges/{heldchangeid}", &HELD_CHANGES, "One of them", get(one)))
        .routes(describe::control(
            "/heldchanges/{heldchangeid}/approve",
            "200",
            "Let this revision be built, without secrets",
            REVISION,
            post(approve),
        ))
        .routes(describe::control(
            "/heldchanges/{heldchangeid}/refuse",
            "200",
            "It is not to be built",
            &[],
            post(refuse),
        ))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &HELD_CHANGES, &ops).await
}

async fn one(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &HELD_CHANGES, held::by_id(id), &ops, "held change").await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Approval {
    revision: String,
}

async fn approve(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    Body(approval): Body<Approval>,
) -> Result<Response, ApiError> {
    let change = approved(&app, id, &approval.revision, &who.name).await?;
    Ok(Json(json!({ "heldchangeid": id, "changeid": change.0 })).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Nothing {}

async fn refuse(
    State(app): State<App>,
    who: Who,
    At(id): At<i64>,
    Body(Nothing {}): Body<Nothing>,
) -> Result<Response, ApiError> {
    refused(&app, id, &who.name).await?;
    Ok(Json(json!({ "heldchangeid": id, "refused": true })).into_response())
}

/// Approves what somebody looked at; the change is there for schedulers when this returns.
pub async fn approved(app: &App, id: i64, revision: &str, by: &str) -> Result<ChangeId, ApiError> {
    if revision.is_empty() {
        return Err(ApiError::field("revision", "say which revision is approved: the one that you looked at"));
    }
    let change = run_tx!(app.people, "held.approve", |c| held_approve(c, id, revision, by).await)?;
    app.wakes.send(Wake::Changes);
    app.wakes.send(Wake::Events);
    Ok(change)
}

pub async fn refused(app: &App, id: i64, by: &str) -> Result<(), ApiError> {
    run_tx!(app.people, "held.refuse", |c| held_refuse(c, id, by).await)?;
    app.wakes.send(Wake::Events);
    Ok(())
}
