//! `builders`, and what is below one.

use super::answer::{self, Answer, missing};
use super::ask::{At, Operators, connection};
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use axum::extract::State;
use axum::routing::get;
use sqlx::PgConnection;
use tidemill_schema::read::builders::{self, BUILDERS};
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::list::typed_one;
use tidemill_schema::read::policy_failures::{self, POLICY_FAILURES};
use tidemill_schema::read::requests::{self, REQUESTS};
use tidemill_schema::read::steps::{self, STEPS};
use tidemill_schema::read::{Query, one};
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/builders", &BUILDERS, "All builders", get(all)))
        .routes(describe::one("/builders/{builder}", &BUILDERS, "One builder, by id or name", get(by_id)))
        .routes(describe::list("/policyfailures", &POLICY_FAILURES, "Functions of projects that failed", get(failures)))
        .routes(describe::list(
            "/builders/{builder}/policyfailures",
            &POLICY_FAILURES,
            "Functions of the active revision that failed for a builder",
            get(failures_of),
        ))
        .routes(describe::list("/builders/{builder}/builds", &BUILDS, "Builds of a builder", get(builds_of)))
        .routes(describe::one("/builders/{builder}/builds/{number}", &BUILDS, "One build, by number", get(build)))
        .routes(describe::list("/builders/{builder}/builds/{number}/steps", &STEPS, "Its steps", get(steps_of)))
        .routes(describe::list(
            "/builders/{builder}/buildrequests",
            &REQUESTS,
            "Requests of a builder",
            get(requests_of),
        ))
}

/// The builder that a path names.
pub async fn found(c: &mut PgConnection, named: &str) -> Result<i64, ApiError> {
    builders::resolve(c, named).await?.ok_or_else(|| {
        ApiError::not_found(format!("there is no builder `{}`", named.chars().take(200).collect::<String>()))
    })
}

/// The build that a builder and a number name.
pub async fn found_build(c: &mut PgConnection, builder: &str, number: i64) -> Result<i64, ApiError> {
    let builder = found(c, builder).await?;
    let query = Query { fields: vec![BUILDS.id()], ..Query::default() };
    let row = one(c, &BUILDS, &[builds::of_builder(builder), builds::numbered(number)], &query)
        .await?
        .ok_or_else(|| missing("build", number))?;
    #[derive(serde::Deserialize)]
    struct Id {
        buildid: i64,
    }
    Ok(typed_one::<Id>(&row)?.buildid)
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &BUILDERS, &ops).await
}

async fn by_id(State(app): State<App>, At(builder): At<String>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    answer::row(&mut c, &BUILDERS, &[builders::by_id(id)], &ops, "builder").await
}

async fn failures(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &POLICY_FAILURES, &ops).await
}

async fn failures_of(State(app): State<App>, At(builder): At<String>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    answer::rows(&mut c, &POLICY_FAILURES, &[policy_failures::of_builder(id)], &ops).await
}

async fn builds_of(State(app): State<App>, At(builder): At<String>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    answer::rows(&mut c, &BUILDS, &[builds::of_builder(id)], &ops).await
}

async fn build(State(app): State<App>, At((builder, number)): At<(String, i64)>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    answer::row(&mut c, &BUILDS, &[builds::of_builder(id), builds::numbered(number)], &ops, "build").await
}

async fn steps_of(State(app): State<App>, At((builder, number)): At<(String, i64)>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found_build(&mut c, &builder, number).await?;
    answer::rows(&mut c, &STEPS, &[steps::of_build(id)], &ops).await
}

async fn requests_of(State(app): State<App>, At(builder): At<String>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let id = found(&mut c, &builder).await?;
    answer::rows(&mut c, &REQUESTS, &[requests::of_builder(id)], &ops).await
}
