//! The REST API under `/api/v2`: the resources, field names and filters of
//! Buildbot's data API, with problem documents for errors. docs/api.md is for
//! people; `openapi.json` is made from the same tables that the queries use.
//!
//! Handlers only translate: a path into scopes, a query into bound values
//! ([`tidemill_schema::read`]), rows into an answer. What changes something
//! calls the write side of `schema`, commits, and only then answers and wakes.

mod answer;
pub(crate) mod ask;
mod builders;
mod builds;
mod changes;
mod config;
pub(crate) mod control;
mod controls;
pub(crate) mod deliveries;
mod describe;
mod events;
pub(crate) mod forced;
mod forceschedulers;
pub(crate) mod held;
mod hooks;
mod jsonrpc;
mod locks;
mod log_text;
mod logs;
pub(crate) mod reports;
mod requests;
pub(crate) mod scheduler_control;
pub(crate) mod schedulers;
mod steps;
pub(crate) mod stream;
mod tests;
mod try_builds;
mod workers;

pub use hooks::hook_router;

use crate::app::App;
use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

/// All of the API, to be nested under `/api/v2`.
pub fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(describe::document())
        .merge(builders::router())
        .merge(builds::router())
        .merge(requests::router())
        .merge(changes::router())
        .merge(held::router())
        .merge(steps::router())
        .merge(logs::router())
        .merge(tests::router())
        .merge(workers::router())
        .merge(locks::router())
        .merge(schedulers::router())
        .merge(config::router())
        .merge(controls::router())
        .merge(forceschedulers::router())
        .merge(jsonrpc::router())
        .merge(try_builds::router())
        .merge(deliveries::router())
        .merge(reports::router())
        .merge(events::router())
}

/// `openapi.json`: the description of [`router`].
pub fn openapi_router(openapi: OpenApi) -> Router<App> {
    let text: Arc<str> = openapi.to_json().unwrap_or_else(|_| "{}".into()).into();
    Router::new().route(
        "/openapi.json",
        get(move || {
            let text = text.clone();
            async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response() }
        }),
    )
}
