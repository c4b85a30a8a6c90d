//! `builds`, and what is below one.

use super::answer::{self, Answer, missing};
use super::ask::{At, Operators, connection};
use super::describe;
use crate::app::App;
use axum::extract::State;
use axum::routing::get;
use tidemill_schema::read::builds::{self, BUILDS, Build};
use tidemill_schema::read::changes::{self, CHANGES};
use tidemill_schema::read::steps::{self, STEPS};
use tidemill_schema::read::{Query, builds as read};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/builds", &BUILDS, "All builds", get(all)))
        .routes(describe::one("/builds/{buildid}", &BUILDS, "One build", get(by_id)))
        .routes(describe::list("/builds/{buildid}/steps", &STEPS, "Its steps", get(steps_of)))
        .routes(describe::one("/builds/{buildid}/steps/{number}", &STEPS, "One of its steps", get(step)))
        .routes(describe::list(
            "/builds/{buildid}/changes",
            &CHANGES,
            "What it brought since the last good build of the same sources, at most 1000",
            get(changes_of),
        ))
        .routes(describe::list("/builds/{buildid}/triggered_builds", &BUILDS, "What it triggered", get(triggered)))
        .routes(describe::other(
            "/builds/{buildid}/properties",
            "Its properties: name: [value, source]",
            "application/json",
            &[],
            get(properties),
        ))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &BUILDS, &ops).await
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &BUILDS, builds::by_id(id), &ops, "build").await
}

async fn steps_of(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&BUILDS, builds::by_id(id), "build"), &STEPS, &[steps::of_build(id)], &ops).await
}

async fn step(State(app): State<App>, At((build, number)): At<(i64, i64)>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::row(&mut c, &STEPS, &[steps::of_build(build), steps::numbered(number)], &ops, "step").await
}

async fn changes_of(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    answer::rows_of(&mut c, (&BUILDS, builds::by_id(id), "build"), &CHANGES, &[changes::since_success(id)], &ops).await
}

async fn triggered(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let parent = (&BUILDS, builds::by_id(id), "build");
    answer::rows_of(&mut c, parent, &BUILDS, &[builds::triggered_by(id)], &ops).await
}

async fn properties(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    ops.only(&[])?;
    let mut c = connection(&app).await?;
    let query = Query::default().with_properties();
    let build: Build = read::one(&mut c, &[builds::by_id(id)], &query).await?.ok_or_else(|| missing("build", id))?;
    Ok(answer::json(serde_json::json!({ "properties": [build.properties] }).to_string()))
}
