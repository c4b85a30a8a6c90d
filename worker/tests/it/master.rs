//! A master in memory: enough of the protocol to judge a worker by.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tidemill_model::log::{Channel, LogSum, decode};
use tidemill_model::problem::{Problem, kinds};
use tidemill_model::revision::Files;
use tidemill_model::wire::*;
use tidemill_model::{NewChange, Properties, Results, SourceStamp};
use tokio::sync::Notify;

pub const TOKEN: &str = "tmw_0123456789";

#[derive(Default)]
pub struct Inner {
    pub queue: VecDeque<Claim>,
    pub revisions: BTreeMap<String, Files>,
    /// Bodies by id.
    pub patches: BTreeMap<i64, Vec<u8>>,
    /// Values by name.
    pub secrets: BTreeMap<String, String>,
    /// Builds are of what an outsider announced.
    pub outsiders: bool,
    pub session: i64,
    pub hellos: Vec<Hello>,
    /// Sessions that were closed.
    pub goodbyes: Vec<i64>,
    pub polls: Vec<Poll>,
    /// How many came, answered or not.
    polled: u64,
    pub builds: BTreeMap<i64, Record>,
    /// Answers 503 to everything.
    pub down: bool,
    /// Answers every hello with this kind of problem.
    pub refuse_hello: Option<&'static str>,
    /// Stores so many batches without answering.
    pub swallow_batches: u32,
    /// Loses the answer to so many polls that gave claims.
    pub swallow_claims: u32,
    pub drain: bool,
    /// What builds asked to trigger, by build, step and number: the newest copy of each.
    pub triggers: BTreeMap<(i64, u32, u32), TriggerCall>,
    /// Stores so many triggers without answering.
    pub swallow_triggers: u32,
    /// Answers every trigger with this text and kind of problem.
    pub refuse_trigger: Option<(&'static str, &'static str)>,
    /// What became of what was triggered; waits are answered when its version is another.
    pub triggered: TriggerState,
    /// Calls that ask for it.
    pub watches: u32,
    /// What the next builds are made for.
    pub changes: Vec<NewChange>,
    next_build: i64,
    pub lease: Duration,
    /// What a worker may never do.
    pub violations: Vec<String>,
}

#[derive(Default)]
pub struct Record {
    pub token: String,
    pub batches: BTreeMap<u64, (Bytes, Vec<Frame>)>,
    pub received: u32,
    pub lost: bool,
    pub stop: Option<Stop>,
    claimed_by: (i64, u64),
    claim: Option<Claim>,
    held: bool,
}

