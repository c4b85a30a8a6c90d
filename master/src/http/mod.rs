//! Everything that comes in over HTTP.

pub mod access;
pub mod config;
pub mod error;
pub mod health;
mod pace;
pub mod rest;
pub mod routes;
pub mod web;
pub mod worker;

use crate::app::App;
use std::future::IntoFuture;

pub use error::ApiError;

/// Serves until the drain begins, and then what is still in flight.
pub async fn serve(listener: tokio::net::TcpListener, app: App) -> std::io::Result<()> {
    use axum::serve::ListenerExt;
    let drain = app.life.draining().clone();
    let stop = app.life.stopping().clone();
    // Small answers must not wait for an acknowledgement (44 ms with Nagle).
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
    });
    // Made into a service once: a router would copy its table of routes for every connection.
    let service = routes::router(app).into_make_service();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move { drain.cancelled().await });
    tokio::select! {
        result = server.into_future() => result,
        _ = stop.cancelled() => Ok(()),
    }
}
