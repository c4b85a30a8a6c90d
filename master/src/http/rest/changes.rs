//! `changes` and `changesources`.

use super::answer::{self, Answer};
use super::ask::{At, Body, Operators, connection};
use super::{control, describe};
use crate::app::App;
use crate::http::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::changes::{self, CHANGE_SOURCES, CHANGES};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/changes", &CHANGES, "All changes", get(all)))
        .routes(describe::one("/changes/{changeid}", &CHANGES, "One change", get(by_id)))
        .routes(describe::list("/changes/{changeid}/builds", &BUILDS, "The builds that it led to", get(builds_of)))
        .routes(describe::list("/changesources", &CHANGE_SOURCES, "Pollers", get(sources)))
        .routes(describe::one("/changesources/{changesourceid}", &CHANGE_SOURCES, "One poller", get(source)))
        .routes(describe::control(
            "/changesources/{changesourceid}/poll",
            "202",
            "Poll now, or after the poll that runs; by id or by name",
            &[],
            post(poll),
        ))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &CHANGES, &ops).await
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &CHANGES, changes::by_id(id), &ops, "change").await
}

async fn builds_of(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&CHANGES, changes::by_id(id), "change"), &BUILDS, &[builds::of_change(id)], &ops).await
}

async fn sources(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &CHANGE_SOURCES, &ops).await
}

async fn poll(State(app): State<App>, At(source): At<String>, Body(_): Body<Value>) -> Result<Response, ApiError> {
    let names = control::poll(&app, &source).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "polling": names }))).into_response())
}

async fn source(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &CHANGE_SOURCES, changes::source_by_id(id), &ops, "change source").await
}
