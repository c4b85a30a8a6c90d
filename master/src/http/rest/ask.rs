//! What comes in: path parts, query operators, bodies; each error a problem document.

use crate::app::App;
use crate::http::ApiError;
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, OriginalUri, Path, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tidemill_model::problem::FieldError;
use tidemill_schema::read::{Query, Resource};

/// Most bytes of a body.
const BODY_MAX: usize = 1 << 20;

/// A connection for reading, of the pool that is apart from the hot paths (F26).
pub async fn connection(app: &App) -> Result<PoolConnection<Postgres>, ApiError> {
    Ok(app.people.pool().acquire().await?)
}

/// Parts of the path. What does not parse is not there.
pub struct At<T>(pub T);

impl<T, S> FromRequestParts<S> for At<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(found)) => Ok(At(found)),
            Err(_) => Err(ApiError::not_found("there is nothing at this address; ids are whole numbers")),
        }
    }
}

/// The query part, decoded, and where it was asked.
#[derive(Debug)]
pub struct Operators {
    pub path: String,
    pub pairs: Vec<(String, String)>,
}

impl<S: Send + Sync> FromRequestParts<S> for Operators {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // The nested router sees a shortened path.
        let uri = match OriginalUri::from_request_parts(parts, state).await {
            Ok(OriginalUri(uri)) => uri,
            Err(never) => match never {},
        };
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        Ok(Operators { path: uri.path().to_owned(), pairs })
    }
}

impl Operators {
    /// Parsed against a resource.
    pub fn query(&self, resource: &'static Resource) -> Result<Query, ApiError> {
        let pairs = self.pairs.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        Query::parse(resource, pairs).map_err(|wrong| {
            ApiError::fields(wrong.into_iter().map(|w| FieldError { field: w.name, detail: w.detail }).collect())
        })
    }

    /// The last value of one parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// All values of one parameter; each may be several with commas between.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(k, _)| k == name).flat_map(|(_, v)| v.split(','))
    }

    /// A whole number, not negative.
    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name).map(str::parse::<i64>) {
            None => Ok(None),
            Some(Ok(n)) if n >= 0 => Ok(Some(n)),
            Some(_) => Err(ApiError::field(name, "give a whole number that is not negative")),
        }
    }

    /// Refuses what this path does not know.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.pairs.iter().find(|(k, _)| !known.contains(&k.as_str())) {
            None => Ok(()),
            Some((k, _)) => Err(ApiError::field(
                k.chars().take(100).collect::<String>(),
                match known {
                    [] => "no parameters are known here".into(),
                    _ => format!("is not known here; there are {}", known.join(", ")),
                },
            )),
        }
    }
}

/// A JSON body of at most a mebibyte; nothing is `{}`.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = body(request).await?;
        let text: &[u8] = if bytes.iter().all(u8::is_ascii_whitespace) { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Body)
            .map_err(|e| ApiError::bad_request(format!("the body is not the JSON that is wanted here: {e}")))
    }
}

/// The whole body, within the bound.
pub async fn body(request: Request) -> Result<Bytes, ApiError> {
    body_within(request, BODY_MAX, &format!("a body may have at most {BODY_MAX} bytes")).await
}

/// The same with a bound of its own, and what to say of a body beyond it.
pub async fn body_within(request: Request, most: usize, beyond: &str) -> Result<Bytes, ApiError> {
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()).and_then(|l| l.parse().ok());
    if announced.is_some_and(|len: usize| len > most) {
        return Err(too_large(beyond));
    }
    to_bytes(request.into_body(), most).await.map_err(|e| match e.to_string().contains("length limit") {
        true => too_large(beyond),
        false => ApiError::bad_request("the body broke off"),
    })
}

/// 413, with what to do.
pub fn too_large(detail: &str) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "Too large", detail)
}
