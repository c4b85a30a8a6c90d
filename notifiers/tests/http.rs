//! Documents over HTTP against servers of the test: what arrives, what each
//! answer means, and what is never reached or shown.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_model::Results;
use tidemill_notifiers::http::webhook::Secret;
use tidemill_notifiers::http::zulip::Event;
use tidemill_notifiers::http::{Access, Auth, Client, Hidden, HttpPush, Request, Webhook, Zulip};
use tidemill_notifiers::{Outcome, Verify};
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Clone, Debug)]
struct Asked {
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

type Kept = Arc<Mutex<Vec<Asked>>>;

async fn answer(State(kept): State<Kept>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    kept.lock().unwrap().push(Asked { uri: uri.clone(), headers, body: body.to_vec() });
    match uri.path() {
        "/later" => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "7")], "busy").into_response(),
        "/limited" => (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "60")], "slow down").into_response(),
        "/away" => (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "http://127.0.0.1:1/x")]).into_response(),
        "/wrong" => (StatusCode::BAD_REQUEST, "no\r\n\u{1b}[31m".repeat(1000)).into_response(),
        "/huge" => (StatusCode::OK, vec![b'x'; 20 << 20]).into_response(),
        path => match path.trim_start_matches('/').parse::<u16>() {
            Ok(status) => (StatusCode::from_u16(status).unwrap(), "said").into_response(),
            Err(_) => "ok".into_response(),
        },
    }
}

async fn server() -> (String, Kept) {
    tidemill_service::install_tls();
    let kept = Kept::default();
    let app = Router::new().fallback(answer).with_state(kept.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, kept)
}

fn client() -> Client {
    Client::new(Access { local: true, ..Access::default() }).unwrap()
}

fn push(url: impl Into<String>) -> HttpPush {
    HttpPush { client: client(), to: Request { url: url.into(), ..Request::default() } }
}

#[tokio::test]
async fn a_document_arrives_with_its_headers_and_no_line_more() {
    let (url, kept) = server().await;
    let mut reporter = push(format!("{url}/hook?token=abc"));
    reporter.to.auth = Auth::Basic { user: "ci".into(), password: "ge:heim".into() };
    reporter.to.headers = BTreeMap::from([("X-Build".to_owned(), "1\r\nX-Evil: 2".to_owned())]);
    let outcome = reporter.send("id", &json!({"results": 0, "name": "größe"})).await;
    assert_eq!(outcome, Outcome::Sent { answer: "HTTP 200: ok".into() });
    let asked = kept.lock().unwrap()[0].clone();
    assert_eq!(asked.uri.to_string(), "/hook?token=abc");
    assert_eq!(asked.headers["content-type"], "application/json; charset=utf-8");
    assert_eq!(asked.headers["authorization"], "Basic Y2k6Z2U6aGVpbQ==");
    assert_eq!(asked.headers["x-build"], "1 X-Evil: 2");
    assert!(!asked.headers.contains_key("x-evil"));
    assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap(), json!({"results": 0, "name": "größe"}));

    for (name, value) in [("X Build", "x"), ("X-Build\r\nX-Evil", "x"), ("", "x")] {
        let mut reporter = push(&url);
        reporter.to.headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert!(matches!(reporter.send("id", &json!({})).await, Outcome::Refused { .. }), "{name:?}");
    }
    let mut reporter = push(&url);
    reporter.to.auth = Auth::Bearer("a\r\nX-Evil: 2".into());
    let outcome = reporter.send("id", &json!({})).await;
    assert!(matches!(&outcome, Outcome::Refused { why } if !why.contains("Evil")), "{outcome:?}");
}

