//! A master of one build, on loopback, in memory: what a worker needs to run it.
//!
//! The protocol is that of docs/protocol.md. A batch is acknowledged once it is
//! taken to be shown; while that waits, so does the build.

use super::Batch;
use crate::error::{Doing, Result};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidemill_model::problem::{Problem, kinds};
use tidemill_model::revision::Files;
use tidemill_model::wire::{
    BATCH_MAX, BatchReply, Claim, Event, Frame, Hello, HelloReply, LocksAsk, LocksReply, PROTOCOL, Poll, PollReply,
    RevisionReply, Stop, TriggerCall, TriggerReply, decode_batch,
};
use tokio::sync::{Notify, mpsc};

/// Both ends are one process: it only paces the polls.
const LEASE: Duration = Duration::from_secs(60);

pub struct Master {
    state: Arc<State_>,
    url: String,
    server: tokio::task::JoinHandle<()>,
}

struct State_ {
    claim: Claim,
    files: Files,
    token: String,
    batches: mpsc::Sender<Batch>,
    progress: Mutex<Progress>,
    /// A stop is wanted.
    changed: Notify,
}

#[derive(Default)]
struct Progress {
    session: i64,
    /// The last batch that was taken.
    acked: u64,
    stop: Option<Stop>,
    finished: bool,
}

type Shared = State<Arc<State_>>;

impl Master {
    pub async fn start(claim: Claim, files: Files, token: String, batches: mpsc::Sender<Batch>) -> Result<Master> {
        let listening = || "listen on 127.0.0.1".to_owned();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.doing(listening)?;
        let url = format!("http://{}", listener.local_addr().doing(listening)?);
        let (progress, changed) = Default::default();
        let state = Arc::new(State_ { claim, files, token, batches, progress, changed });
        let routes = Router::new()
            .route("/worker/v1/hello", post(hello))
            .route("/worker/v1/goodbye", post(async || Json(serde_json::json!({}))))
            .route("/worker/v1/poll", post(poll))
            .route("/worker/v1/locks", post(locks))
            .route("/worker/v1/batches", post(batch))
            .route("/worker/v1/revisions/{hash}", get(revision))
            .route("/worker/v1/triggers", post(trigger))
            .fallback(elsewhere)
            .layer(DefaultBodyLimit::max(BATCH_MAX))
            .layer(middleware::from_fn_with_state(state.clone(), guard))
            .with_state(state.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, routes).await {
                tracing::error!(%error, "the master of this build ended");
            }
        });
        Ok(Master { state, url, server })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks for the end of the build, once.
    pub fn stop(&self, stop: Stop) {
        self.state.progress().stop.get_or_insert(stop);
        self.state.changed.notify_waiters();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State_ {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("no panic while holding the progress")
    }
}

/// Another user of this machine may reach the port.
async fn guard(State(state): Shared, request: Request, next: Next) -> Response {
    let bearer = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    match bearer.and_then(|b| b.strip_prefix("Bearer ")) == Some(&state.token) {
        true => next.run(request).await,
        false => problem(StatusCode::UNAUTHORIZED, kinds::UNAUTHORIZED, "this is the master of one build"),
    }
}

fn problem(status: StatusCode, kind: &str, detail: &str) -> Response {
    let problem = Problem {
        kind: kind.to_owned(),
        title: kind.replace('-', " "),
        status: status.as_u16(),
        detail: detail.to_owned(),
        errors: vec![],
    };
    (status, [(header::CONTENT_TYPE, "application/problem+json")], Json(problem)).into_response()
}

async fn elsewhere() -> Response {
    let detail = "`tidemill run` has no master: what needs one is left to `tidemill up` and masters";
    problem(StatusCode::NOT_FOUND, kinds::NOT_FOUND, detail)
}

/// A run is one build and starts no other.
async fn trigger(Json(call): Json<TriggerCall>) -> Json<TriggerReply> {
    let names: Vec<&str> = call.targets.iter().map(|t| t.scheduler.as_str()).collect();
    let skipped = format!("`tidemill run` starts no other builds: {} would be triggered by a master", names.join(", "));
    Json(TriggerReply { skipped: Some(skipped), ..TriggerReply::default() })
}

async fn hello(State(state): Shared, Json(hello): Json<Hello>) -> Json<HelloReply> {
    let mut progress = state.progress();
    progress.session += 1;
    Json(HelloReply {
        protocol: PROTOCOL.min(hello.protocol_max),
        session: progress.session,
        master: "tidemill run".into(),
        lease_us: LEASE.as_micros() as u64,
    })
}

