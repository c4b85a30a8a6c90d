//! `schedulers`: what they are doing, enabling and disabling, «run now».
//!
//! The controls have an address each, and Buildbot's as well: its data API
//! posts `{"method": "enable", "params": {"enabled": false}}` to the scheduler.

use super::answer::{self, Answer};
use super::ask::{At, Body, Operators, connection};
use super::describe;
use super::scheduler_control as control;
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_schema::read::schedulers::{self, SCHEDULERS};
use utoipa_axum::router::OpenApiRouter;

const ENABLE: &[(&str, &str)] = &[("enabled", "true or false; true if not given.")];
const METHOD: &[(&str, &str)] = &[
    ("method", "`enable` or `run`."),
    ("params", "For `enable`: an object with `enabled`, true or false."),
    ("id", "Comes back with the answer."),
    ("jsonrpc", "\"2.0\", or not given."),
];

pub fn router() -> OpenApiRouter<App> {
    const ONE: &str = "/schedulers/{schedulerid}";
    OpenApiRouter::default()
        .routes(describe::list("/schedulers", &SCHEDULERS, "All schedulers", get(all)))
        .routes(describe::one(ONE, &SCHEDULERS, "One scheduler, by id or name", get(one)))
        .routes(describe::control(ONE, "200", "Buildbot's control methods", METHOD, post(method)))
        .routes(describe::control(
            "/schedulers/{schedulerid}/enable",
            "200",
            "Enable or disable; that lasts over restarts and reconfigurations",
            ENABLE,
            post(enable),
        ))
        .routes(describe::control(
            "/schedulers/{schedulerid}/run",
            "202",
            "Run now, with the changes that wait; its times do not move",
            &[],
            post(run),
        ))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &SCHEDULERS, &ops).await
}

async fn found(app: &App, named: &str) -> Result<i64, ApiError> {
    schedulers::resolve(&mut *connection(app).await?, named).await?.ok_or_else(|| unknown(named))
}

pub(crate) fn unknown(named: &str) -> ApiError {
    ApiError::not_found(format!("there is no scheduler `{}`", named.chars().take(200).collect::<String>()))
}

async fn one(State(app): State<App>, At(named): At<String>, ops: Operators) -> Answer {
    // A question that is none is one, whoever it is about.
    ops.query(&SCHEDULERS)?;
    let id = found(&app, &named).await?;
    answer::by_id(&app, &SCHEDULERS, schedulers::by_id(id), &ops, "scheduler").await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Enable {
    enabled: bool,
}

impl Default for Enable {
    fn default() -> Enable {
        Enable { enabled: true }
    }
}

async fn enable(
    State(app): State<App>,
    who: Who,
    At(named): At<String>,
    Body(wish): Body<Enable>,
) -> Result<Response, ApiError> {
    let id = found(&app, &named).await?;
    let changed = control::enable(&app, id, wish.enabled, &who.name).await?;
    Ok(Json(json!({ "schedulerid": id, "enabled": wish.enabled, "changed": changed })).into_response())
}

async fn run(
    State(app): State<App>,
    who: Who,
    At(named): At<String>,
    Body(_): Body<Value>,
) -> Result<Response, ApiError> {
    let id = found(&app, &named).await?;
    control::run(&app, id, &who.name).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "schedulerid": id, "running": true }))).into_response())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Method {
    method: String,
    params: Value,
    id: Value,
}

async fn method(
    State(app): State<App>,
    who: Who,
    At(named): At<String>,
    Body(wish): Body<Method>,
) -> Result<Response, ApiError> {
    let id = found(&app, &named).await?;
    match wish.method.as_str() {
        "enable" => {
            let enabled = wish.params["enabled"].as_bool();
            let enabled = enabled.ok_or_else(|| ApiError::field("params.enabled", "give true or false"))?;
            control::enable(&app, id, enabled, &who.name).await?;
        }
        "run" => control::run(&app, id, &who.name).await?,
        _ => return Err(ApiError::field("method", "a scheduler has the methods `enable` and `run`")),
    }
    Ok(Json(json!({ "jsonrpc": "2.0", "id": wish.id, "result": null })).into_response())
}
