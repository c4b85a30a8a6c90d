//! Requests to others: bounded in time and size, without redirects, without a
//! proxy of the environment, to addresses that [`super::reach`] allows. Neither
//! what is secret in an address nor a header of it comes into an error.

use super::answer::{Answer, retry_after, until};
use super::hidden::Hidden;
use super::reach::{Resolver, check};
use crate::line::one_line;
use crate::{Outcome, Verify};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Identity, Method, redirect};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use url::Url;

/// Of an answer's body; the rest is not read.
const BODY_MAX: usize = 64 << 10;

/// How a service is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    pub verify: Verify,
    pub cert: Option<ClientCert>,
    /// Whole time of one request.
    pub within: Duration,
    /// Whether this machine itself may be reached.
    pub local: bool,
}

impl Default for Access {
    fn default() -> Access {
        Access { verify: Verify::Yes, cert: None, within: Duration::from_secs(30), local: false }
    }
}

/// A client's certificate and key, files of PEM.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientCert {
    pub cert: PathBuf,
    /// None: it stands in the file of the certificate.
    pub key: Option<PathBuf>,
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    None,
    Basic {
        user: String,
        password: String,
    },
    Bearer(String),
    /// A header of the service's own, and its value.
    Header(&'static str, String),
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::None => "None",
            Auth::Basic { .. } => "Basic(…)",
            Auth::Bearer(_) => "Bearer(…)",
            Auth::Header(..) => "Header(…)",
        })
    }
}

/// One request; its body is JSON unless a header says otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    pub url: String,
    /// How the address is called where it is a secret itself.
    pub shown: Option<String>,
    /// Secrets in it, beside those of `auth`.
    pub hidden: Hidden,
    pub auth: Auth,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    /// Whom it is for, without secrets.
    pub fn named(&self) -> String {
        self.shown.clone().unwrap_or_else(|| named(&self.url))
    }

    /// The answer for people's eyes.
    pub fn masked(&self, answer: Answer) -> Answer {
        let hidden = self.hidden();
        Answer { body: hidden.mask(&answer.body), location: answer.location.as_ref().map(|l| hidden.mask(l)), ..answer }
    }

    /// All that nobody is to read in an answer.
    fn hidden(&self) -> Hidden {
        let mut hidden = self.hidden.clone();
        match &self.auth {
            Auth::None => {}
            Auth::Basic { user, password } => {
                hidden.add(password);
                hidden.add(&BASE64_STANDARD.encode(format!("{user}:{password}")));
            }
            Auth::Bearer(token) => hidden.add(token),
            Auth::Header(_, value) => hidden.add(value.rsplit(' ').next().unwrap_or_default()),
        }
        if let Ok(url) = Url::parse(&self.url) {
            hidden.add(url.password().unwrap_or_default());
            if self.shown.is_some() {
                hidden.add(&self.url);
                hidden.add(url.path());
            }
        }
        hidden
    }
}

/// For one [`Access`]; keeps its connections.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    access: Access,
}

impl Client {
    /// # Errors
    /// If a file of certificates cannot be used: which, and why.
    pub fn new(access: Access) -> Result<Client, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("tidemill/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .dns_resolver(Arc::new(Resolver { local: access.local }))
            .connect_timeout(Duration::from_secs(10).min(access.within))
            .pool_idle_timeout(Duration::from_secs(30));
        match &access.verify {
            Verify::Yes => {}
            Verify::No => builder = builder.tls_danger_accept_invalid_certs(true),
            Verify::Authorities(file) => {
                let found = Certificate::from_pem_bundle(&read(file)?).map_err(|e| wrong(file, &reasons(&e)))?;
                if found.is_empty() {
                    return Err(wrong(file, "there is no certificate in it"));
                }
                builder = builder.tls_certs_only(found);
            }
        }
        if let Some(ClientCert { cert, key }) = &access.cert {
            let mut pem = read(cert)?;
            if let Some(key) = key {
                pem.push(b'\n');
                pem.extend(read(key)?);
            }
            let identity = Identity::from_pem(&pem).map_err(|e| wrong(cert, &reasons(&e)))?;
            builder = builder.identity(identity);
        }
        let client = builder.build().map_err(|e| format!("no HTTP client: {}", reasons(&e)))?;
        Ok(Client { client, access })
    }

    /// Posts it, and judges the answer by the rules of HTTP.
    pub async fn send(&self, request: &Request) -> Outcome {
        match self.ask(request).await {
            Ok(answer) => answer.judge(&request.named()),
            Err(outcome) => outcome,
        }
    }

