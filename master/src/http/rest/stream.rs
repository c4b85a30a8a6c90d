//! Server-sent events: the answer, and the headers that keep proxies from holding it back.

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use std::convert::Infallible;
use std::time::Duration;

/// How soon a client comes back after a cut.
const RETRY: Duration = Duration::from_secs(1);

pub fn sse(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    // At once, so that the client knows that it is heard.
    let hello = stream::iter([Ok(Event::default().comment("hello").retry(RETRY))]);
    let mut response = Sse::new(hello.chain(events)).into_response();
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    response
}
