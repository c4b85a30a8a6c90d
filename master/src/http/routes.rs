//! Every route on one page.
//!
//! Deny by default: [`access::guard`] stands before all of them and lets through
//! reading (GET, HEAD) and the worker API, whose handlers ask for a worker's
//! token themselves; everything else needs the right to control.

use super::{access, health, pace, rest, web, worker};
use crate::app::App;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use std::any::Any;
use tower_http::catch_panic::CatchPanicLayer;

pub fn router(app: App) -> Router {
    let worker = Router::new()
        .route("/hello", post(worker::hello::hello))
        .route("/goodbye", post(worker::hello::goodbye))
        .route("/poll", post(worker::poll::poll))
        .route("/locks", post(worker::locks::locks))
        .route("/batches", post(worker::batches::batches))
        .route("/triggers", post(worker::triggers::triggers))
        .route("/triggers/wait", post(worker::triggers::wait))
        .route("/patch", post(worker::patch::patch))
        .route("/secret", post(worker::secret::secret))
        .route("/revisions/{hash}", get(worker::revisions::revision))
        .layer(DefaultBodyLimit::max(tidemill_model::wire::BATCH_MAX));
    let (rest, openapi) = rest::router().split_for_parts();
    Router::new()
        .nest("/worker/v1", worker)
        .nest("/api/v2", rest.merge(rest::openapi_router(openapi)))
        .merge(rest::hook_router())
        .merge(web::router())
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .fallback(web::not_found)
        .layer(axum::middleware::from_fn_with_state(app.clone(), access::guard))
        .layer(axum::middleware::from_fn(web::for_people))
        .layer(axum::middleware::from_fn(pace::paced))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

fn panicked(_: Box<dyn Any + Send>) -> axum::response::Response {
    use axum::response::IntoResponse;
    super::ApiError::internal("a handler panicked").into_response()
}