impl Record {
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.batches.values().flat_map(|(_, frames)| frames)
    }

    pub fn events(&self) -> Vec<Event> {
        self.frames().filter_map(|f| if let Frame::Event(e) = f { Some(e.clone()) } else { None }).collect()
    }

    pub fn finish(&self) -> Option<(Results, String)> {
        self.events().into_iter().find_map(|e| match e {
            Event::BuildFinished { results, summary, .. } => Some((results, summary)),
            _ => None,
        })
    }

    /// Name, result and summary of each step that ended.
    pub fn steps(&self) -> Vec<(String, Results, String)> {
        let mut names = BTreeMap::new();
        let mut steps = Vec::new();
        for event in self.events() {
            match event {
                Event::StepStarted { step, name, .. } => {
                    names.insert(step, name);
                }
                Event::StepFinished { step, results, summary, .. } => {
                    steps.push((names[&step].clone(), results, summary));
                }
                _ => {}
            }
        }
        steps
    }

    pub fn step_results(&self) -> Vec<(String, Results)> {
        self.steps().into_iter().map(|(n, r, _)| (n, r)).collect()
    }

    pub fn property(&self, wanted: &str) -> Option<serde_json::Value> {
        self.events().into_iter().rev().find_map(|e| match e {
            Event::PropertySet { name, value, .. } if name == wanted => Some(value),
            _ => None,
        })
    }

    /// Numbers that a step counted.
    pub fn statistics(&self, wanted: u32) -> BTreeMap<String, f64> {
        let all = self.events().into_iter().filter_map(|e| match e {
            Event::StepStatistics { step, values } if step == wanted => Some(values),
            _ => None,
        });
        all.flatten().collect()
    }

    /// What was said of a step's progress, in order.
    pub fn progress(&self, wanted: u32) -> Vec<BTreeMap<String, f64>> {
        let all = self.events().into_iter().filter_map(|e| match e {
            Event::StepProgress { step, values } if step == wanted => Some(values),
            _ => None,
        });
        all.collect()
    }

    /// Number of the log of that name in a step.
    pub fn log_id(&self, step: u32, wanted: &str) -> Option<u32> {
        self.events().into_iter().find_map(|e| match e {
            Event::LogOpened { log, step: s, name, .. } if s == step && name == wanted => Some(log),
            _ => None,
        })
    }

    /// Bytes of one channel; the log's chunks must follow each other.
    pub fn bytes(&self, step: u32, log: &str, channel: Channel) -> Vec<u8> {
        let Some(id) = self.log_id(step, log) else { return Vec::new() };
        let mut sum = LogSum::default();
        let mut bytes = Vec::new();
        for frame in self.frames() {
            match frame {
                Frame::Log { log, chunk } if *log == id => {
                    assert_eq!((chunk.first_byte, chunk.first_line), (sum.bytes, sum.lines), "chunks follow");
                    sum.add(chunk);
                    for run in decode(&chunk.data).unwrap() {
                        if run.channel == channel {
                            bytes.extend(run.bytes);
                        }
                    }
                }
                Frame::Event(Event::LogFinished { log, sum: s }) if *log == id => assert_eq!(*s, sum),
                _ => {}
            }
        }
        bytes
    }

    pub fn text(&self, step: u32, log: &str, channel: Channel) -> String {
        String::from_utf8_lossy(&self.bytes(step, log, channel)).into_owned()
    }

    pub fn stdout(&self, step: u32) -> String {
        self.text(step, "stdio", Channel::Stdout)
    }

    pub fn header(&self, step: u32) -> String {
        self.text(step, "stdio", Channel::Header)
    }
}

#[derive(Clone)]
pub struct Master {
    inner: Arc<Mutex<Inner>>,
    changed: Arc<Notify>,
    pub url: String,
    /// Stops serving when the last one is dropped.
    _server: Arc<Server>,
}

struct Server(tokio::task::JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Master {
    pub async fn start() -> Master {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Mutex::new(Inner { lease: Duration::from_secs(3), ..Default::default() }));
        let changed = Arc::new(Notify::new());
        let routes = Router::new()
            .route("/worker/v1/hello", post(hello))
            .route("/worker/v1/goodbye", post(goodbye))
            .route("/worker/v1/poll", post(poll))
            .route("/worker/v1/batches", post(batch))
            .route("/worker/v1/patch", post(patch))
            .route("/worker/v1/secret", post(secret))
            .route("/worker/v1/revisions/{hash}", get(revision))
            .route("/worker/v1/triggers", post(trigger))
            .route("/worker/v1/triggers/wait", post(trigger_wait))
            .layer(axum::extract::DefaultBodyLimit::max(BATCH_MAX))
            .with_state((inner.clone(), changed.clone()));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Master { inner, changed, url, _server: Arc::new(Server(server)) }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Changes something and wakes waiting polls.
    pub fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.lock());
        self.changed.notify_waiters();
    }

    /// Queues a build of builder `b` whose factory has these steps.
    pub fn build(&self, steps: &str) -> i64 {
        self.build_with(&project(steps), "b", vec![SourceStamp::default()])
    }

    pub fn build_with(&self, project: &str, builder: &str, sourcestamps: Vec<SourceStamp>) -> i64 {
        let files = Files::single(project);
        let mut inner = self.lock();
        inner.next_build += 1;
        let build = inner.next_build;
        let claim = Claim {
            build,
            token: format!("token-{build}"),
            attempt: 1,
            builder: builder.into(),
            builder_id: 1,
            number: build,
            request: build,
            revision: files.hash(),
            properties: Properties::new(),
            sourcestamps,
            reason: "a test".into(),
            changes: inner.changes.clone(),
            trusted: !inner.outsiders,
            url: format!("https://ci.example.org/builders/{builder}/builds/{build}"),
        };
        inner.revisions.insert(files.hash(), files);
        inner.queue.push_back(claim);
        drop(inner);
        self.changed.notify_waiters();
        build
    }

    /// Waits until something is so.
    pub async fn until<R>(&self, what: &str, mut look: impl FnMut(&mut Inner) -> Option<R>) -> R {
        let patience = Duration::from_secs(300);
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if let Some(found) = look(&mut self.lock()) {
                    return found;
                }
                let _ = tokio::time::timeout(Duration::from_millis(20), changed).await;
            }
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(found) => found,
            Err(_) => {
                let inner = self.lock();
                let builds: Vec<_> = inner.builds.iter().map(|(id, r)| (id, r.events())).collect();
                panic!("{what}: not within {patience:?}; builds: {builds:#?}")
            }
        }
    }

    /// Waits for the end of a build.
    pub async fn finished(&self, build: i64) -> (Results, String) {
        self.until("the build ends", |m| m.builds.get(&build)?.finish()).await
    }

    /// Waits until a step has written so.
    pub async fn wrote(&self, build: i64, step: u32, text: &str) {
        let what = format!("step {step} writes {text:?}");
        self.until(&what, |m| m.builds.get(&build)?.stdout(step).contains(text).then_some(())).await;
    }

    pub fn with<R>(&self, build: i64, look: impl FnOnce(&Record) -> R) -> R {
        look(&self.lock().builds[&build])
    }

    pub fn stop(&self, build: i64, results: Results) {
        let stop = Stop { build, reason: "somebody said so".into(), results };
        self.set(|m| m.builds.get_mut(&build).unwrap().stop = Some(stop));
    }
}

