//! `forceschedulers`: forms that people set builds off with.

use super::answer::{Answer, json};
use super::ask::{At, Body, Operators, connection};
use super::builders::found;
use super::controls::submitted;
use super::{control, describe, forced};
use crate::app::App;
use crate::http::ApiError;
use crate::http::access::Who;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value};
use tidemill_schema::read::builders;
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    const JSON: &str = "application/json";
    const FIELDS: &[(&str, &str)] = &[
        ("builderNames", "Which of the scheduler's builders; all if not given."),
        ("reason", "For people."),
        ("priority", "A whole number; higher goes first."),
        ("…", "Every other field of the form by its full name."),
    ];
    OpenApiRouter::default()
        .routes(describe::other("/forceschedulers", "All ForceSchedulers and their fields", JSON, &[], get(all)))
        .routes(describe::other("/forceschedulers/{name}", "One of them", JSON, &[], get(one)))
        .routes(describe::other(
            "/builders/{builder}/forceschedulers",
            "Those that set off a builder",
            JSON,
            &[],
            get(of_builder),
        ))
        .routes(describe::control(
            "/forceschedulers/{name}/force",
            "201",
            "Build what the filled form asks for; Idempotency-Key makes it once",
            FIELDS,
            post(force),
        ))
}

fn answer(found: &[forced::Form]) -> Answer {
    let rows: Vec<Value> = found.iter().map(forced::Form::describe).collect();
    let total = rows.len();
    Ok(json(serde_json::json!({ "forceschedulers": rows, "meta": { "total": total } }).to_string()))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    ops.only(&[])?;
    answer(&forced::forms(&mut *connection(&app).await?, None).await?)
}

async fn one(State(app): State<App>, At(name): At<String>, ops: Operators) -> Answer {
    ops.only(&[])?;
    answer(&[forced::form(&mut *connection(&app).await?, &name).await?])
}

async fn of_builder(State(app): State<App>, At(builder): At<String>, ops: Operators) -> Answer {
    ops.only(&[])?;
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    let name = builders::name(&mut c, id).await?.unwrap_or_default();
    answer(&forced::forms(&mut c, Some(&name)).await?)
}

async fn force(
    State(app): State<App>,
    who: Who,
    headers: HeaderMap,
    At(name): At<String>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let key = control::idempotency_key(&headers)?;
    let form = forced::form(&mut *connection(&app).await?, &name).await?;
    Ok(submitted(&forced::force(&app, &form, forced::values(body), &who, key).await?))
}
