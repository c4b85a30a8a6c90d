//! `logs`, by id, by step and slug; their text is in [`super::log_text`].

use super::answer::{self, Answer, missing};
use super::ask::{At, Operators, connection};
use super::builders::found_build;
use super::{describe, log_text};
use crate::app::App;
use crate::http::ApiError;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use sqlx::PgConnection;
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::logs::{self, LOGS, Log};
use tidemill_schema::read::{Query, Scope, exists, list, typed};
use utoipa_axum::router::OpenApiRouter;

const CONTENTS: &[(&str, &str)] = &[("offset", "First line, from 0."), ("limit", "Lines, at most 100000.")];
const RAW: &[(&str, &str)] = &[("headers", "1 adds what the worker says itself: command, environment, exit code.")];
const STREAM: &[(&str, &str)] = &[("offset", "Content byte to begin with; `Last-Event-ID` wins.")];
const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
const EVENTS: &str = "text/event-stream";

pub fn router() -> OpenApiRouter<App> {
    let of_step = "/builds/{buildid}/steps/{number}/logs";
    let of_slug = "/builds/{buildid}/steps/{number}/logs/{slug}";
    let of_builder = "/builders/{builder}/builds/{build}/steps/{number}/logs";
    let of_builder_slug = "/builders/{builder}/builds/{build}/steps/{number}/logs/{slug}";
    OpenApiRouter::default()
        .routes(describe::list("/logs", &LOGS, "All logs", get(all)))
        .routes(describe::one("/logs/{logid}", &LOGS, "One log", get(by_id)))
        .routes(describe::other("/logs/{logid}/contents", "Its lines", JSON, CONTENTS, get(contents)))
        .routes(describe::other("/logs/{logid}/raw", "Its bytes", TEXT, RAW, get(raw)))
        .routes(describe::other("/logs/{logid}/stream", "Its bytes as they come", EVENTS, STREAM, get(stream)))
        .routes(describe::list("/builds/{buildid}/logs", &LOGS, "Logs of a build", get(of_build)))
        .routes(describe::list(of_step, &LOGS, "Logs of a step", get(step_logs)))
        .routes(describe::one(of_slug, &LOGS, "One log of a step", get(step_log)))
        .routes(describe::other(&format!("{of_slug}/contents"), "Its lines", JSON, CONTENTS, get(step_log_contents)))
        .routes(describe::other(&format!("{of_slug}/raw"), "Its bytes", TEXT, RAW, get(step_log_raw)))
        .routes(describe::list(of_builder, &LOGS, "Logs of a step", get(builder_step_logs)))
        .routes(describe::one(of_builder_slug, &LOGS, "One log of a step", get(builder_step_log)))
        .routes(describe::other(
            &format!("{of_builder_slug}/contents"),
            "Its lines",
            JSON,
            CONTENTS,
            get(builder_step_log_contents),
        ))
        .routes(describe::other(&format!("{of_builder_slug}/raw"), "Its bytes", TEXT, RAW, get(builder_step_log_raw)))
}

async fn found(c: &mut PgConnection, id: i64) -> Result<Log, ApiError> {
    logs::one(c, &[logs::by_id(id)]).await?.ok_or_else(|| missing("log", id))
}

/// The log of that slug, or name, of a step.
async fn found_slug(c: &mut PgConnection, build: i64, step: i64, slug: &str) -> Result<Log, ApiError> {
    let scope = [logs::of_build(build), logs::of_step_numbered(step)];
    // A step has a handful of logs.
    let rows = list(c, &LOGS, &scope, &Query { limit: 1000, ..Query::default() }).await?.rows;
    let found = typed::<Log>(&rows)?.into_iter().find(|l| l.slug == slug || l.name == slug);
    found.ok_or_else(|| {
        let shown: String = slug.chars().take(200).collect();
        ApiError::not_found(format!("step {step} of build {build} has no log `{shown}`"))
    })
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &LOGS, &ops).await
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &LOGS, logs::by_id(id), &ops, "log").await
}

