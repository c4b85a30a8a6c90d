//! `POST /worker/v1/patch`: what a source stamp wants applied on top. Large, so
//! a claim only names it, and the worker that holds the build fetches it.

use super::Worker;
use crate::app::App;
use crate::http::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tidemill_model::BuildId;
use tidemill_model::problem::kinds;
use tidemill_model::wire::PatchRequest;
use tidemill_schema::patches::{Fetched, patch_of_build};

pub async fn patch(
    State(app): State<App>,
    _worker: Worker,
    Json(wanted): Json<PatchRequest>,
) -> Result<Response, ApiError> {
    let mut c = app.db.pool().acquire().await?;
    match patch_of_build(&mut c, BuildId(wanted.build), &wanted.token, wanted.patch).await? {
        Fetched::Body(body) => Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()),
        Fetched::LeaseLost => Err(lease_lost(wanted.build)),
        Fetched::Unknown => Err(ApiError::not_found(format!("build {} has no such patch", wanted.build))),
    }
}

/// The one answer that makes a worker give up a build.
pub(super) fn lease_lost(build: i64) -> ApiError {
    ApiError::conflict(
        kinds::LEASE_LOST,
        format!("the lease of build {build} is gone: kill what runs for it and forget it"),
    )
}
