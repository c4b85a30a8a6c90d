//! The worker API, protocol v1: docs/protocol.md, messages in `model::wire`.

pub mod batches;
pub mod hello;
pub mod locks;
pub mod patch;
pub mod poll;
pub mod revisions;
pub mod secret;
pub mod triggers;

use super::ApiError;
use super::access::bearer;
use crate::app::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use std::collections::{HashMap, HashSet};
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

/// Workers' tokens that were found good, by hash. The `seen` loop looks every
/// 15 s whether they still are: so long a withdrawn one may work at a replica
/// that knows it, and an idle worker's poll costs no query.
#[derive(Default)]
pub struct KnownWorkers(Mutex<HashMap<Vec<u8>, (Worker, Instant)>>);

/// A token not used for so long is forgotten.
const UNUSED: Duration = Duration::from_secs(300);

impl KnownWorkers {
    fn get(&self, hash: &[u8]) -> Option<Worker> {
        let mut known = self.0.lock().expect("no panic while locked");
        known.get_mut(hash).map(|(worker, used)| {
            *used = Instant::now();
            worker.clone()
        })
    }

    fn insert(&self, hash: Vec<u8>, worker: Worker) {
        self.0.lock().expect("no panic while locked").insert(hash, (worker, Instant::now()));
    }

    /// The hashes to look after.
    pub fn hashes(&self) -> Vec<Vec<u8>> {
        let mut known = self.0.lock().expect("no panic while locked");
        known.retain(|_, (_, used)| used.elapsed() < UNUSED);
        known.keys().cloned().collect()
    }

    /// Forgets those that are not among the good ones.
    pub fn keep(&self, looked_at: &[Vec<u8>], good: &[Vec<u8>]) {
        let good: HashSet<&Vec<u8>> = good.iter().collect();
        let mut known = self.0.lock().expect("no panic while locked");
        for hash in looked_at.iter().filter(|h| !good.contains(h)) {
            known.remove(hash);
        }
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
        let found = Box::pin(async {
            let mut c = app.db.pool().acquire().await?;
            tidemill_schema::workers::worker_by_token(&mut c, secret).await
        });
        let (id, name) = found.await?.ok_or_else(|| {
            ApiError::unauthorized("the worker's token is unknown; enrol it with `tidemill worker add NAME`")
        })?;
        let worker = Worker { id, name };
        app.known_workers.insert(hash, worker.clone());
        Ok(worker)
    }
}
