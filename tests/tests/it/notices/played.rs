//! What is told by HTTP, played: it keeps what it is asked, and answers as the test says.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, wait_until};

/// One request, and what was answered.
#[derive(Clone, Debug)]
pub struct Asked {
    /// With its query.
    pub path: String,
    pub headers: HeaderMap,
    pub raw: Vec<u8>,
    /// Null if it is no JSON.
    pub body: Value,
    pub status: u16,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

type Answers = Arc<dyn Fn(Asked) -> Pin<Box<dyn Future<Output = (u16, String)> + Send>> + Send + Sync>;

#[derive(Clone)]
struct Played {
    asked: Arc<Mutex<Vec<Asked>>>,
    answers: Answers,
}

pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    /// It answers at once.
    pub async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Server {
        let answer = Arc::new(answer);
        Server::with(move |asked| {
            let answer = answer.clone();
            Box::pin(async move { answer(&asked) })
        })
        .await
    }

    /// It answers when it likes.
    pub async fn with(
        answer: impl Fn(Asked) -> Pin<Box<dyn Future<Output = (u16, String)> + Send>> + Send + Sync + 'static,
    ) -> Server {
        let played = Played { asked: Arc::default(), answers: Arc::new(answer) };
        let asked = played.asked.clone();
        let router = Router::new().fallback(handle).with_state(played);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Server { url, asked, serving }
    }

    /// What was answered so far, in the order of the answers.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Those below a path.
    pub fn asked_at(&self, path: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| a.path.contains(path)).collect()
    }

    /// Waits until so many were answered below a path.
    pub async fn wait_for(&self, path: &str, count: usize) -> Vec<Asked> {
        wait_until(&format!("{count} requests for {path}"), || async {
            let asked = self.asked_at(path);
            holds(asked.len() >= count, format!("{} came: {:?}", asked.len(), self.asked())).map(|()| asked)
        })
        .await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn handle(State(played): State<Played>, uri: Uri, headers: HeaderMap, body: Bytes) -> (StatusCode, String) {
    let mut asked = Asked {
        path: uri.to_string(),
        headers,
        raw: body.to_vec(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        status: 0,
    };
    let (status, said) = (played.answers)(asked.clone()).await;
    asked.status = status;
    played.asked.lock().unwrap().push(asked);
    (StatusCode::from_u16(status).unwrap(), said)
}

/// Tells the master of a change, as a hook of a forge would.
pub async fn change(t: &Cluster, m: usize, about: Value) {
    let mut body = json!({ "author": "Ada <ada@example.org>", "comments": "a change", "project": "octocat/hello" });
    for (name, value) in about.as_object().unwrap() {
        body[name] = value.clone();
    }
    let request = reqwest::Client::new().post(format!("{}/change_hook/base", t.master_url(m))).bearer_auth(&t.token);
    let answer = request.json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{} {}", answer.status(), answer.text().await.unwrap());
}

/// Everything that a notice left in the database.
pub async fn left(t: &Cluster) -> String {
    let rows: Vec<String> = sqlx::query_scalar(
        "select to_jsonb(d)::text from deliveries d union all select to_jsonb(x)::text from destinations x
         union all select to_jsonb(e)::text from events e",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    rows.join("\n")
}