async fn contents(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let log = found(&mut c, id).await?;
    log_text::contents(&mut c, &log, &ops).await
}

async fn raw(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let log = found(&mut *connection(&app).await?, id).await?;
    log_text::raw(&app, &log, &ops)
}

async fn stream(State(app): State<App>, At(id): At<i64>, ops: Operators, headers: HeaderMap) -> Answer {
    let log = found(&mut *connection(&app).await?, id).await?;
    log_text::stream(&app, &log, &ops, &headers)
}

async fn of_build(State(app): State<App>, At(build): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&BUILDS, builds::by_id(build), "build"), &LOGS, &[logs::of_build(build)], &ops).await
}

async fn logs_of(c: &mut PgConnection, build: i64, step: i64, ops: &Operators) -> Answer {
    let scope = [logs::of_build(build), logs::of_step_numbered(step)];
    let listed = answer::rows(c, &LOGS, &scope, ops).await?;
    let parent = [tidemill_schema::read::steps::of_build(build), tidemill_schema::read::steps::numbered(step)];
    match exists(c, &tidemill_schema::read::steps::STEPS, &parent).await? {
        true => Ok(listed),
        false => Err(missing("step", step)),
    }
}

async fn step_logs(State(app): State<App>, At((build, step)): At<(i64, i64)>, ops: Operators) -> Answer {
    logs_of(&mut *connection(&app).await?, build, step, &ops).await
}

async fn one_log(c: &mut PgConnection, log: &Log, ops: &Operators) -> Answer {
    let scope: [Scope; 1] = [logs::by_id(log.logid)];
    answer::row(c, &LOGS, &scope, ops, "log").await
}

async fn step_log(State(app): State<App>, At((build, step, slug)): At<(i64, i64, String)>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let log = found_slug(&mut c, build, step, &slug).await?;
    one_log(&mut c, &log, &ops).await
}

async fn step_log_contents(
    State(app): State<App>,
    At((build, step, slug)): At<(i64, i64, String)>,
    ops: Operators,
) -> Answer {
    let mut c = connection(&app).await?;
    let log = found_slug(&mut c, build, step, &slug).await?;
    log_text::contents(&mut c, &log, &ops).await
}

async fn step_log_raw(
    State(app): State<App>,
    At((build, step, slug)): At<(i64, i64, String)>,
    ops: Operators,
) -> Answer {
    let log = found_slug(&mut *connection(&app).await?, build, step, &slug).await?;
    log_text::raw(&app, &log, &ops)
}

async fn builder_step_logs(
    State(app): State<App>,
    At((builder, number, step)): At<(String, i64, i64)>,
    ops: Operators,
) -> Answer {
    let mut c = connection(&app).await?;
    let build = found_build(&mut c, &builder, number).await?;
    logs_of(&mut c, build, step, &ops).await
}

type BuilderLog = (String, i64, i64, String);

async fn builder_slug(c: &mut PgConnection, at: &BuilderLog) -> Result<Log, ApiError> {
    let build = found_build(c, &at.0, at.1).await?;
    found_slug(c, build, at.2, &at.3).await
}

async fn builder_step_log(State(app): State<App>, At(at): At<BuilderLog>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let log = builder_slug(&mut c, &at).await?;
    one_log(&mut c, &log, &ops).await
}

async fn builder_step_log_contents(State(app): State<App>, At(at): At<BuilderLog>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let log = builder_slug(&mut c, &at).await?;
    log_text::contents(&mut c, &log, &ops).await
}

async fn builder_step_log_raw(State(app): State<App>, At(at): At<BuilderLog>, ops: Operators) -> Answer {
    let log = builder_slug(&mut *connection(&app).await?, &at).await?;
    log_text::raw(&app, &log, &ops)
}
