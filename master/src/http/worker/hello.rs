//! `POST /worker/v1/hello` and `/goodbye`: a worker process begins its session, and ends it.

use super::Worker;
use crate::app::App;
use crate::http::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tidemill_model::SessionId;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{Goodbye, Hello, HelloReply, PROTOCOL, PROTOCOL_MIN};
use tidemill_schema::sessions::{session_close, session_open};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, labels, run_tx};

pub async fn hello(
    State(app): State<App>,
    worker: Worker,
    Json(hello): Json<Hello>,
) -> Result<Json<HelloReply>, ApiError> {
    if hello.name != worker.name {
        return Err(ApiError::forbidden(format!("this token belongs to the worker `{}`", worker.name)));
    }
    let protocol = PROTOCOL.min(hello.protocol_max);
    if protocol < PROTOCOL_MIN.max(hello.protocol_min) {
        return Err(ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            kinds::PROTOCOL_VERSION,
            "No common protocol version",
            format!(
                "this master speaks {PROTOCOL_MIN} to {PROTOCOL}, the worker {} to {}: upgrade the older of the two",
                hello.protocol_min, hello.protocol_max
            ),
        ));
    }
    let term = app.settings.lease;
    let (session, relabelled) = run_tx!(app.db, "hello", |c| {
        let session = session_open(c, worker.id, &hello, protocol, term).await?;
        let relabelled = labels::worker_labelled(c, worker.id, &hello.labels).await?;
        Ok::<_, Error>((session, relabelled))
    })
    .map_err(|e| match e {
        Error::Conflict(detail) => ApiError::conflict(kinds::WORKER_NAME_IN_USE, detail),
        other => other.into(),
    })?;
    app.wakes.send(Wake::Events);
    if relabelled {
        app.wakes.send(Wake::Config);
    }
    tracing::info!(worker.name = %worker.name, session.id = session.0, release = %hello.release, "worker connected");
    Ok(Json(HelloReply {
        protocol,
        session: session.0,
        master: app.settings.name.clone(),
        lease_us: term.as_micros() as u64,
    }))
}

pub async fn goodbye(
    State(app): State<App>,
    worker: Worker,
    Json(goodbye): Json<Goodbye>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let session = SessionId(goodbye.session);
    if run_tx!(app.db, "goodbye", |c| session_close(c, session, worker.id).await)? {
        app.polls.sessions().forget(session);
        app.wakes.send(Wake::Events);
        tracing::info!(worker.name = %worker.name, session.id = session.0, "worker left");
    }
    Ok(Json(serde_json::json!({})))
}