/// A project file of one builder.
pub fn project(steps: &str) -> String {
    format!(
        "c = {{}}\nc[\"builders\"] = [util.BuilderConfig(name = \"b\", workernames = [\"*\"], \
         env = {{\"FROM_BUILDER\": \"yes\"}}, factory = util.BuildFactory([{steps}]))]\n"
    )
}

/// A step that runs a shell line.
pub fn sh(line: &str) -> String {
    format!("steps.ShellCommand(name = \"sh\", command = {})", serde_json::to_string(line).unwrap())
}

type Context = State<(Arc<Mutex<Inner>>, Arc<Notify>)>;

fn problem(status: u16, kind: &str) -> Response {
    let problem =
        Problem { kind: kind.into(), title: kind.replace('-', " "), status, detail: String::new(), errors: vec![] };
    let body = serde_json::to_vec(&problem).unwrap();
    (StatusCode::from_u16(status).unwrap(), [("content-type", "application/problem+json")], body).into_response()
}

fn json<T: serde::Serialize>(value: &T) -> Response {
    ([("content-type", "application/json")], serde_json::to_vec(value).unwrap()).into_response()
}

fn gate(inner: &Inner, headers: &axum::http::HeaderMap) -> Option<Response> {
    if inner.down {
        return Some(problem(503, kinds::UNAVAILABLE));
    }
    let bearer = headers.get("authorization").and_then(|v| v.to_str().ok());
    (bearer != Some(&format!("Bearer {TOKEN}"))).then(|| problem(401, kinds::UNAUTHORIZED))
}

