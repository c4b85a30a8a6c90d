//! The worker API of a running replica, by a client written from docs/protocol.md.

mod common;

use common::*;
use serde_json::{Value, json};
use std::collections::HashSet;
use tidemill_model::Properties;
use tidemill_model::Results;
use tidemill_model::wire::{self, BatchHead, Claim, Event, Frame, LogKind};
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::run_tx;
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

    /// A batch of events of a build, as its worker sends it.
    async fn report(&self, claim: &Value, batch: u64, events: Vec<Event>) -> (u16, Value) {
        let (build, token) = (claim["build"].as_i64().unwrap(), claim["token"].as_str().unwrap().to_owned());
        let mut body = bytes::BytesMut::new();
        wire::encode_head(&mut body, &BatchHead { session: self.session, build, token, batch, sent_at_us: 1 });
        events.into_iter().for_each(|e| wire::encode_frame(&mut body, &Frame::Event(e)));
        self.send(body.freeze()).await
    }

    async fn send(&self, body: bytes::Bytes) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{}/worker/v1/batches", self.url)).bearer_auth(&self.token);
        let answer = request.header("content-type", wire::BATCH_CONTENT_TYPE).body(body).send().await.unwrap();
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
    let build = worker.poll(30_000_000).await["claims"][0]["build"].as_i64().unwrap();
    assert_eq!(worker.poll(0).await["stop"], json!([]));
    let (status, _) = m.post(&format!("/api/v2/builds/{build}/stop"), json!({"reason": "enough"})).await;
    assert_eq!(status, 202);
    for said in [worker.poll(30_000_000).await, worker.again(30_000_000).await, worker.again(30_000_000).await] {
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

fn opened(log: u32) -> Event {
    Event::LogOpened { log, step: 1, name: "l".into(), slug: "l".into(), kind: LogKind::Text }
}

fn ended() -> Event {
    Event::BuildFinished { results: Results::Success, summary: String::new(), at_us: 1 }
}

/// Two builds whose properties are together more than one answer carries.
#[tokio::test]
async fn claims_too_large_for_one_answer_come_one_after_the_other() {
    let world = World::new(1).await;
    project(world.db(), &["a", "b"]).await;
    let mut properties = Properties::new();
    properties.set("x", "y".repeat(12 << 20), "here");
    let new = NewBuildset { builders: vec!["a".into(), "b".into()], properties, ..NewBuildset::default() };
    run_tx!(world.db(), "test", |c| buildset_insert(c, &new).await).unwrap();
    let mut worker = Client::join(&world, "w").await;
    let mut builds = Vec::new();
    for _ in 0..2 {
        let reply = worker.poll(30_000_000).await;
        let claims = reply["claims"].as_array().unwrap();
        assert_eq!(claims.len(), 1);
        builds.push(claims[0]["build"].as_i64().unwrap());
    }
    assert!(builds[0] < builds[1], "{builds:?}");
    world.end().await;
}

/// As after a fail-over to a standby that was behind: ids were given once more, to other things.
#[tokio::test]
async fn what_was_remembered_of_a_database_is_forgotten_with_the_connection_to_it() {
    let world = World::new(1).await;
    project(world.db(), &["a", "b"]).await;
    let new = NewBuildset { builders: vec!["a".into()], reason: "before".into(), ..NewBuildset::default() };
    let made = run_tx!(world.db(), "test", |c| buildset_insert(c, &new).await).unwrap();
    let mut worker = Client::join(&world, "w").await;
    assert_eq!(worker.poll(30_000_000).await["claims"][0]["reason"], "before");
    let sql = format!(
        "update buildsets set reason = 'after';
         insert into build_requests (buildset_id, builder_id) select {set}, id from builders where name = 'b';
         select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and pid <> pg_backend_pid();
         insert into request_queue (lane, request_id, buildset_id)
         select l.id, r.id, r.buildset_id from build_requests r join lanes l on l.builder_id = r.builder_id
          where r.id not in (select request_id from builds)",
        set = made.buildset.0
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(world.db().pool()).await.unwrap();
    // Polls that meet the cut connections are refused, and sent again.
    worker.poll += 1;
    let claims = loop {
        let poll = json!({"session": worker.session, "poll": worker.poll, "free": 100, "newest": worker.newest,
                          "held": [], "wait_us": 20_000_000});
        let (status, reply) = worker.post("poll", poll).await;
        match status {
            200 => break reply["claims"].clone(),
            status => assert_eq!(status, 503, "{reply}"),
        }
    };
    assert_eq!(claims[0]["reason"], "after", "{claims}");
    world.end().await;
}

/// A worker opens logs faster than housekeeping makes their partitions.
#[tokio::test]
async fn a_chunk_without_a_partition_is_stored_when_it_has_been_made() {
    let world = World::new(1).await;
    project(world.db(), &["b"]).await;
    submit(world.db(), "b", "why").await;
    let mut worker = Client::join(&world, "w").await;
    let claim = worker.poll(30_000_000).await["claims"][0].clone();
    sqlx::raw_sql("alter table logs alter column id restart with 50000000").execute(world.db().pool()).await.unwrap();
    let mut writer = tidemill_model::log::ChunkWriter::new();
    writer.write(tidemill_model::log::Channel::Stdout, b"hello\n", |_| ());
    let (build, token) = (claim["build"].as_i64().unwrap(), claim["token"].as_str().unwrap().to_owned());
    let mut body = bytes::BytesMut::new();
    wire::encode_head(&mut body, &BatchHead { session: worker.session, build, token, batch: 1, sent_at_us: 1 });
    wire::encode_frame(&mut body, &Frame::Event(opened(1)));
    wire::encode_frame(&mut body, &Frame::Log { log: 1, chunk: writer.cut().unwrap() });
    let (status, said) = worker.send(body.freeze()).await;
    assert_eq!(status, 200, "{said}");
    let stored: i64 = sqlx::query_scalar("select count(*) from log_chunks").fetch_one(world.db().pool()).await.unwrap();
    assert_eq!(stored, 1);
    world.end().await;
}

#[tokio::test]
async fn a_log_that_is_opened_again_uses_up_no_number() {
    let world = World::new(1).await;
    project(world.db(), &["b"]).await;
    submit(world.db(), "b", "why").await;
    let mut worker = Client::join(&world, "w").await;
    let claim = worker.poll(30_000_000).await["claims"][0].clone();
    for batch in 1..=5 {
        assert_eq!(worker.report(&claim, batch, (1..=10).map(opened).collect()).await.0, 200);
    }
    assert_eq!(worker.report(&claim, 6, vec![opened(11)]).await.0, 200);
    let ids: Vec<i64> =
        sqlx::query_scalar("select id from logs order by id").fetch_all(world.db().pool()).await.unwrap();
    assert_eq!(ids.last().unwrap() - ids[0], 10);
    world.end().await;
}

/// Batches of one commit, of which some cannot be stored: each is judged by itself.
#[tokio::test]
async fn what_cannot_be_stored_or_read_is_refused_and_its_neighbours_are_stored() {
    let world = World::new(1).await;
    project(world.db(), &["b"]).await;
    for _ in 0..12 {
        submit(world.db(), "b", "why").await;
    }
    let mut worker = Client::join(&world, "w").await;
    let mut claims = Vec::new();
    while claims.len() < 12 {
        claims.extend(worker.poll(30_000_000).await["claims"].as_array().unwrap().clone());
    }
    sqlx::raw_sql(
        "create function refuse() returns trigger language plpgsql as $$
             begin raise exception using errcode = '22000', message = 'no'; end $$;
         create trigger refuse before insert on steps for each row when (new.name = 'bad') execute function refuse()",
    )
    .execute(world.db().pool())
    .await
    .unwrap();
    let step = |n: usize| {
        let name = if n % 5 == 2 { "bad" } else { "good" };
        vec![Event::StepStarted { step: 1, name: name.into(), at_us: 1 }, ended()]
    };
    let all = claims.iter().enumerate().map(|(n, claim)| worker.report(claim, 1, step(n)));
    let answers = futures_util::future::join_all(all).await;
    let refused: Vec<usize> = (0..12).filter(|n| answers[*n].0 == 400).collect();
    let stored = answers.iter().filter(|a| a.0 == 200).count();
    assert_eq!((refused, stored), (vec![2, 7], 10), "{answers:?}");
    // Two ends in one batch are no batch.
    let (status, said) = worker.report(&claims[2], 2, vec![ended(), ended()]).await;
    assert_eq!((status, &said["type"]), (400, &json!("bad-request")), "{said}");
    world.end().await;
}
