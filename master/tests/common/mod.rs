//! Replicas on a database of their own, and builds as a worker would make them.
#![allow(dead_code)] // each test file uses its own part

mod eventually;
pub mod server;

pub use eventually::eventually;
use futures_util::StreamExt;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use tidemill_master::{Settings, bind, run_on};
use tidemill_model::log::{Channel, ChunkWriter};
use tidemill_model::revision::Files;
use tidemill_model::wire::{BatchHead, Claim, Event, Frame, LogKind};
use tidemill_model::{Results, SessionId, SourceStamp};
use tidemill_schema::claims::{Payloads, Waiting, claim_builds};
use tidemill_schema::config::{Wanted, WantedBuilder, revision_activate, revision_insert};
use tidemill_schema::ingest::{Batch, batches_store};
use tidemill_schema::requests::{NewBuildset, Submitted, buildset_insert};
use tidemill_schema::testing::{TestDb, hello};
use tidemill_schema::{Db, run_tx, sessions, workers};
use tidemill_service::Lifecycle;

const TERM: Duration = Duration::from_secs(60);
/// Of the replicas here, as `up` writes it.
pub const TOKEN: &str = "tml_test";

/// A database with replicas.
pub struct World {
    pub test: TestDb,
    pub replicas: Vec<Replica>,
    cache: tempfile::TempDir,
}

pub struct Replica {
    pub url: String,
    life: Lifecycle,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    pub async fn new(replicas: usize) -> World {
        let test = tidemill_sql::testing::db().await;
        let cache = tempfile::tempdir().unwrap();
        std::fs::create_dir(cache.path().join("reports")).unwrap();
        let mut world = World { test, replicas: Vec::new(), cache };
        for _ in 0..replicas {
            world.start().await;
        }
        world
    }

    async fn start(&mut self) {
        let settings = Settings {
            database_url: self.test.url.clone(),
            max_connections: 8,
            listen: "127.0.0.1:0".parse().unwrap(),
            name: format!("replica{}", self.replicas.len()),
            public_url: None,
            lease: TERM,
            local_token: Some(TOKEN.into()),
            loops: true,
            cache_dir: self.cache.path().into(),
            poll_local_addresses: true,
            secrets_dir: Some(self.cache.path().join("secrets")),
            hook_body_max: Settings::HOOK_BODY_MAX,
            reports: tidemill_master::settings::Reports {
                folder: Some(self.cache.path().join("reports")),
                ..Default::default()
            },
        };
        let listener = bind(&settings).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let life = Lifecycle::new();
        let inner = life.clone();
        let task = tokio::spawn(async move { run_on(listener, settings, inner).await.unwrap() });
        let replica = Replica { url, life, task };
        replica.until_ready().await;
        self.replicas.push(replica);
    }

    pub fn db(&self) -> &Db {
        &self.test.db
    }

    /// A secret that the replicas know.
    pub fn secret(&self, name: &str, value: &str) {
        use std::os::unix::fs::PermissionsExt;
        let dir = self.cache.path().join("secrets");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(name), value).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A report of the replicas' folder.
    pub fn report(&self, name: &str, text: &str) {
        std::fs::write(self.cache.path().join("reports").join(format!("{name}.sql")), text).unwrap();
    }

    pub fn one(&self) -> &Replica {
        &self.replicas[0]
    }

    pub async fn end(mut self) {
        for replica in self.replicas.drain(..) {
            replica.end().await;
        }
        self.test.drop().await;
    }
}

impl Replica {
    async fn until_ready(&self) {
        let client = self.client();
        let url = format!("{}/livez", self.url);
        eventually("the replica to listen", async || client.get(&url).send().await.ok()).await;
    }

    pub async fn end(self) {
        self.life.stop();
        tokio::time::timeout(Duration::from_secs(120), self.task).await.expect("the replica ends").unwrap();
    }

    /// Takes nothing new: streams are to end.
    pub fn drain(&self) {
        self.life.drain();
    }

    fn client(&self) -> Client {
        tidemill_service::install_tls();
        Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
    }

    /// With a token, as programs ask.
    pub async fn get(&self, path: &str) -> Response {
        self.client().get(format!("{}{path}", self.url)).bearer_auth(TOKEN).send().await.unwrap()
    }