#[tokio::test]
async fn each_answer_decides_whether_and_when_it_is_tried_again() {
    let (url, _) = server().await;
    let send = async |path: &str| push(format!("{url}{path}")).send("id", &json!({})).await;
    for path in ["/200", "/201", "/204"] {
        assert!(matches!(send(path).await, Outcome::Sent { .. }), "{path}");
    }
    for path in ["/401", "/408", "/425", "/429", "/500", "/502", "/599"] {
        assert!(matches!(send(path).await, Outcome::Again { after: None, .. }), "{path}");
    }
    for path in ["/400", "/403", "/404", "/410", "/422"] {
        assert!(matches!(send(path).await, Outcome::Refused { .. }), "{path}");
    }
    let after = |outcome: &Outcome| match outcome {
        Outcome::Again { after, .. } => *after,
        _ => None,
    };
    assert_eq!(after(&send("/later").await), Some(Duration::from_secs(7)));
    assert_eq!(after(&send("/limited").await), Some(Duration::from_secs(60)));
    let Outcome::Refused { why } = send("/wrong").await else { panic!() };
    assert!(why.chars().count() < 300 && !why.contains(['\r', '\n', '\u{1b}']), "{why}");
    let Outcome::Sent { answer } = send("/huge").await else { panic!() };
    assert!(answer.chars().count() < 300);
}

