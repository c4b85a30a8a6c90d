//! The worker API of a running replica, by a client written from docs/protocol.md.

mod common;

use common::*;
use serde_json::{Value, json};
use std::collections::HashSet;
use tidemill_model::Results;
use tidemill_model::wire::Claim;
use tidemill_schema::workers;

/// A worker that does what its test says.
struct Client {
    url: String,
    token: String,
    session: i64,
    poll: u64,
    newest: i64,
    held: Vec<Value>,
}

impl Client {
    async fn join(world: &World, name: &str) -> Client {
        let token = workers::worker_enrol(world.db(), name).await.unwrap();
        let mut client =
            Client { url: world.one().url.clone(), token, session: 0, poll: 0, newest: 0, held: Vec::new() };
        let hello = json!({"protocol_min": 1, "protocol_max": 1, "name": name, "instance": name, "release": "test",
                           "vocabulary": tidemill_model::wire::VOCABULARY, "slots": 100});
        client.session = client.post("hello", hello).await.1["session"].as_i64().unwrap();
        client
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}/worker/v1/{path}", self.url)).bearer_auth(&self.token);
        let answer = request.json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// The next poll; one whose answer is said to be lost is sent by [`Client::again`].
    async fn poll(&mut self, wait_us: u64) -> Value {
        self.poll += 1;
        self.again(wait_us).await
    }

    async fn again(&mut self, wait_us: u64) -> Value {
        let poll = json!({"session": self.session, "poll": self.poll, "free": 100, "newest": self.newest,
                          "held": self.held, "wait_us": wait_us});
        let (status, reply) = self.post("poll", poll).await;
        assert_eq!(status, 200, "{reply}");
        for claim in reply["claims"].as_array().unwrap() {
            self.newest = self.newest.max(claim["build"].as_i64().unwrap());
            self.held.push(json!({"build": claim["build"], "token": claim["token"]}));
        }
        reply
    }
}

#[tokio::test]
async fn a_stop_is_said_until_its_answer_arrived_and_then_no_more() {
    let world = World::new(1).await;
    let m = world.one();
    project(world.db(), &["b"]).await;
    submit(world.db(), "b", "why").await;
    let mut worker = Client::join(&world, "w").await;
    let build = worker.poll(5_000_000).await["claims"][0]["build"].as_i64().unwrap();
    assert_eq!(worker.poll(0).await["stop"], json!([]));
    let (status, _) = m.post(&format!("/api/v2/builds/{build}/stop"), json!({"reason": "enough"})).await;
    assert_eq!(status, 202);
    for said in [worker.poll(5_000_000).await, worker.again(5_000_000).await, worker.again(5_000_000).await] {
        assert_eq!(said["stop"][0]["build"], build, "the answer may have been lost: {said}");
        assert_eq!(said["stop"][0]["reason"], "enough");
    }
    // The next number says that it arrived: now polls wait again while the command ends.
    assert_eq!(worker.poll(0).await["stop"], json!([]));
    world.end().await;
}

/// One batch of claims has room for a hundred builds, and each of these workers offers as many.
#[tokio::test]
async fn no_waiting_poll_is_always_behind_the_others() {
    let world = World::new(1).await;
    project(world.db(), &["b"]).await;
    let (answers, mut answered) = tokio::sync::mpsc::channel(10);
    let wait = |mut worker: Client| {
        let answers = answers.clone();
        tokio::spawn(async move {
            let reply = worker.poll(30_000_000).await;
            // Nobody hears the last ones.
            let _ = answers.send((worker, reply)).await;
        });
    };
    for n in 0..5 {
        wait(Client::join(&world, &format!("w{n}")).await);
    }
    let mut served = HashSet::new();
    for round in 0.. {
        assert!(round < 60, "only {served:?} were served");
        world.one().post("/api/v2/builders/b/force", json!({})).await;
        let (mut worker, reply) = answered.recv().await.unwrap();
        let claim: Claim = serde_json::from_value(reply["claims"][0].clone()).unwrap();
        served.insert(worker.session);
        if served.len() == 5 {
            break;
        }
        Running::begin(world.db(), claim, "s").await.end(world.db(), Results::Success).await;
        worker.held.clear();
        wait(worker);
    }
    world.end().await;
}

#[tokio::test]
async fn a_goodbye_shows_the_worker_offline_at_once_and_closes_nobody_elses_session() {
    let world = World::new(1).await;
    let m = world.one();
    let (first, second) = (Client::join(&world, "first").await, Client::join(&world, "second").await);
    let connected = async || {
        let workers = m.json("workers?order=workerid").await;
        workers["workers"].as_array().unwrap().iter().map(|w| w["connected"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(first.post("goodbye", json!({"session": second.session})).await.0, 200);
    assert_eq!(connected().await, [true, true]);
    for _ in 0..2 {
        assert_eq!(first.post("goodbye", json!({"session": first.session})).await, (200, json!({})));
    }
    assert_eq!(connected().await, [false, true]);
    let poll = json!({"session": first.session, "poll": 1, "free": 1, "newest": 0, "held": [], "wait_us": 0});
    let (status, problem) = first.post("poll", poll).await;
    assert_eq!((status, &problem["type"]), (409, &json!("session-unknown")), "{problem}");
    world.end().await;
}