    /// Posts it. What others repeat of its secrets is left out of the answer.
    ///
    /// # Errors
    /// What to make of it where there is no answer.
    pub async fn ask(&self, request: &Request) -> Result<Answer, Outcome> {
        Ok(request.masked(self.ask_raw(request).await?))
    }

    /// Posts it, for an answer that holds a secret itself.
    ///
    /// # Errors
    /// As of [`Client::ask`].
    pub async fn ask_raw(&self, request: &Request) -> Result<Answer, Outcome> {
        let refused = |why: String| Outcome::Refused { why: one_line(&why, 400) };
        let url = Url::parse(&request.url).map_err(|e| refused(format!("the address cannot be read: {e}")))?;
        let named = request.named();
        check(&url, self.access.local).map_err(|why| refused(format!("{named}: {why}")))?;
        let headers = headers(request).map_err(|why| refused(format!("{named}: {why}")))?;
        let asked = async {
            let sent = self.client.request(Method::POST, url).headers(headers).body(request.body.clone()).send();
            let mut reply = sent.await.map_err(|e| (e, None))?;
            let mut answer = head(reply.status().as_u16(), reply.headers());
            let mut body = Vec::new();
            // What it said counts, even if it does not finish.
            while let Ok(Some(part)) = reply.chunk().await {
                let room = BODY_MAX - body.len();
                body.extend_from_slice(&part[..part.len().min(room)]);
                if part.len() >= room {
                    break;
                }
            }
            answer.body = String::from_utf8_lossy(&body).into_owned();
            Ok::<_, (reqwest::Error, Option<u16>)>(answer)
        };
        match tokio::time::timeout(self.access.within, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            // It may have been taken: what identifies the delivery is the same the next time.
            Err(_) => {
                let why = format!("{named}: no whole answer within {} s", self.access.within.as_secs_f64());
                Err(Outcome::Again { why, after: None })
            }
            Ok(Err((e, _))) => {
                let refused_address = chain(&e).any(|c| c.is::<super::reach::Refused>());
                let down = e.is_connect() || e.is_timeout();
                let why = one_line(&format!("{named}: {}", reasons(&e.without_url())), 400);
                Err(match () {
                    () if refused_address => Outcome::Refused { why },
                    () if down => Outcome::Down { why },
                    () => Outcome::Again { why, after: None },
                })
            }
        }
    }
}

/// The address for people, without its user and query, in which secrets stand.
pub fn named(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "the address".to_owned() };
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    one_line(&format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()), 200)
}

/// Where a delivery goes, for bounds of its own: `host:port`.
pub fn destination(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

fn headers(request: &Request) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    for (name, value) in &request.headers {
        let shown = one_line(name, 40);
        let parsed =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{shown}` is no name of a header"))?;
        // Of several lines one is made: nothing that stands in a value begins another header.
        let value =
            HeaderValue::from_str(&one_line(value, 4000)).map_err(|_| format!("the value of `{shown}` is none"))?;
        headers.insert(parsed, value);
    }
    let (name, value) = match &request.auth {
        Auth::None => return Ok(headers),
        Auth::Basic { user, password } => {
            (AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
        }
        Auth::Bearer(token) => (AUTHORIZATION, format!("Bearer {}", token.trim())),
        Auth::Header(name, token) => (HeaderName::from_static(name), token.trim().to_owned()),
    };
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| "the token cannot stand in a header: it holds line breaks or the like".to_owned())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(headers)
}

fn head(status: u16, headers: &HeaderMap) -> Answer {
    let value = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let now = OffsetDateTime::now_utc();
    let spent = value("x-ratelimit-remaining").is_some_and(|left| left.trim() == "0");
    let after = value(RETRY_AFTER.as_str())
        .and_then(|v| retry_after(v, now))
        .or_else(|| value("x-ratelimit-reset").filter(|_| spent).and_then(|v| until(v, now)));
    Answer { status, after, location: value("location").map(str::to_owned), body: String::new() }
}

fn read(file: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| wrong(file, &e.to_string()))
}

fn wrong(file: &std::path::Path, why: &str) -> String {
    format!("the certificates in {}: {why}", file.display())
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |e| (**e).source())
}

/// An error and what caused it.
fn reasons(error: &(dyn Error + 'static)) -> String {
    chain(error).fold(String::new(), |text, e| {
        let said = e.to_string();
        match text.as_str() {
            "" => said,
            t if t.contains(&said) => text,
            _ => format!("{text}: {said}"),
        }
    })
}