#[tokio::test]
async fn a_redirect_leads_nowhere_and_an_address_of_this_machine_is_refused_by_default() {
    let (url, kept) = server().await;
    let outcome = push(format!("{url}/away")).send("id", &json!({})).await;
    assert!(matches!(&outcome, Outcome::Refused { why } if why.contains("redirects are not followed")), "{outcome:?}");
    kept.lock().unwrap().clear();
    let port = url.rsplit_once(':').unwrap().1;
    let guarded = Client::new(Access::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let reporter = HttpPush { client: guarded.clone(), ..push(format!("http://u:geheim@{host}:{port}/?t=geheim")) };
        let outcome = reporter.send("id", &json!({})).await;
        let Outcome::Refused { why } = &outcome else { panic!("{host}: {outcome:?}") };
        assert!(why.contains("notify.local_addresses") && !why.contains("geheim"), "{host}: {why}");
    }
    for never in ["http://169.254.169.254/latest", "file:///etc/passwd", "http://", "ftp://example.org/"] {
        assert!(matches!(push(never).send("id", &json!({})).await, Outcome::Refused { .. }), "{never}");
    }
    assert!(kept.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_is_not_there_is_down_and_who_is_slow_is_tried_again() {
    tidemill_service::install_tls();
    let port = tidemill_tests::cluster::free_port();
    let outcome = push(format!("http://127.0.0.1:{port}/?token=geheim")).send("id", &json!({})).await;
    assert!(matches!(&outcome, Outcome::Down { why } if !why.contains("geheim")), "{outcome:?}");
    let outcome = push("http://nowhere.invalid/").send("id", &json!({})).await;
    assert!(matches!(outcome, Outcome::Down { .. }), "{outcome:?}");

    // Accepts and says nothing, or only the beginning.
    for said in ["", "HTTP/1.1 500 x\r\ncontent-length: 10\r\n\r\nabc"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(said.as_bytes()).await;
            let () = std::future::pending().await;
        });
        let client = Client::new(Access { local: true, within: Duration::from_secs(2), ..Access::default() }).unwrap();
        let reporter = HttpPush { client, ..push(format!("http://127.0.0.1:{port}/")) };
        let outcome = reporter.send("id", &json!({})).await;
        assert!(matches!(outcome, Outcome::Again { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_webhook_proves_itself_and_keeps_its_id_when_it_is_sent_again() {
    let (url, kept) = server().await;
    let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="];
    let webhook = Webhook {
        client: client(),
        to: Request {
            url,
            headers: BTreeMap::from([("Webhook-Id".to_owned(), "forged".to_owned())]),
            ..Request::default()
        },
        secrets: secrets.map(|s| Secret::parse(s).unwrap()).into(),
    };
    let document = json!({"type": "build.finished", "data": {"results": 2}});
    let now = OffsetDateTime::now_utc();
    for at in [now, now + Duration::from_secs(60)] {
        assert!(matches!(webhook.send("delivery_17", at, &document).await, Outcome::Sent { .. }));
    }
    let asked = kept.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    for one in &asked {
        let value = |name: &str| one.headers[name].to_str().unwrap().to_owned();
        assert_eq!(value("webhook-id"), "delivery_17");
        let signed = [format!("delivery_17.{}.", value("webhook-timestamp")).into_bytes(), one.body.clone()].concat();
        let signatures = value("webhook-signature");
        let signatures: Vec<&str> = signatures.split(' ').collect();
        assert_eq!(signatures.len(), 2);
        for (secret, signature) in secrets.iter().zip(signatures) {
            use base64::Engine;
            let decode = |text: &str| base64::prelude::BASE64_STANDARD.decode(text).unwrap();
            let key = hmac::Key::new(hmac::HMAC_SHA256, &decode(secret.strip_prefix("whsec_").unwrap()));
            hmac::verify(&key, &signed, &decode(signature.strip_prefix("v1,").unwrap())).expect("the signature holds");
            assert!(hmac::verify(&key, b"another", &decode(signature.strip_prefix("v1,").unwrap())).is_err());
        }
    }
    assert_ne!(asked[0].headers["webhook-timestamp"], asked[1].headers["webhook-timestamp"]);
    for id in ["", "a.b", "a\r\nb"] {
        assert!(matches!(webhook.send(id, now, &document).await, Outcome::Refused { .. }), "{id:?}");
    }
}

#[tokio::test]
async fn what_a_receiver_repeats_of_a_secret_is_not_kept() {
    tidemill_service::install_tls();
    let answer = |uri: Uri, headers: HeaderMap| async move {
        (StatusCode::BAD_REQUEST, format!("not for {:?} at {uri}: {:?}", headers["authorization"], headers["x-key"]))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook/geheim1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let mut hidden = Hidden::default();
    hidden.add("geheim2");
    for auth in [Auth::Bearer("geheim3".into()), Auth::Basic { user: "ci".into(), password: "geheim3".into() }] {
        let to = Request {
            url: url.clone(),
            shown: Some("the address of the secret hook".into()),
            hidden: hidden.clone(),
            auth,
            headers: BTreeMap::from([("x-key".to_owned(), "key geheim2".to_owned())]),
            ..Request::default()
        };
        let reporter = HttpPush { client: client(), to };
        let outcome = reporter.send("id", &json!({})).await;
        let Outcome::Refused { why } = &outcome else { panic!("{outcome:?}") };
        assert!(why.starts_with("the address of the secret hook: HTTP 400: not for"), "{why}");
        assert_eq!(why.matches("<secret>").count(), 3, "{why}");
        assert!(!format!("{outcome:?} {reporter:?} {:?}", reporter.to.auth).contains("geheim"), "{why}");
    }
}

#[test]
fn the_code_of_the_manual_believes_the_published_example_and_nothing_else() {
    let manual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/webhooks.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let code = manual.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let test = r#"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
headers = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,bm9uc2Vuc2U= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
body = b'{"test": 2432232314}'
assert verified(secret, headers, body, 1614265331)
assert not verified(secret, headers, body + b" ", 1614265331)
assert not verified(secret, headers, body)
assert not verified("whsec_" + "A" * 32, headers, body, 1614265331)
"#;
    let ran = std::process::Command::new("python3").args(["-c", &format!("{code}{test}")]).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[tokio::test]
async fn zulip_is_told_and_its_key_is_in_no_error() {
    let (url, kept) = server().await;
    let event =
        Event { build: 3, builder: "linux", url: "http://ci/3", project: "p", at: 5, results: Some(Results::Failure) };
    let zulip =
        Zulip { client: client(), endpoint: format!("{url}/"), token: "k&y".into(), stream: Some("a b".into()) };
    assert!(matches!(zulip.send(&event).await, Outcome::Sent { .. }));
    let asked = kept.lock().unwrap()[0].clone();
    assert_eq!(asked.uri.to_string(), "/api/v1/external/buildbot?api_key=k%26y&stream=a+b");
    assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap()["results"], json!(2));
    let zulip = Zulip { endpoint: format!("{url}/400"), token: "geheim".into(), ..zulip };
    let away =
        Zulip { endpoint: "http://nowhere.invalid".into(), token: "geheim".into(), stream: None, client: client() };
    for zulip in [zulip, away] {
        assert!(!format!("{:?}", zulip.send(&event).await).contains("geheim"));
    }
}

#[test]
fn files_of_certificates_that_are_none_are_named() {
    tidemill_service::install_tls();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("ca.pem");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [empty, folder.path().join("missing.pem")] {
        let why = Client::new(Access { verify: Verify::Authorities(file.clone()), ..Access::default() }).err().unwrap();
        assert!(why.contains(&file.display().to_string()), "{why}");
    }
}
