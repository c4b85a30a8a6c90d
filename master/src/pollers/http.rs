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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(60);

    /// Answers each request with what `answer` makes of its path.
    async fn server(answer: fn(&str) -> Vec<u8>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut asked = [0; 4096];
                let n = stream.read(&mut asked).await.unwrap_or(0);
                let asked = String::from_utf8_lossy(&asked[..n]).into_owned();
                let _ = stream.write_all(&answer(asked.split(' ').nth(1).unwrap_or_default())).await;
            }
        });
        format!("127.0.0.1:{port}")
    }

    async fn get(local: bool, url: String, within: Duration) -> Result<HttpReply, String> {
        tidemill_service::install_tls();
        let request = HttpRequest { method: "GET".into(), url, ..HttpRequest::default() };
        Http::new(local).ask(&request, within).await
    }

    fn body(text: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            text.len()
        );
        [head.as_bytes(), text].concat()
    }

    fn to(url: &str) -> Vec<u8> {
        format!("HTTP/1.1 302 Found\r\nlocation: {url}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
    }

    #[tokio::test]
    async fn this_machine_is_refused_by_number_and_by_name_unless_the_setting_allows_it() {
        let at = server(|_| body(b"hello")).await;
        let port = at.rsplit_once(':').unwrap().1;
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let url = format!("http://user:geheim@{host}:{port}/?token=geheim");
            let error = get(false, url, LONG).await.unwrap_err();
            assert!(error.contains("poll_local_addresses") && !error.contains("geheim"), "{host}: {error}");
        }
        let reply = get(true, format!("http://localhost:{port}/"), LONG).await.unwrap();
        let a = reply.headers.iter().find(|(n, _)| n == "x-a").map(|(_, v)| v.as_str());
        assert_eq!((reply.status, reply.body.as_str(), a), (200, "hello", Some("1, 2")));
    }

    #[tokio::test]
    async fn a_redirect_is_judged_like_the_first_address_and_ends() {
        let at = server(|path| match path {
            "/metadata" => to("http://169.254.169.254/"),
            "/file" => to("file:///etc/passwd"),
            "/once" => to("/there"),
            "/there" => body(b"there"),
            _ => to("/loop"),
        })
        .await;
        let get = async |path: &str| get(true, format!("http://{at}{path}"), LONG).await;
        assert_eq!(get("/once").await.unwrap().body, "there");
        let error = get("/metadata").await.unwrap_err();
        assert!(error.contains("link-local or metadata"), "{error}");
        let file = get("/file").await;
        assert!(file.as_ref().map_or(true, |r| r.status == 302), "{file:?}");
        let error = get("/loop").await.unwrap_err();
        assert!(error.contains("more than 5 redirects"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_is_bounded_in_size_and_time() {
        let at = server(|path| match path {
            "/large" => body(&vec![b'x'; (8 << 20) + 1]),
            // Promises more than it sends, and keeps still.
            _ => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(),
        })
        .await;
        let error = get(true, format!("http://{at}/large"), LONG).await.unwrap_err();
        assert!(error.contains("longer than 8 MiB"), "{error}");
        let error = get(true, format!("http://{at}/still"), Duration::from_millis(300)).await.unwrap_err();
        assert!(error.contains(&at), "{error}");
    }
}