    /// As anybody who can reach the address.
    pub async fn anonymous(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.client().get(format!("{}{path}", self.url)).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// As a browser asks.
    pub async fn page(&self, path: &str) -> (StatusCode, String) {
        let answer =
            self.client().get(format!("{}{path}", self.url)).header("accept", "text/html,*/*").send().await.unwrap();
        let status = answer.status();
        if status.is_success() {
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        }
        (status, answer.text().await.unwrap())
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(&format!("/api/v2/{path}")).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A problem document of this status.
    pub async fn problem(&self, path: &str, status: u16) -> Value {
        let answer = self.get(&format!("/api/v2/{path}")).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.post_with(path, body, &[]).await
    }

    pub async fn post_with(&self, path: &str, body: Value, headers: &[(&str, &str)]) -> (StatusCode, Value) {
        let mut request = self.client().request(Method::POST, format!("{}{path}", self.url)).bearer_auth(TOKEN);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A form as a browser posts it.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.client()
            .post(format!("{}{path}", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "text/html")
            .body(body)
            .send()
            .await
            .unwrap()
    }

    pub async fn events(&self, path: &str, last: Option<&str>) -> Sse {
        let mut request = self.client().get(format!("{}{path}", self.url)).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Sse { body: Box::pin(answer.bytes_stream()), text: String::new(), ready: VecDeque::new() }
    }
}

/// A stream of server-sent events.
pub struct Sse {
    body: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    text: String,
    ready: VecDeque<Got>,
}

/// A block of the stream, comments as `: …`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Got {
    pub event: String,
    pub data: String,
    pub id: String,
    pub comment: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Sse {
    /// The next block; none at the end.
    pub async fn next(&mut self) -> Option<Got> {
        loop {
            if let Some(got) = self.ready.pop_front() {
                return Some(got);
            }
            let piece =
                tokio::time::timeout(Duration::from_secs(120), self.body.next()).await.expect("something comes");
            self.text.push_str(std::str::from_utf8(&piece?.ok()?).unwrap());
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let mut got = Got::default();
                for line in block.lines() {
                    match line.split_once(": ").or_else(|| line.split_once(':')).unwrap_or((line, "")) {
                        ("event", v) => got.event = v.into(),
                        ("data", v) => got.data.push_str(v),
                        ("id", v) => got.id = v.into(),
                        ("", v) => got.comment = v.into(),
                        _ => {}
                    }
                }
                self.ready.push_back(got);
                self.text = rest.to_owned();
            }
        }
    }

    /// The next block that has data.
    pub async fn event(&mut self) -> Got {
        loop {
            let got = self.next().await.expect("the stream goes on");
            if !got.data.is_empty() {
                return got;
            }
        }
    }

    /// The id of the place where the stream begins.
    pub async fn begin(&mut self) -> String {
        assert_eq!(self.next().await.unwrap().comment, "hello");
        let from = self.next().await.unwrap();
        assert!(!from.id.is_empty());
        from.id
    }
}

/// A real project file becomes the active revision.
pub async fn apply(db: &Db, text: &str) {
    let files = Files::single(text.to_owned());
    let project =
        tidemill_lang::Project::evaluate(&files, &tidemill_lang::Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    let definition = serde_json::to_value(project.definition()).unwrap();
    let wanted = tidemill_master::projects::wanted(project.definition());
    run_tx!(db, "test", |c| {
        let id = revision_insert(c, &files, &definition, 1, "", "test").await?;
        revision_activate(c, id, &wanted).await
    })
    .unwrap();
    settled(db).await;
}

/// Builders that any worker may build.
pub async fn project(db: &Db, builders: &[&str]) {
    let builders = builders
        .iter()
        .map(|b| WantedBuilder {
            name: (*b).into(),
            any_worker: true,
            tags: vec!["fast".into()],
            description: "what <b>it</b> does".into(),
            ..WantedBuilder::default()
        })
        .collect();
    let wanted = Wanted { builders, ..Wanted::default() };
    let files = Files::single(format!("# {wanted:?}"));
    run_tx!(db, "test", |c| {
        let id = revision_insert(c, &files, &serde_json::json!({}), 1, "", "test").await?;
        revision_activate(c, id, &wanted).await
    })
    .unwrap();
    settled(db).await;
}

/// Waits until readers of the stream see all events there are: a transaction of
/// another test on the same server may hold the horizon back.
pub async fn settled(db: &Db) {
    until(db, "select not exists (select 1 from events where xid >= tidemill_horizon())").await;
}

/// Waits until somebody waits for a lock in this database.
pub async fn waits_for_a_lock(db: &Db) {
    until(
        db,
        "select exists (select from pg_stat_activity
                         where datname = current_database() and wait_event_type = 'Lock')",
    )
    .await;
}

/// Waits until the database says yes to a question.
pub async fn until(db: &Db, sql: &'static str) {
    let ask = async || sqlx::query_scalar::<_, bool>(sql).fetch_one(db.pool()).await.unwrap();
    eventually(sql, async || ask().await.then_some(())).await;
}

pub async fn worker(db: &Db, name: &str) -> SessionId {
    let token = workers::worker_enrol(db, name).await.unwrap();
    run_tx!(db, "test", |c| {
        let (id, _) = workers::worker_by_token(c, &token).await?.expect("just enrolled");
        sessions::session_open(c, id, &hello(name), 1, TERM).await
    })
    .unwrap()
}

pub async fn submit(db: &Db, builder: &str, reason: &str) -> Submitted {
    let new = NewBuildset {
        reason: reason.into(),
        sourcestamps: vec![SourceStamp {
            repository: "https://git.example/x.git".into(),
            branch: Some("main".into()),
            revision: Some("4f2a1c".into()),
            ..SourceStamp::default()
        }],
        builders: vec![builder.into()],
        ..NewBuildset::default()
    };
    run_tx!(db, "test", |c| buildset_insert(c, &new).await).unwrap()
}

/// A claim of the oldest request, by a poll whose number rises by itself.
pub async fn claim(db: &Db, session: SessionId) -> Claim {
    let (newest, poll): (i64, i64) =
        sqlx::query_as("select coalesce(max(id), 0), coalesce(max(poll), 0) from builds where session_id = $1")
            .bind(session.0)
            .fetch_one(db.pool())
            .await
            .unwrap();
    let lanes: Vec<i64> = sqlx::query_scalar("select id from lanes").fetch_all(db.pool()).await.unwrap();
    let lanes: Vec<(i64, i64)> = lanes.into_iter().map(|l| (l, 0)).collect();
    let mut c = db.pool().acquire().await.unwrap();
    let waiting = [Waiting { session, poll: poll as u64 + 1, free: 1, newest }];
    let mut claimed = claim_builds(&mut c, &mut Payloads::default(), &waiting, &lanes, TERM).await.unwrap();
    claimed.by_session.remove(&session).unwrap_or_default().remove(0)
}

/// A build at work: what its worker reports next.
pub struct Running {
    pub claim: Claim,
    writer: ChunkWriter,
    batch: u64,
}

impl Running {
    /// Begun, with one step that has one log.
    pub async fn begin(db: &Db, claim: Claim, step: &str) -> Running {
        let mut running = Running { claim, writer: ChunkWriter::new(), batch: 0 };
        let log =
            Event::LogOpened { log: 0, step: 0, name: "stdio".into(), slug: "stdio".into(), kind: LogKind::Stdio };
        let events = vec![Event::StepStarted { step: 0, name: step.into(), at_us: 0 }, log];
        running.report(db, events.into_iter().map(Frame::Event).collect()).await;
        running
    }

    pub async fn report(&mut self, db: &Db, frames: Vec<Frame>) {
        self.batch += 1;
        let head = BatchHead {
            session: 0,
            build: self.claim.build,
            token: self.claim.token.clone(),
            batch: self.batch,
            sent_at_us: 1_000,
        };
        batches_store(db, &[Batch { head, frames }]).await.unwrap();
    }

    pub async fn write(&mut self, db: &Db, channel: Channel, bytes: &[u8]) {
        let mut frames = Vec::new();
        self.writer.write(channel, bytes, |chunk| frames.push(Frame::Log { log: 0, chunk }));
        frames.extend(self.writer.cut().map(|chunk| Frame::Log { log: 0, chunk }));
        self.report(db, frames).await;
    }

    pub async fn end(mut self, db: &Db, results: Results) {
        let events = vec![
            Event::LogFinished { log: 0, sum: self.writer.sum() },
            Event::StepFinished {
                step: 0,
                results,
                summary: results.name().into(),
                hidden: false,
                lock_wait_us: None,
                at_us: 900,
            },
            Event::BuildFinished { results, summary: results.name().into(), at_us: 1_000 },
        ];
        self.report(db, events.into_iter().map(Frame::Event).collect()).await;
    }

    pub async fn log(&self, db: &Db) -> i64 {
        sqlx::query_scalar("select id from logs where build_id = $1")
            .bind(self.claim.build)
            .fetch_one(db.pool())
            .await
            .unwrap()
    }
}
