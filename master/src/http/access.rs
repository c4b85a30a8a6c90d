//! Who is asking, and whether they may.
//!
//! Reading is open to all, but for the texts of project files, which need
//! a token ([`Who::has_token`]). What changes something needs the right to
//! control, which comes from
//!
//! - a user's token (`Authorization: Bearer tmu_…`), from anywhere; or
//! - being on this machine: the listener is bound to loopback, the request names
//!   a loopback host, it came through no proxy (no `Forwarded`, `X-Forwarded-*`
//!   or `Via`), and it carries the local token, or the token of a form on one of
//!   our pages. The Host check keeps a page of another site out (DNS rebinding),
//!   the tokens keep out its forms (A9).
//!
//! A user's token of the scope `try` reads, and sends changes to be tried: that
//! one route, and no other.
//!
//! So a master bound to another address refuses control until it has users.
//! Hooks (`/change_hook/…`) pass to a check of their own, as forges have no tokens:
//! the handler asks for the proof that the project file wants. So do links of
//! mails (`/unsubscribe`), which carry their proof.
//! Tokens of workers are good for the worker API only, where no other is.

use super::ApiError;
use crate::app::App;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;
use tidemill_service::token::Kind;

/// Who sent a request; an extractor.
#[derive(Clone, Debug)]
pub struct Who {
    /// Whether they may change something. For a page: whether to offer it.
    pub may_control: bool,
    /// Whether a good token came with the request: being on this machine is not
    /// enough to read what may hold secrets, as builds may be there too.
    pub has_token: bool,
    /// For reasons and records.
    pub name: String,
}

impl<S: Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Who>().cloned().ok_or_else(|| ApiError::internal("a route stands outside the guard"))
    }
}

/// The one route of those who may only try.
const TRY: &str = "/api/v2/try";

/// Most bytes of a form that is searched for its token.
const FORM_MAX: usize = 256 * 1024;

/// Stands before every route.
pub async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/worker/v1/") {
        return next.run(request).await;
    }
    let mut who = match Box::pin(identify(&app, request.headers())).await {
        Ok(who) => who,
        Err(e) => return e.into_response(),
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    // Whoever sends these proves it by what it is sent.
    let hook = path.starts_with("/change_hook/") || path == "/unsubscribe";
    if hook && matches!(who, Proof::Loopback) {
        // Being near proves nothing to a hook: whoever sends must.
        who = Proof::None;
    }
    if !reads && !hook {
        let proven = match &who {
            Proof::Token(_) => true,
            Proof::Try(_) if request.uri().path() == TRY => true,
            Proof::Try(_) => {
                return ApiError::forbidden("this token is good for trying changes only: ask for one that may control")
                    .into_response();
            }
            Proof::Loopback => match Box::pin(form_token(request)).await {
                Ok((rebuilt, token)) => {
                    request = rebuilt;
                    token.is_some_and(|t| same(&t, &app.form_token()))
                }
                Err(e) => return e.into_response(),
            },
            Proof::None => false,
        };
        if !proven {
            return refusal(&app, &who).into_response();
        }
    }
    request.extensions_mut().insert(match who {
        Proof::Token(name) => Who { may_control: true, has_token: true, name },
        // Nor may it read what may hold secrets.
        Proof::Try(name) => Who { may_control: false, has_token: false, name },
        Proof::Loopback => Who { may_control: true, has_token: false, name: "local".into() },
        Proof::None => Who { may_control: false, has_token: false, name: "anonymous".into() },
    });
    next.run(request).await
}

enum Proof {
    /// A good token of this name.
    Token(String),
    /// A good token that is for trying changes only.
    Try(String),
    /// On this machine; to change something a form's token is needed too.
    Loopback,
    None,
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Proof, ApiError> {
    // Without a local token nobody said that the people of this machine are trusted.
    let loopback = app.settings.local_token.is_some()
        && app.address.ip().is_loopback()
        && loopback_host(headers)
        && !proxied(headers);
    match bearer(headers) {
        None if loopback => Ok(Proof::Loopback),
        None => Ok(Proof::None),
        Some(token) if token.starts_with(Kind::Worker.prefix()) => {
            Err(ApiError::forbidden("a worker's token is good for the worker API only"))
        }
        Some(token) if token.starts_with(Kind::Local.prefix()) => {
            let good = app.settings.local_token.as_deref().is_some_and(|t| same(t, token));
            if good && loopback {
                Ok(Proof::Token("local".into()))
            } else {
                Err(ApiError::unauthorized(
                    "the local token is not that of this master, or the request came over the network; use a user's token",
                ))
            }
        }
        Some(token) => {
            let mut c = app.people.pool().acquire().await?;
            match tidemill_schema::tokens::user_by_token(&mut c, token).await? {
                Some(user) if user.controls => Ok(Proof::Token(user.name)),
                Some(user) => Ok(Proof::Try(user.name)),
                None => Err(ApiError::unauthorized("the token is unknown or has expired; ask for a new one")),
            }
        }
    }
}

fn refusal(app: &App, who: &Proof) -> ApiError {
    match who {
        Proof::Loopback => ApiError::forbidden(
            "this needs the local token: run the command as the user who started the master, \
             or load the page again and use its form",
        ),
        _ if app.address.ip().is_loopback() => {
            ApiError::unauthorized("this needs a token: send `Authorization: Bearer …`")
        }
        _ => ApiError::unauthorized(
            "this master listens on the network, where control needs a user's token: \
             make one with `tidemill user add NAME` beside the database",
        ),
    }
}

/// The token after `Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

fn loopback_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn proxied(headers: &HeaderMap) -> bool {
    headers.keys().any(|k| {
        let k = k.as_str();
        k == "forwarded" || k == "via" || k.starts_with("x-forwarded-")
    })
}

/// Takes the field `token` out of a posted form; the request is as before.
async fn form_token(request: Request) -> Result<(Request, Option<String>), ApiError> {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|t| t.to_str().ok())
        .is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return Ok((request, None));
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, FORM_MAX)
        .await
        .map_err(|_| ApiError::bad_request(format!("a form may have at most {FORM_MAX} bytes")))?;
    let token =
        url::form_urlencoded::parse(&bytes).find(|(name, _)| name == "token").map(|(_, value)| value.into_owned());
    Ok((Request::from_parts(parts, Body::from(bytes)), token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect::<HeaderMap>()
    }

    #[test]
    fn only_a_loopback_name_is_a_loopback_host() {
        for good in ["localhost", "LOCALHOST:8480", "127.0.0.1:1", "[::1]:8480", "[::1]"] {
            assert!(loopback_host(&headers(&[("host", good)])), "{good}");
        }
        for bad in ["ci.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", ""] {
            assert!(!loopback_host(&headers(&[("host", bad)])), "{bad}");
        }
        assert!(!loopback_host(&HeaderMap::new()));
    }

    #[test]
    fn each_trace_of_a_proxy_is_seen() {
        for name in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host"] {
            assert!(proxied(&headers(&[(name, "x")])), "{name}");
        }
        assert!(!proxied(&headers(&[("x-request-id", "x")])));
    }
}