async fn poll(State(state): Shared, Json(poll): Json<Poll>) -> Response {
    let deadline = tokio::time::Instant::now() + Duration::from_micros(poll.wait_us);
    loop {
        let wake = state.changed.notified();
        {
            let progress = state.progress();
            if poll.session != progress.session {
                return problem(StatusCode::CONFLICT, kinds::SESSION_UNKNOWN, "say hello again");
            }
            let reply = answer(&state.claim, &progress, &poll);
            let news = !reply.claims.is_empty() || !reply.stop.is_empty() || reply.drain;
            if news || tokio::time::Instant::now() >= deadline {
                return Json(reply).into_response();
            }
        }
        let _ = tokio::time::timeout_at(deadline, wake).await;
    }
}

/// The one build is given until it is held; then a wish to stop it is told
/// again and again, as an answer may be lost.
fn answer(claim: &Claim, progress: &Progress, poll: &Poll) -> PollReply {
    let held = poll.held.iter().any(|h| h.build == claim.build);
    let give = !held && !progress.finished && progress.acked == 0 && poll.free > 0;
    PollReply {
        claims: give.then(|| claim.clone()).into_iter().collect(),
        stop: progress.stop.clone().filter(|_| held || give).into_iter().collect(),
        drain: progress.finished,
        ..PollReply::default()
    }
}

async fn batch(State(state): Shared, body: Bytes) -> Response {
    let (head, frames) = match decode_batch(body) {
        Ok(batch) => batch,
        Err(error) => return problem(StatusCode::BAD_REQUEST, kinds::BAD_REQUEST, &error.to_string()),
    };
    if head.build != state.claim.build || head.token != state.claim.token {
        return problem(StatusCode::CONFLICT, kinds::LEASE_LOST, "this is not the build");
    }
    // Room first: between it and the note that the batch was taken nothing waits.
    let room = state.batches.reserve().await;
    let mut progress = state.progress();
    if head.session != progress.session {
        return problem(StatusCode::CONFLICT, kinds::SESSION_UNKNOWN, "say hello again");
    }
    if head.batch == progress.acked + 1 {
        progress.acked = head.batch;
        progress.finished |= frames.iter().any(|f| matches!(f, Frame::Event(Event::BuildFinished { .. })));
        // Without anybody who shows it the build only has to end.
        if let Ok(room) = room {
            room.send(Some(frames));
        }
    }
    let (stop, drain) = (progress.stop.clone(), progress.finished);
    Json(BatchReply { acked: progress.acked, stop, drain }).into_response()
}

/// One build alone shares nothing with others.
async fn locks(State(state): Shared, Json(ask): Json<LocksAsk>) -> Response {
    if ask.build != state.claim.build || ask.token != state.claim.token {
        return problem(StatusCode::CONFLICT, kinds::LEASE_LOST, "this is not the build");
    }
    let names: Vec<String> = ask.locks.iter().map(|l| crate::sanitize::line(&l.lock)).collect();
    eprintln!("step {} goes on without its locks ({}): `tidemill run` takes none", ask.step, names.join(", "));
    Json(LocksReply { granted: true, says: String::new() }).into_response()
}

async fn revision(State(state): Shared, Path(hash): Path<String>) -> Response {
    if hash != state.claim.revision {
        return problem(StatusCode::NOT_FOUND, kinds::NOT_FOUND, "this master knows one revision");
    }
    Json(RevisionReply { hash, files: state.files.clone() }).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_model::Results;
    use tidemill_model::wire::Held;

    fn claim() -> Claim {
        Claim {
            build: 1,
            token: "t".into(),
            attempt: 1,
            builder: "b".into(),
            builder_id: 1,
            number: 0,
            request: 1,
            revision: String::new(),
            properties: Default::default(),
            sourcestamps: vec![],
            reason: String::new(),
            changes: vec![],
            trusted: true,
            url: String::new(),
        }
    }

    #[test]
    fn the_build_is_given_once_and_stopped_while_it_is_held() {
        let mut progress = Progress::default();
        let poll = |free: u32| Poll {
            session: 1,
            poll: 1,
            free,
            newest: 0,
            held: if free == 0 { vec![Held { build: 1, token: "t".into() }] } else { vec![] },
            wait_us: 0,
        };
        assert_eq!(answer(&claim(), &progress, &poll(1)).claims.len(), 1);
        assert_eq!(answer(&claim(), &progress, &poll(1)).claims.len(), 1, "the first answer may have been lost");
        let reply = answer(&claim(), &progress, &poll(0));
        assert!(reply.claims.is_empty() && reply.stop.is_empty() && !reply.drain);
        progress.stop = Some(Stop { build: 1, reason: "x".into(), results: Results::Cancelled });
        assert_eq!(answer(&claim(), &progress, &poll(0)).stop.len(), 1);
        (progress.acked, progress.finished) = (3, true);
        let reply = answer(&claim(), &progress, &poll(1));
        assert!(reply.claims.is_empty() && reply.stop.is_empty() && reply.drain);
    }
}
