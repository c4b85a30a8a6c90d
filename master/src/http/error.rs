//! The one way an error leaves as an answer: a problem document (RFC 9457).
//!
//! What a client may know is in the answer; internals are logged here, once,
//! and the answer says only that something failed.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::fmt::Display;
use tidemill_model::problem::{FieldError, Problem, kinds};

#[derive(Debug)]
pub struct ApiError(Box<Problem>);

impl ApiError {
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Display) -> Self {
        ApiError(Box::new(Problem {
            kind: kind.into(),
            title: title.into(),
            status: status.as_u16(),
            detail: detail.to_string(),
            errors: Vec::new(),
        }))
    }

    pub fn not_found(detail: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, kinds::NOT_FOUND, "Not found", detail)
    }

    pub fn bad_request(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kinds::BAD_REQUEST, "Bad request", detail)
    }

    /// A field or query parameter is wrong.
    pub fn field(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: name.into(), detail: detail.into() }])
    }

    /// Several are.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let mut e = Self::bad_request("");
        e.0.errors = errors;
        e
    }

    pub fn unauthorized(detail: impl Display) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, kinds::UNAUTHORIZED, "Not authenticated", detail)
    }

    pub fn forbidden(detail: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, kinds::FORBIDDEN, "Not allowed", detail)
    }

    pub fn conflict(kind: &str, detail: impl Display) -> Self {
        Self::new(StatusCode::CONFLICT, kind, "Conflict", detail)
    }

    pub fn unprocessable(kind: &str, title: &str, errors: Vec<FieldError>) -> Self {
        let mut e = Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title, "");
        e.0.errors = errors;
        e
    }

    /// Cannot be done now; the client is to try again.
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            kinds::UNAVAILABLE,
            "Not available now",
            "the database cannot be reached or takes no writes; try again in a moment",
        )
    }

    pub fn internal(error: impl Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, kinds::INTERNAL, "Internal error", "the master's log says more")
    }

    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<tidemill_schema::Error> for ApiError {
    fn from(e: tidemill_schema::Error) -> Self {
        use tidemill_schema::Error;
        match e {
            Error::Unavailable(cause) => {
                tracing::warn!(error = %cause, "database not available");
                Self::unavailable()
            }
            Error::NotFound(detail) => Self::not_found(detail),
            Error::Conflict(detail) => Self::conflict(kinds::CONFLICT, detail),
            other => Self::internal(other),
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(e: sqlx::Error) -> Self {
        tidemill_schema::Error::from(e).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&*self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
