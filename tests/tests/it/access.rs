//! Who may do what: denied unless it is allowed.

use serde_json::json;
use tidemill_schema::{tokens, workers};
use tidemill_tests::Cluster;

async fn status(request: reqwest::RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_changing_route_is_refused_without_a_token_through_a_proxy_and_to_a_workers_token() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let url = t.master_url(m);
    // A hook is refused for want of a proof, not because it is not there.
    t.configure(m, "c = {\"www\": {\"change_hook_dialects\": {\"base\": True, \"poller\": True, \"gerrit\": {}}}}")
        .await;
    let client = reqwest::Client::new();
    let worker_token = workers::worker_enrol(&t.db, "w").await.unwrap();
    let user_token = tokens::user_token_create(&t.db, "ada").await.unwrap();
    let openapi = t.api(m).get("openapi.json").await.unwrap();
    let mut routes: Vec<(String, String)> = Vec::new();
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        let path = if path.starts_with("/api/v2") { path.clone() } else { format!("/api/v2{path}") };
        for method in methods.as_object().unwrap().keys().filter(|k| *k != "parameters") {
            routes.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(routes.len() > 20, "the description lists the routes: {routes:?}");
    for (method, path) in [
        ("POST", "/api/v2/config"),
        ("POST", "/change_hook/base"),
        ("POST", "/change_hook/poller"),
        ("POST", "/change_hook/gerrit/"),
        ("POST", "/changes/held/1/approve"),
        ("POST", "/changes/held/1/refuse"),
        ("POST", "/builders/b/force"),
        ("DELETE", "/api/v2/builders"),
    ] {
        routes.push((method.into(), path.into()));
    }
    for (method, path) in routes {
        let concrete: String =
            path.split('/').map(|s| if s.starts_with('{') { "1" } else { s }).collect::<Vec<_>>().join("/");
        let request = || client.request(method.parse().unwrap(), format!("{url}{concrete}")).json(&json!({}));
        if method == "GET" {
            assert_eq!(status(request().bearer_auth(&worker_token)).await, 403, "a worker's token reads {path}");
            continue;
        }
        assert!(matches!(status(request()).await, 401 | 403), "{method} {path} without a token");
        assert_eq!(status(request().bearer_auth(&worker_token)).await, 403, "{method} {path} with a worker's token");
        assert_eq!(status(request().bearer_auth("tmu_wrong")).await, 401, "{method} {path} with a wrong token");
        let proxied = request().bearer_auth(&t.token).header("x-forwarded-for", "10.0.0.1");
        assert_eq!(status(proxied).await, 401, "{method} {path} with the local token through a proxy");
        let rebound = request().bearer_auth(&t.token).header("host", "evil.example");
        assert_eq!(status(rebound).await, 401, "{method} {path} with the local token and a foreign Host");
        let good = status(request().bearer_auth(&user_token)).await;
        assert!(!matches!(good, 401 | 403), "{method} {path} with a user's token: {good}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_forms_of_a_path_open_nothing() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let address = t.masters[m].address;
    // As they stand, which no HTTP client sends: each puts a path into its usual form first.
    let post = async |path: &str| -> u16 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let body = r#"{"files": {"master.star": ""}}"#;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{path}: {answer}"))
    };
    assert!(matches!(post("/api/v2/config").await, 401 | 403), "the usual form is refused by the guard");
    for path in [
        "/api/v2/config;x",
        "//api/v2/config",
        "/api/v2//config",
        "/api/v2/./config",
        "/API/V2/config",
        "/api/v2/config.",
        "/api/v2/config/",
        "/api/v2/%63onfig",
        "/worker/v1/../../api/v2/config",
        "/worker/v1/%2e%2e/%2e%2e/api/v2/config",
        "/worker/v1/hello/../../../api/v2/config",
        "/change_hook/../api/v2/config",
        "/change_hook/%2e%2e/api/v2/config",
        "/change_hook/base/../../api/v2/config",
        "/api/v2/config%00",
        "/api/v2/config#x",
        "http://127.0.0.1/api/v2/config",
    ] {
        let code = post(path).await;
        assert!(matches!(code, 400 | 401 | 403 | 404 | 405), "{path}: {code}");
    }
    let revisions: i64 =
        sqlx::query_scalar("select count(*) from config_revisions").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(revisions, 0, "nothing was applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_api_takes_workers_tokens_only() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let url = t.master_url(m);
    let client = reqwest::Client::new();
    let user_token = tokens::user_token_create(&t.db, "ada").await.unwrap();
    for path in ["hello", "poll", "batches"] {
        let post = || client.post(format!("{url}/worker/v1/{path}")).json(&json!({}));
        assert_eq!(status(post()).await, 401, "{path} without a token");
        assert_eq!(status(post().bearer_auth("tmw_wrong")).await, 401, "{path} with a wrong token");
        assert_eq!(status(post().bearer_auth(&user_token)).await, 403, "{path} with a user's token");
        assert_eq!(status(post().bearer_auth(&t.token)).await, 403, "{path} with the local token");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_log_or_in_the_process_list() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let w = t.worker("w", &t.master_url(m), 1).await;
    let worker_token = std::fs::read_to_string(t.workers[w].base.join("token")).unwrap();
    for process in [&t.masters[m].process, &t.workers[w].process] {
        let cmdline = std::fs::read_to_string(format!("/proc/{}/cmdline", process.pid())).unwrap();
        for secret in [t.token.as_str(), worker_token.trim()] {
            assert!(!cmdline.contains(secret), "{} shows a token in the process list", process.name);
            assert!(!process.output().contains(secret), "{} logs a token", process.name);
        }
    }
}
