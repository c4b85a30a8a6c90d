//! Event and log streams of running replicas.

mod common;

use base64::Engine;
use common::*;
use serde_json::json;
use tidemill_model::Results;
use tidemill_model::log::Channel;

#[tokio::test]
async fn a_client_resumes_on_another_replica_and_misses_nothing() {
    let world = World::new(2).await;
    project(world.db(), &["fast"]).await;
    let (one, two) = (&world.replicas[0], &world.replicas[1]);
    let mut events = one.events("/api/v2/events?kind=changes", None).await;
    let begin = events.begin().await;
    let change = |n: i64| json!({"author": "me", "comments": format!("{n}")});
    one.post("/api/v2/changes", change(1)).await;
    let first = events.event().await;
    assert_eq!((&first.json()["kind"], &first.json()["changeid"]), (&json!("changes.new"), &json!(1)));
    drop(events);

    two.post("/api/v2/changes", change(2)).await;
    let mut resumed = two.events("/api/v2/events?kind=changes", Some(&first.id)).await;
    assert_eq!(resumed.event().await.json()["changeid"], 2);
    one.post("/api/v2/changes", change(3)).await;
    assert_eq!(resumed.event().await.json()["changeid"], 3);

    // From the very beginning: each once, in order.
    let mut whole = one.events("/api/v2/events?kind=changes.new", Some(&begin)).await;
    for n in 1..=3 {
        assert_eq!(whole.event().await.json()["changeid"], n);
    }
    world.end().await;
}

#[tokio::test]
async fn a_place_that_is_not_kept_is_a_reset_and_the_stream_goes_on() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    for last in ["garbage", "1-1", "9223372036854775807-1"] {
        let mut events = world.one().events("/api/v2/events", Some(last)).await;
        assert_eq!(events.event().await.event, "reset", "{last}");
        world.one().post("/api/v2/changes", json!({"author": "me"})).await;
        assert_eq!(events.event().await.json()["kind"], "changes.new");
    }
    world.end().await;
}

#[tokio::test]
async fn an_event_that_an_older_writer_holds_back_comes_when_that_one_ends() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let mut events = world.one().events("/api/v2/events?kind=changes", None).await;
    events.begin().await;
    let mut writer = world.db().pool().begin().await.unwrap();
    sqlx::query("select pg_current_xact_id()").execute(&mut *writer).await.unwrap();
    for _ in 0..3 {
        world.one().post("/api/v2/changes", json!({"author": "me"})).await;
    }
    // As long as it is open nothing is told, however often the reader looks.
    let silence = tokio::time::timeout(std::time::Duration::from_secs(1), events.event()).await;
    assert!(silence.is_err(), "told before the older writer ended: {silence:?}");
    writer.commit().await.unwrap();
    for n in 1..=3 {
        assert_eq!(events.event().await.json()["changeid"], n);
    }
    world.end().await;
}

/// The cursor of a running reader lies beyond the end of the stream, as after a restore to an
/// earlier time behind the same address.
#[tokio::test]
async fn a_stream_that_ends_before_what_was_read_of_it_begins_anew() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let ahead = async |by: i64| {
        let sql = format!(
            "create or replace function tidemill_horizon() returns bigint language sql volatile
             as $$ select pg_snapshot_xmin(pg_current_snapshot())::text::bigint + {by} $$"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(world.db().pool()).await.unwrap();
    };
    ahead(1_000_000).await;
    let mut events = world.one().events("/api/v2/events?kind=changes", None).await;
    events.begin().await;
    ahead(0).await;
    assert_eq!(events.event().await.event, "reset");
    world.one().post("/api/v2/changes", json!({"author": "me"})).await;
    assert_eq!(events.event().await.json()["kind"], "changes.new");
    world.end().await;
}

#[tokio::test]
async fn a_filter_lets_only_its_build_through() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), "fast", "1").await;
    submit(world.db(), "fast", "2").await;
    let first = claim(world.db(), session).await;
    let second = claim(world.db(), session).await;
    let mut events = world.one().events(&format!("/api/v2/events?buildid={}", second.build), None).await;
    events.begin().await;
    Running::begin(world.db(), first, "s").await.end(world.db(), Results::Success).await;
    Running::begin(world.db(), second.clone(), "s").await.end(world.db(), Results::Failure).await;
    loop {
        let event = events.event().await.json();
        assert_eq!(event["buildid"], second.build);
        if event["kind"] == "builds.finished" {
            assert_eq!(event["results"], 2);
            break;
        }
    }
    world.one().problem("events?buildid=x", 400).await;
    world.one().problem("events?build=1", 400).await;
    world.end().await;
}

#[tokio::test]
async fn a_log_is_followed_to_its_end_from_any_byte() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), "fast", "1").await;
    let mut running = Running::begin(world.db(), claim(world.db(), session).await, "s").await;
    running.write(world.db(), Channel::Stdout, b"one\n").await;
    let log = running.log(world.db()).await;
    let mut stream = world.one().events(&format!("/api/v2/logs/{log}/stream?offset=2"), None).await;
    let first = stream.event().await;
    assert_eq!((first.event.as_str(), runs(&first.json())), ("runs", vec![("o".to_owned(), b"e\n".to_vec())]));
    assert_eq!((first.json()["next"].as_i64(), first.id.as_str()), (Some(4), "4"));
    running.write(world.db(), Channel::Stderr, b"t\xffwo\n").await;
    let second = stream.event().await;
    assert_eq!(runs(&second.json()), [("e".to_owned(), b"t\xffwo\n".to_vec())]);
    drop(stream);
    let mut again = world.one().events(&format!("/api/v2/logs/{log}/stream"), Some("4")).await;
    assert_eq!(again.event().await.json(), second.json());
    running.end(world.db(), Results::Success).await;
    assert_eq!(again.event().await.event, "end");
    assert!(again.next().await.is_none());
    world.end().await;
}

fn runs(data: &serde_json::Value) -> Vec<(String, Vec<u8>)> {
    let decode = |b: &str| base64::engine::general_purpose::STANDARD.decode(b).unwrap();
    let runs = data["runs"].as_array().unwrap();
    runs.iter().map(|r| (r["c"].as_str().unwrap().into(), decode(r["b64"].as_str().unwrap()))).collect()
}

#[tokio::test]
async fn a_draining_replica_ends_its_streams() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let mut events = world.one().events("/api/v2/events", None).await;
    events.begin().await;
    world.one().drain();
    while events.next().await.is_some() {}
    world.end().await;
}
