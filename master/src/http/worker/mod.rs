//! The worker API, protocol v1: docs/protocol.md, messages in `model::wire`.

pub mod batches;
pub mod hello;
pub mod poll;
pub mod revisions;

use super::ApiError;
use super::access::bearer;
use crate::app::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tidemill_model::WorkerId;
use tidemill_service::token::{self, Kind};

/// A worker that proved its name; an extractor.
#[derive(Clone, Debug)]
pub struct Worker {
    pub id: WorkerId,
    pub name: String,
}

/// How long a token that was good is believed: the most time that a withdrawn
/// one still works for requests to this replica.
const BELIEVED: Duration = Duration::from_secs(10);

static KNOWN: Mutex<Option<HashMap<Vec<u8>, (Worker, Instant)>>> = Mutex::new(None);

impl FromRequestParts<App> for Worker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let secret = bearer(&parts.headers)
            .ok_or_else(|| ApiError::unauthorized("send the worker's token: `Authorization: Bearer tmw_…`"))?;
        if !secret.starts_with(Kind::Worker.prefix()) {
            return Err(ApiError::forbidden("the worker API takes workers' tokens only (tmw_…)"));
        }
        // Keyed by hash and replica: several replicas may live in one process (tests).
        let mut key = token::hash(secret);
        key.extend(app.master.0.to_le_bytes());
        if let Some((worker, since)) = KNOWN.lock().expect("no panic while locked").get_or_insert_default().get(&key)
            && since.elapsed() < BELIEVED
        {
            return Ok(worker.clone());
        }
        let mut c = app.db.pool().acquire().await?;
        let (id, name) = tidemill_schema::workers::worker_by_token(&mut c, secret).await?.ok_or_else(|| {
            ApiError::unauthorized("the worker's token is unknown; enrol it with `tidemill worker add NAME`")
        })?;
        let worker = Worker { id, name };
        let mut known = KNOWN.lock().expect("no panic while locked");
        let known = known.get_or_insert_default();
        if known.len() > 10_000 {
            known.retain(|_, (_, since)| since.elapsed() < BELIEVED);
        }
        known.insert(key, (worker.clone(), Instant::now()));
        Ok(worker)
    }
}
