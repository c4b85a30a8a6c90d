//! `deliveries`, `destinations`: what was sent to whom, when, with which answer.

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
use tidemill_lang::definition::{ReporterDef, ReporterKind};
use tidemill_schema::notices::people::{self, DELIVERIES, DESTINATIONS, Retried};
use tidemill_schema::run_tx;
use tidemill_schema::wake::Wake;
use utoipa_axum::router::OpenApiRouter;

/// Most deliveries named in one retry.
const RETRY_MAX: usize = 10_000;

const RETRY: &[(&str, &str)] = &[
    ("deliveryids", "Ids of deliveries that were given up or grew too old."),
    ("all", "True instead of ids: all that were given up."),
    ("waiting", "True instead of both: what waits for another try, or for a server that was down, is tried now."),
];
const TEST: &[(&str, &str)] = &[
    (
        "reporter",
        "Name of the reporter in the active configuration, or mail or irc if there is one of that kind; needed.",
    ),
    ("to", "Who is told; the reporter's own address if not given."),
];

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/deliveries", &DELIVERIES, "Notices and what became of them", get(all)))
        .routes(describe::one("/deliveries/{deliveryid}", &DELIVERIES, "One notice", get(one)))
        .routes(describe::list("/destinations", &DESTINATIONS, "Servers that notices go to", get(destinations)))
        .routes(describe::one("/destinations/{destinationid}", &DESTINATIONS, "One of them", get(destination)))
        .routes(describe::control(
            "/deliveries/retry",
            "200",
            "Send again what was given up, by the active configuration",
            RETRY,
            post(retry),
        ))
        .routes(describe::control("/deliveries/test", "201", "Try whether a notice arrives", TEST, post(test)))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &DELIVERIES, &ops).await
}

async fn one(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &DELIVERIES, people::delivery(id), &ops, "delivery").await
}

async fn destinations(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &DESTINATIONS, &ops).await
}

async fn destination(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &DESTINATIONS, people::destination(id), &ops, "destination").await
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Retry {
    deliveryids: Vec<i64>,
    all: bool,
    waiting: bool,
}

async fn retry(State(app): State<App>, Body(retry): Body<Retry>) -> Result<Response, ApiError> {
    if [retry.all, retry.waiting, !retry.deliveryids.is_empty()].iter().filter(|said| **said).count() != 1 {
        return Err(ApiError::field(
            "deliveryids",
            "name some deliveries, or say `all`, or `waiting`, and only one of these",
        ));
    }
    if retry.deliveryids.len() > RETRY_MAX {
        return Err(ApiError::field("deliveryids", format!("name at most {RETRY_MAX} at once")));
    }
    if retry.waiting {
        let due = run_tx!(app.people, "deliveries.hasten", |c| people::deliveries_hasten(c).await)?;
        app.wakes.send(Wake::Notices);
        return Ok(Json(json!({ "due": due, "left": [] })).into_response());
    }
    let retried = retried(&app, (!retry.all).then_some(retry.deliveryids.as_slice())).await?;
    Ok(Json(json!({ "due": retried.due, "left": retried.left })).into_response())
}

/// Makes them due again.
pub async fn retried(app: &App, ids: Option<&[i64]>) -> Result<Retried, ApiError> {
    let retried = run_tx!(app.people, "deliveries.retry", |c| people::deliveries_retry(c, ids).await)?;
    if !retried.due.is_empty() {
        app.wakes.send(Wake::Notices);
    }
    Ok(retried)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Test {
    reporter: String,
    to: Option<String>,
}

async fn test(State(app): State<App>, who: Who, Body(test): Body<Test>) -> Result<Response, ApiError> {
    let Some((_, project)) = app.projects.active(&app.db).await? else {
        return Err(ApiError::field("reporter", "there is no active configuration yet"));
    };
    let reporters = &project.definition().reporters;
    let Some(reporter) = named(reporters, &test.reporter) else {
        let names: Vec<&str> = reporters.iter().map(|r| r.name.as_str()).collect();
        let there = if names.is_empty() { "none".into() } else { names.join(", ") };
        return Err(ApiError::field(
            "reporter",
            format!("the active configuration has no such reporter; it has {there}"),
        ));
    };
    let id = run_tx!(app.people, "notices.test", |c| {
        people::test_notice(c, &reporter.name, test.to.as_deref(), &who.name).await
    })?;
    app.wakes.send(Wake::Events);
    Ok((axum::http::StatusCode::CREATED, Json(json!({ "message_id": id }))).into_response())
}

/// By its name; `mail` and `irc` are the one reporter of that kind.
fn named<'r>(reporters: &'r [ReporterDef], asked: &str) -> Option<&'r ReporterDef> {
    let kind =
        |r: &&ReporterDef| matches!((asked, &r.kind), ("mail", ReporterKind::Mail(_)) | ("irc", ReporterKind::Irc(_)));
    reporters.iter().find(|r| r.name == asked).or_else(|| {
        let mut of_kind = reporters.iter().filter(kind);
        of_kind.next().filter(|_| of_kind.next().is_none())
    })
}
