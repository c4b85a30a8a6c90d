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
/// Tokens remembered before the old ones are looked through.
const REMEMBERED: usize = 10_000;

/// Workers' tokens that were found good a moment ago, by hash.
#[derive(Default)]
pub struct KnownWorkers(Mutex<HashMap<Vec<u8>, (Worker, Instant)>>);

impl KnownWorkers {
    fn get(&self, hash: &[u8]) -> Option<Worker> {
        let known = self.0.lock().expect("no panic while locked");
        known.get(hash).filter(|(_, since)| since.elapsed() < BELIEVED).map(|(worker, _)| worker.clone())
    }

    fn insert(&self, hash: Vec<u8>, worker: Worker) {
        let mut known = self.0.lock().expect("no panic while locked");
        if known.len() > REMEMBERED {
            known.retain(|_, (_, since)| since.elapsed() < BELIEVED);
        }
        known.insert(hash, (worker, Instant::now()));
    }
}

impl FromRequestParts<App> for Worker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let secret = bearer(&parts.headers)
            .ok_or_else(|| ApiError::unauthorized("send the worker's token: `Authorization: Bearer tmw_…`"))?;
        if !secret.starts_with(Kind::Worker.prefix()) {
            return Err(ApiError::forbidden("the worker API takes workers' tokens only (tmw_…)"));
        }
        let hash = token::hash(secret);
        if let Some(worker) = app.known_workers.get(&hash) {
            return Ok(worker);
        }
        let mut c = app.db.pool().acquire().await?;
        let (id, name) = tidemill_schema::workers::worker_by_token(&mut c, secret).await?.ok_or_else(|| {
            ApiError::unauthorized("the worker's token is unknown; enrol it with `tidemill worker add NAME`")
        })?;
        let worker = Worker { id, name };
        app.known_workers.insert(hash, worker.clone());
        Ok(worker)
    }
}
