//! Pages for people: rendered here, readable without scripts, live with two
//! small ES modules of our own.
//!
//! Everything that a repository, a worker or a person wrote is escaped by the
//! templates; log text additionally loses every control sequence but colours
//! ([`ansi`]). A strict content security policy stands behind that: no inline
//! script or style, nothing from elsewhere, no frames (A5).

mod about;
mod ansi;
mod assets;
mod build;
mod builder;
mod builders;
mod changes;
mod errors;
mod force;
mod forms;
mod home;
mod locks;
mod log;
mod notices;
mod page;
mod reports;
mod request;
mod schedulers;
mod show;
mod sources;
mod triggered;
mod unsubscribe;
mod workers;

use crate::app::App;
use crate::http::ApiError;
use axum::Router;
use axum::http::{HeaderName, HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

/// All pages, their forms and their assets.
pub fn router() -> Router<App> {
    Router::new()
        .route("/", get(home::page))
        .route("/builders", get(builders::page))
        .route("/builders/{name}", get(builder::page))
        .route("/builders/{name}/force", post(forms::force))
        .route("/builders/{name}/pause", post(forms::pause))
        .route("/builders/{name}/cancel", post(forms::cancel_waiting))
        .route("/forceschedulers/{name}", get(force::page))
        .route("/forceschedulers/{name}/force", post(force::post))
        .route("/builders/{name}/builds/{number}", get(build::page))
        .route("/builds/{id}", get(build::by_id))
        .route("/builds/{id}/stop", post(forms::stop))
        .route("/builds/{id}/rebuild", post(forms::rebuild))
        .route("/buildrequests/{id}", get(request::page))
        .route("/buildrequests/{id}/cancel", post(forms::cancel))
        .route("/buildrequests/{id}/priority", post(forms::priority))
        .route("/logs/{id}", get(log::page))
        .route("/logs/{id}/live", get(log::live))
        .route("/workers", get(workers::page))
        .route("/locks", get(locks::page))
        .route("/schedulers", get(schedulers::page))
        .route("/schedulers/{name}/enable", post(schedulers::enable))
        .route("/schedulers/{name}/disable", post(schedulers::disable))
        .route("/schedulers/{name}/run", post(schedulers::run))
        .route("/changes", get(changes::page))
        .route("/changesources", get(sources::page))
        .route("/changesources/{id}/poll", post(sources::poll))
        .route("/reports", get(reports::page))
        .route("/reports/{name}", get(reports::one))
        .route("/notices", get(notices::page))
        .route("/notices/{id}/retry", post(notices::retry))
        .route("/unsubscribe", get(unsubscribe::page).post(unsubscribe::post))
        .route("/changes/held/{id}/approve", post(forms::approve))
        .route("/changes/held/{id}/refuse", post(forms::refuse))
        .route("/about", get(about::page))
        .route("/favicon.ico", get(assets::icon))
        .route("/assets/{hash}/{name}", get(assets::asset))
}

/// The answer to every address that is none.
pub async fn not_found(request: axum::extract::Request) -> Response {
    let accept = errors::wants_page(request.headers());
    let detail = "there is nothing at this address";
    secured(errors::answer(ApiError::not_found(detail).into_response(), accept).await)
}

/// Errors as pages for those who read pages, refusals of the guard among them;
/// and the headers that every answer has.
pub async fn for_people(request: Request<axum::body::Body>, next: Next) -> Response {
    let wants_page = errors::wants_page(request.headers());
    let response = next.run(request).await;
    secured(Box::pin(errors::answer(response, wants_page)).await)
}

const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // A picture has a narrower one of its own.
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    // A page shows what is now, and may hold a form's token.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
