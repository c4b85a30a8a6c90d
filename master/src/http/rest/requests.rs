//! `buildrequests`, `buildsets`, `sourcestamps`, and what is below them.

use super::answer::{self, Answer, missing};
use super::ask::{At, Operators, connection};
use super::describe;
use crate::app::App;
use crate::http::ApiError;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tidemill_schema::read::builds::{self, BUILDS};
use tidemill_schema::read::buildsets::{self, BUILDSETS, SOURCESTAMPS};
use tidemill_schema::read::changes::{self, CHANGES};
use tidemill_schema::read::requests::{self, REQUESTS};
use tidemill_schema::read::waiting::waiting as reasons;
use utoipa_axum::router::OpenApiRouter;

pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::default()
        .routes(describe::list("/buildrequests", &REQUESTS, "All requests", get(all)))
        .routes(describe::one("/buildrequests/{buildrequestid}", &REQUESTS, "One request", get(by_id)))
        .routes(describe::list("/buildrequests/{buildrequestid}/builds", &BUILDS, "Its attempts", get(builds_of)))
        .routes(describe::other(
            "/buildrequests/{buildrequestid}/waiting",
            "Why it waits: each reason with its words",
            "application/json",
            &[],
            get(waiting),
        ))
        .routes(describe::list("/buildsets", &BUILDSETS, "All buildsets", get(sets)))
        .routes(describe::one("/buildsets/{bsid}", &BUILDSETS, "One buildset", get(set)))
        .routes(describe::other(
            "/buildsets/{bsid}/properties",
            "Its properties: name: [value, source]",
            "application/json",
            &[],
            get(set_properties),
        ))
        .routes(describe::list("/buildsets/{bsid}/sourcestamps", &SOURCESTAMPS, "Its sources", get(set_stamps)))
        .routes(describe::list("/sourcestamps", &SOURCESTAMPS, "All source stamps", get(stamps)))
        .routes(describe::one("/sourcestamps/{ssid}", &SOURCESTAMPS, "One source stamp", get(stamp)))
        .routes(describe::other(
            "/patches/{patchid}/body",
            "What somebody wants tried, as it was sent",
            "application/octet-stream",
            &[],
            get(patch_body),
        ))
        .routes(describe::list("/sourcestamps/{ssid}/changes", &CHANGES, "Its changes", get(stamp_changes)))
}

async fn all(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &REQUESTS, &ops).await
}

async fn by_id(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &REQUESTS, requests::by_id(id), &ops, "build request").await
}

async fn waiting(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    ops.only(&[])?;
    let mut c = connection(&app).await?;
    let found = reasons(&mut c, id).await?.ok_or_else(|| missing("build request", id))?;
    let total = found.len();
    Ok(answer::json(serde_json::json!({ "waiting": found, "meta": { "total": total } }).to_string()))
}

async fn builds_of(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let parent = (&REQUESTS, requests::by_id(id), "build request");
    answer::rows_of(&mut c, parent, &BUILDS, &[builds::of_request(id)], &ops).await
}

async fn sets(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &BUILDSETS, &ops).await
}

async fn set(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &BUILDSETS, buildsets::by_id(id), &ops, "buildset").await
}

async fn set_properties(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    ops.only(&[])?;
    let mut c = connection(&app).await?;
    let found = buildsets::properties(&mut c, id).await?.ok_or_else(|| missing("buildset", id))?;
    Ok(answer::json(serde_json::json!({ "properties": [found] }).to_string()))
}

async fn set_stamps(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let parent = (&BUILDSETS, buildsets::by_id(id), "buildset");
    answer::rows_of(&mut c, parent, &SOURCESTAMPS, &[buildsets::stamps_of(id)], &ops).await
}

async fn stamps(State(app): State<App>, ops: Operators) -> Answer {
    answer::all(&app, &SOURCESTAMPS, &ops).await
}

async fn stamp(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    answer::by_id(&app, &SOURCESTAMPS, buildsets::stamp_by_id(id), &ops, "source stamp").await
}

async fn stamp_changes(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Answer {
    let mut c = connection(&app).await?;
    let parent = (&SOURCESTAMPS, buildsets::stamp_by_id(id), "source stamp");
    answer::rows_of(&mut c, parent, &CHANGES, &[changes::of_sourcestamp(id)], &ops).await
}

/// Open like the logs that show it; never as anything that a browser runs.
async fn patch_body(State(app): State<App>, At(id): At<i64>, ops: Operators) -> Result<Response, ApiError> {
    ops.only(&[])?;
    let mut c = connection(&app).await?;
    let body = tidemill_schema::patches::patch_body(&mut c, id).await?.ok_or_else(|| missing("patch", id))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.patch\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, body).into_response())
}
