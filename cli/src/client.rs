//! HTTP to a master's REST API, with its errors turned into exit codes.

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::locate::{Location, locate};
use crate::sanitize;
use crate::sse::{Event, Parser};
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tidemill_model::problem::Problem;

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    location: Location,
}

/// Longest wait for a connection, and for an answer that is not a stream.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(60);
/// How often what is sent under a key is sent again.
const TRIES: u32 = 3;
/// A stream pings every 15 s; silence beyond this means that it is dead.
const SILENCE: Duration = Duration::from_secs(45);

impl Client {
    /// For the master that `--master`, the environment or `up` names.
    pub fn find(master: Option<&str>) -> Result<Client> {
        Client::new(locate(master)?)
    }

    pub fn new(location: Location) -> Result<Client> {
        tidemill_service::install_tls();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
            // A redirect could lead the token elsewhere.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&location.url) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| Failure::internal(format!("HTTP client: {e}")))?;
        Ok(Client { http, location })
    }

    pub fn url(&self) -> &str {
        &self.location.url
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}/api/v2/{path}", self.location.url));
        if let Some(token) = &self.location.token {
            request = request.bearer_auth(token);
        }
        request
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    /// The JSON of a resource.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.send(self.request(Method::GET, path).timeout(ANSWER)).await?;
        self.json(response).await
    }

    /// Like [`Client::get`], with «not there» as none.
    pub async fn find_one<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(f) if f.exit == Exit::NotFound => Ok(None),
            Err(f) => Err(f),
        }
    }

    /// Bytes as they are, piece by piece.
    pub async fn bytes(
        &self,
        path: &str,
    ) -> Result<impl futures_util::Stream<Item = Result<bytes::Bytes>> + Unpin + use<>> {
        let response = self.send(self.request(Method::GET, path)).await?;
        let this = self.clone();
        Ok(response.bytes_stream().map(move |piece| piece.map_err(|e| this.unreachable(&e))))
    }

    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T> {
        let response = self.send(self.request(Method::POST, path).timeout(ANSWER).json(body)).await?;
        self.json(response).await
    }

    /// Posts what must happen once: under this key, or one of its own, so that it is sent
    /// again where no answer came.
    pub async fn post_once<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        key: Option<&str>,
    ) -> Result<T> {
        let key = key.map_or_else(|| tidemill_service::token::random_hex(16), str::to_owned);
        let mut tries = 0;
        loop {
            let request = self.request(Method::POST, path).timeout(ANSWER).header("idempotency-key", &key).json(body);
            match self.send(request).await {
                Ok(response) => return self.json(response).await,
                Err(f) if f.exit == Exit::Unreachable && tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(500 << tries)).await;
                }
                Err(f) => return Err(f),
            }
        }
    }

    /// Posts and hands over whatever comes back, errors included.
    pub async fn post_raw<B: Serialize>(&self, path: &str, body: &B) -> Result<(StatusCode, Value)> {
        let request = self.request(Method::POST, path).timeout(ANSWER).json(body);
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| self.unreachable(&e))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Whether the master can do its work.
    pub async fn ready(&self) -> bool {
        let request = self.http.get(format!("{}/readyz", self.location.url)).timeout(CONNECT);
        request.send().await.is_ok_and(|r| r.status().is_success())
    }

    /// A stream of server-sent events, from after `last` if given.
    pub async fn events(&self, path: &str, last: Option<&str>) -> Result<Events> {
        let mut request = self.request(Method::GET, path).header("accept", "text/event-stream");
        if let Some(last) = last.filter(|l| !l.is_empty()) {
            request = request.header("last-event-id", last);
        }
        let response = self.send(request).await?;
        let this = self.clone();
        let pieces = response.bytes_stream().map(move |piece| piece.map_err(|e| this.unreachable(&e)));
        Ok(Events { pieces: Box::pin(pieces), parser: Parser::default(), ready: Default::default() })
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        let url = response.url().clone();
        let text = response.text().await.map_err(|e| self.unreachable(&e))?;
        let text = if text.is_empty() { "null" } else { &text };
        serde_json::from_str(text).map_err(|e| {
            Failure::internal(format!("{url} answered something unexpected: {e}"))
                .hint("is it a Tidemill master of a fitting release?")
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut why: &dyn std::error::Error = error;
        while let Some(source) = why.source() {
            why = source;
        }
        let failure = Failure::new(
            if error.is_timeout() { Exit::Timeout } else { Exit::Unreachable },
            format!("no answer from the master at {} (from {}): {why}", self.location.url, self.location.origin),
        );
        failure.hint("start one with `tidemill up`, or name another with --master URL or TIDEMILL_MASTER")
    }

    /// The failure that an answer of [`Client::post_raw`] means.
    pub fn problem(&self, status: StatusCode, text: &str) -> Failure {
        problem(status, text, self.location.token.is_some())
    }

    async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        self.problem(status, &text)
    }
}

/// The failure that an error answer means.
fn problem(status: StatusCode, text: &str, with_token: bool) -> Failure {
    let said = match serde_json::from_str::<Problem>(text) {
        Ok(problem) => problem.to_string(),
        Err(_) => format!("{status} {}", text.chars().take(300).collect::<String>()),
    };
    let said = sanitize::text(said.trim());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if with_token => Failure::new(Exit::Refused, said)
            .hint("the token is not accepted there: check TIDEMILL_TOKEN, or that `tidemill up` still runs"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::new(Exit::Refused, said)
            .hint("set TIDEMILL_TOKEN; for a master of `tidemill up`, run as the same user"),
        StatusCode::NOT_FOUND => Failure::not_found(said),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Failure::unreachable(said).hint("try again in a moment")
        }
        s if s.is_client_error() => Failure::usage(said),
        s if s.is_redirection() => {
            Failure::usage(format!("the master answered {s}")).hint("give its final address with --master")
        }
        _ => Failure::internal(said),
    }
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    match url.host() {
        Some(url::Host::Ipv4(a)) => a.is_loopback(),
        Some(url::Host::Ipv6(a)) => a.is_loopback(),
        Some(url::Host::Domain(d)) => d == "localhost",
        None => false,
    }
}

/// Events as they come.
pub struct Events {
    pieces: std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<bytes::Bytes>> + Send>>,
    parser: Parser,
    ready: std::collections::VecDeque<Event>,
}

impl Events {
    /// The next event; none when the stream was cut: connect again from the
    /// last id.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match tokio::time::timeout(SILENCE, self.pieces.next()).await {
                Ok(Some(Ok(bytes))) => self.ready.extend(self.parser.push(&bytes)?),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_answer_becomes_its_exit_code_and_cannot_write_to_the_terminal() {
        let body = r#"{"type":"not-found","title":"no builder \u001b[2J","status":404,"detail":"`x`"}"#;
        let failure = problem(StatusCode::NOT_FOUND, body, true);
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.message, "no builder : `x`");
        assert_eq!(problem(StatusCode::FORBIDDEN, "no", false).exit, Exit::Refused);
        assert_eq!(problem(StatusCode::SERVICE_UNAVAILABLE, "", true).exit, Exit::Unreachable);
        assert_eq!(problem(StatusCode::BAD_REQUEST, "x", true).exit, Exit::Usage);
        assert_eq!(problem(StatusCode::INTERNAL_SERVER_ERROR, "x", true).exit, Exit::Internal);
    }
}
