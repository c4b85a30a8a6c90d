//! `POST /worker/v1/batches`: what happened in a build, in numbered batches.
//! Answered only after the commit.

use super::Worker;
use super::patch::lease_lost;
use crate::app::App;
use crate::http::ApiError;
use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use tidemill_model::wire::{BatchReply, decode_batch};
use tidemill_schema::ingest::{Batch, Outcome};

pub async fn batches(State(app): State<App>, _worker: Worker, body: Bytes) -> Result<Json<BatchReply>, ApiError> {
    let (head, frames) = decode_batch(body).map_err(ApiError::bad_request)?;
    let (build, batch) = (head.build, head.batch);
    // The lease's token, which only its worker was given, is the right to write:
    // a worker that guesses another's build id has none (A3).
    match app.ingest.store(Batch { head, frames }).await? {
        Outcome::Stored { stop } => Ok(Json(BatchReply { acked: batch, stop, drain: false })),
        Outcome::LeaseLost => Err(lease_lost(build)),
    }
}
