//! `GET /worker/v1/revisions/{hash}`: the project's files, which never change
//! under a hash; a worker fetches each once.

use super::Worker;
use crate::app::App;
use crate::http::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use tidemill_model::wire::RevisionReply;

pub async fn revision(
    State(app): State<App>,
    _worker: Worker,
    Path(hash): Path<String>,
) -> Result<Json<RevisionReply>, ApiError> {
    let mut c = app.db.pool().acquire().await?;
    let revision = tidemill_schema::config::revision_by_hash(&mut c, &hash)
        .await?
        .ok_or_else(|| ApiError::not_found("there is no config revision with this hash"))?;
    Ok(Json(RevisionReply { hash: revision.hash, files: revision.files }))
}