async fn hello(State((inner, changed)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let hello: Hello = serde_json::from_slice(&body).unwrap();
    let mut inner = inner.lock().unwrap();
    if let Some(refused) = gate(&inner, &headers) {
        return refused;
    }
    if let Some(kind) = inner.refuse_hello {
        return problem(409, kind);
    }
    inner.hellos.push(hello);
    inner.session += 1;
    changed.notify_waiters();
    let lease_us = inner.lease.as_micros() as u64;
    json(&HelloReply { protocol: 1, session: inner.session, master: "test".into(), lease_us })
}

async fn goodbye(State((inner, changed)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let goodbye: Goodbye = serde_json::from_slice(&body).unwrap();
    let mut inner = inner.lock().unwrap();
    if let Some(refused) = gate(&inner, &headers) {
        return refused;
    }
    if inner.builds.values().any(|b| b.finish().is_none() && !b.lost) {
        inner.violations.push("goodbye before the last build was delivered".into());
    }
    inner.goodbyes.push(goodbye.session);
    changed.notify_waiters();
    json(&serde_json::json!({}))
}

async fn poll(State((inner, changed)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let poll: Poll = serde_json::from_slice(&body).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_micros(poll.wait_us);
    let came = {
        let mut inner = inner.lock().unwrap();
        inner.polled += 1;
        inner.polled
    };
    loop {
        let wake = changed.notified();
        {
            let mut inner = inner.lock().unwrap();
            if let Some(refused) = gate(&inner, &headers) {
                return refused;
            }
            // The worker left this one: claims would go into the void, unless a test asks for that.
            if inner.polled > came {
                return problem(409, kinds::SESSION_UNKNOWN);
            }
            if poll.session != inner.session {
                return problem(409, kinds::SESSION_UNKNOWN);
            }
            let reply = answer(&mut inner, &poll);
            let full = !reply.claims.is_empty() || !reply.lost.is_empty() || !reply.stop.is_empty() || reply.drain;
            if !reply.claims.is_empty() && inner.swallow_claims > 0 {
                inner.swallow_claims -= 1;
                changed.notify_waiters();
                return (StatusCode::BAD_GATEWAY, "a proxy's page").into_response();
            }
            if full || tokio::time::Instant::now() >= deadline {
                inner.polls.push(poll);
                changed.notify_waiters();
                return json(&reply);
            }
        }
        let _ = tokio::time::timeout_at(deadline, wake).await;
    }
}

fn answer(inner: &mut Inner, poll: &Poll) -> PollReply {
    let held: Vec<i64> = poll.held.iter().map(|h| h.build).collect();
    for h in &poll.held {
        let record = inner.builds.entry(h.build).or_default();
        record.held = true;
        if record.token != h.token {
            inner.violations.push(format!("build {} is held with the token {}", h.build, h.token));
        }
    }
    let mut reply = PollReply { drain: inner.drain, ..Default::default() };
    let newest = inner.builds.values().filter(|r| r.claimed_by.0 == poll.session).map(|r| r.claimed_by.1).max();
    for (id, record) in &inner.builds {
        if record.claimed_by.0 == poll.session && *id > poll.newest && !held.contains(id) && record.finish().is_none() {
            reply.claims.extend(record.claim.clone());
        }
        if record.lost && held.contains(id) {
            reply.lost.push(*id);
        }
        if let Some(stop) = record.stop.clone().filter(|_| held.contains(id)) {
            reply.stop.push(stop);
        }
    }
    if newest.is_none_or(|n| poll.poll > n) {
        let room = (poll.free as usize).saturating_sub(reply.claims.len());
        for _ in 0..room {
            let Some(claim) = inner.queue.pop_front() else { break };
            let record = Record {
                token: claim.token.clone(),
                claimed_by: (poll.session, poll.poll),
                claim: Some(claim.clone()),
                ..Default::default()
            };
            inner.builds.insert(claim.build, record);
            reply.claims.push(claim);
        }
    }
    reply
}

async fn batch(State((inner, changed)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let mut inner = inner.lock().unwrap();
    if let Some(refused) = gate(&inner, &headers) {
        return refused;
    }
    let (head, frames) = match decode_batch(body) {
        Ok(batch) => batch,
        Err(error) => {
            inner.violations.push(error.to_string());
            return problem(400, kinds::BAD_REQUEST);
        }
    };
    let session = inner.session;
    let swallow = inner.swallow_batches > 0;
    let mut violation = None;
    let reply = {
        let record = inner.builds.entry(head.build).or_default();
        record.received += 1;
        if record.lost || record.token != head.token {
            return problem(409, kinds::LEASE_LOST);
        }
        if head.session != session {
            return problem(409, kinds::SESSION_UNKNOWN);
        }
        let mut bytes = bytes::BytesMut::new();
        frames.iter().for_each(|f| encode_frame(&mut bytes, f));
        match record.batches.get(&head.batch) {
            Some((old, _)) if *old != bytes.clone().freeze() => {
                violation = Some(format!("batch {} of build {} came with other bytes", head.batch, head.build));
            }
            Some(_) => {}
            None if head.batch != record.batches.len() as u64 + 1 => {
                violation = Some(format!("batch {} of build {} is not the next", head.batch, head.build));
            }
            None => {
                record.batches.insert(head.batch, (bytes.freeze(), frames));
            }
        }
        BatchReply { acked: head.batch, stop: record.stop.clone(), drain: false }
    };
    inner.violations.extend(violation);
    changed.notify_waiters();
    if swallow {
        inner.swallow_batches -= 1;
        return (StatusCode::BAD_GATEWAY, "a proxy's page").into_response();
    }
    json(&reply)
}

async fn trigger(State((inner, changed)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let mut inner = inner.lock().unwrap();
    if let Some(refused) = gate(&inner, &headers) {
        return refused;
    }
    let call: TriggerCall = serde_json::from_slice(&body).unwrap();
    if let Some(problem) = lease(&inner, call.build, &call.token) {
        return problem;
    }
    if let Some((kind, detail)) = inner.refuse_trigger {
        let problem =
            Problem { kind: kind.into(), title: "No".into(), status: 422, detail: detail.into(), errors: vec![] };
        let body = serde_json::to_vec(&problem).unwrap();
        return (StatusCode::UNPROCESSABLE_ENTITY, [("content-type", "application/problem+json")], body)
            .into_response();
    }
    let fired =
        |t: &TriggerTarget| Fired { scheduler: t.scheduler.clone(), unimportant: t.unimportant, buildset: Some(1) };
    let made = call.targets.iter().map(fired).collect();
    let key = (call.build, call.step, call.nth);
    if let Some(first) = inner.triggers.insert(key, call.clone())
        && first != call
    {
        inner.violations.push(format!("the trigger {key:?} came with other words"));
    }
    changed.notify_waiters();
    if inner.swallow_triggers > 0 {
        inner.swallow_triggers -= 1;
        return (StatusCode::BAD_GATEWAY, "a proxy's page").into_response();
    }
    json(&TriggerReply { made, skipped: None })
}

async fn trigger_wait(State((inner, changed)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let watch: TriggerWatch = serde_json::from_slice(&body).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_micros(watch.wait_us);
    inner.lock().unwrap().watches += 1;
    changed.notify_waiters();
    loop {
        let wake = changed.notified();
        {
            let inner = inner.lock().unwrap();
            if let Some(refused) = gate(&inner, &headers).or_else(|| lease(&inner, watch.build, &watch.token)) {
                return refused;
            }
            let state = inner.triggered.clone();
            if state.version != watch.version || state.over() || tokio::time::Instant::now() >= deadline {
                return json(&state);
            }
        }
        let _ = tokio::time::timeout_at(deadline, wake).await;
    }
}

fn lease(inner: &Inner, build: i64, token: &str) -> Option<Response> {
    let record = inner.builds.get(&build)?;
    (record.lost || record.token != token).then(|| problem(409, kinds::LEASE_LOST))
}

async fn secret(State((inner, _)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let wanted: SecretRequest = serde_json::from_slice(&body).unwrap();
    let inner = inner.lock().unwrap();
    if let Some(refused) = gate(&inner, &headers) {
        return refused;
    }
    match inner.builds.get(&wanted.build) {
        Some(record) if record.token == wanted.token && !record.lost => {}
        _ => return problem(409, kinds::LEASE_LOST),
    }
    match inner.secrets.get(&wanted.name) {
        Some(value) => json(&SecretReply { value: value.clone() }),
        None => problem(404, kinds::NOT_FOUND),
    }
}

async fn patch(State((inner, _)): Context, headers: axum::http::HeaderMap, body: Bytes) -> Response {
    let wanted: PatchRequest = serde_json::from_slice(&body).unwrap();
    let inner = inner.lock().unwrap();
    if let Some(refused) = gate(&inner, &headers) {
        return refused;
    }
    match inner.builds.get(&wanted.build) {
        Some(record) if record.token == wanted.token && !record.lost => {}
        _ => return problem(409, kinds::LEASE_LOST),
    }
    match inner.patches.get(&wanted.patch) {
        Some(body) => body.clone().into_response(),
        None => problem(404, kinds::NOT_FOUND),
    }
}

async fn revision(State((inner, _)): Context, Path(hash): Path<String>, headers: axum::http::HeaderMap) -> Response {
    let inner = inner.lock().unwrap();
    if let Some(refused) = gate(&inner, &headers) {
        return refused;
    }
    match inner.revisions.get(&hash) {
        Some(files) => json(&RevisionReply { hash, files: files.clone() }),
        None => problem(404, kinds::NOT_FOUND),
    }
}
