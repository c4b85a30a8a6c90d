//! Requests of a poller's function over HTTP: bounded in time and size, to
//! addresses that [`super::addresses`] allows, through no proxy of the
//! environment, which would resolve names out of our sight.

use super::addresses::{Resolver, check};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, redirect};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::policies::{HttpReply, HttpRequest};
use url::Url;

/// Longest time of one request, with redirects and body.
pub const LONGEST: Duration = Duration::from_secs(120);
/// Longest body.
const BODY_MAX: usize = 8 << 20;
const REDIRECTS_MAX: usize = 5;

pub struct Http {
    client: Result<Client, String>,
    local: bool,
}

impl Http {
    pub fn new(local: bool) -> Http {
        let redirects = redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                return attempt.error(format!("more than {REDIRECTS_MAX} redirects"));
            }
            match check(attempt.url(), local) {
                Ok(()) => attempt.follow(),
                Err(why) => attempt.error(why),
            }
        });
        let client = Client::builder()
            .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirects)
            .dns_resolver(Arc::new(Resolver { local }))
            .connect_timeout(Duration::from_secs(10))
            .build();
        Http { client: client.map_err(|e| reasons(&e)), local }
    }

    pub async fn ask(&self, request: &HttpRequest, within: Duration) -> Result<HttpReply, String> {
        let url = Url::parse(&request.url).map_err(|e| format!("`{}` is no address: {e}", request.url))?;
        let named = named(request, &url);
        check(&url, self.local).map_err(|why| format!("{named}: {why}"))?;
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let method = Method::from_bytes(request.method.as_bytes()).ok().filter(|m| *m != Method::CONNECT);
        let method = method.ok_or_else(|| format!("`{}` is no method", request.method))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let wrong = || format!("`{name}` is no name of a header, or its value is none");
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?,
                HeaderValue::from_str(value).map_err(|_| wrong())?,
            );
        }
        let asked = async {
            let mut reply = client.request(method, url).headers(headers).body(request.body.clone()).send().await?;
            let mut body = Vec::new();
            while let Some(part) = reply.chunk().await? {
                if body.len() + part.len() > BODY_MAX {
                    return Ok(Err(format!("the answer is longer than {} MiB", BODY_MAX >> 20)));
                }
                body.extend_from_slice(&part);
            }
            Ok::<_, reqwest::Error>(Ok((reply.status().as_u16(), lines(reply.headers()), body)))
        };
        let (status, headers, body) = match tokio::time::timeout(within, asked).await {
            Err(_) => return Err(format!("{named}: no whole answer within {} s", within.as_secs_f64())),
            Ok(Err(e)) => return Err(format!("{named}: {}", reasons(&e.without_url()))),
            Ok(Ok(answer)) => answer.map_err(|why| format!("{named}: {why}"))?,
        };
        Ok(HttpReply { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// Without what may be secret in an address: its user and query.
fn named(request: &HttpRequest, url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{} {}://{}{port}{}", request.method, url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// A name that came several times is one line.
fn lines(headers: &HeaderMap) -> Vec<(String, String)> {
    let line = |name: &HeaderName| {
        let values: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        (name.as_str().to_owned(), values.join(", "))
    };
    headers.keys().map(line).collect()
}

/// An error and what caused it.
fn reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let said = e.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = e.source();
    }
    text
}
