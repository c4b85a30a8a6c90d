//! The REST API of a running replica.

mod common;

use common::*;
use serde_json::{Value, json};
use tidemill_model::log::Channel;
use tidemill_model::{BuildId, Results};
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::run_tx;

fn ids(answer: &Value, list: &str, key: &str) -> Vec<i64> {
    answer[list].as_array().unwrap().iter().map(|r| r[key].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn every_described_path_answers_and_is_a_problem_where_nothing_is() {
    let world = World::new(1).await;
    project(world.db(), &["a/b c"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), "a/b c", "why").await;
    let mut running = Running::begin(world.db(), claim(world.db(), session).await, "compile").await;
    running.write(world.db(), Channel::Stdout, b"hello\n").await;
    running.end(world.db(), Results::Success).await;
    let m = world.one();
    let openapi = m.json("openapi.json").await;
    assert!(openapi["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = openapi["paths"].as_object().unwrap();
    assert!(paths.len() > 40, "{}", paths.len());
    for (path, item) in paths {
        if item.get("get").is_none() || path.ends_with("/events") || path.ends_with("/stream") {
            continue;
        }
        let there = path
            .replace("{builder}", "a%2Fb%20c")
            .replace("{slug}", "stdio")
            .replace("{worker}", "w")
            .replace("{report}", "builder-trend")
            .replace("/steps/{number}", "/steps/0");
        let there = fill(&there, "1");
        let answer = m.get(&format!("/api/v2{there}")).await;
        let status = answer.status().as_u16();
        // No change, no scheduler, no result of a test and nobody to tell exist here.
        let absent = [
            "/changes/1",
            "/changesources/1",
            "/heldchanges/1",
            "/patches/1",
            "/schedulers/1",
            "/forceschedulers/1",
            "/locks/1",
            "/test_result_sets/1",
            "/deliveries/1",
            "/destinations/1",
        ]
        .iter()
        .any(|p| there.starts_with(p));
        assert_eq!(status, if absent { 404 } else { 200 }, "{there}: {}", answer.text().await.unwrap());
        if path.contains('{') {
            let missing = fill(&path.replace("{slug}", "none"), "987654321");
            m.problem(&missing[1..], 404).await;
            m.problem(&fill(path, "%00%ff'\"")[1..], 404).await;
        }
        if !path.ends_with("/raw") {
            m.problem(&format!("{}?nonsense=1", &there[1..]), 400).await;
        }
    }
    world.end().await;
}

/// Fills the rest of a path's parameters.
fn fill(path: &str, with: &str) -> String {
    path.split('/').map(|p| if p.starts_with('{') { with } else { p }).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn answers_have_the_shape_and_the_field_names_of_buildbot() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let session = worker(world.db(), "w").await;
    for _ in 0..3 {
        submit(world.db(), "fast", "why").await;
        let running = Running::begin(world.db(), claim(world.db(), session).await, "compile").await;
        running.end(world.db(), Results::Warnings).await;
    }
    let m = world.one();
    let all = m.json("builders/fast/builds?order=-number&limit=2").await;
    assert_eq!(ids(&all, "builds", "number"), [3, 2]);
    assert_eq!(all["meta"]["total"], 3);
    let build = &all["builds"][0];
    for (field, value) in [
        ("complete", json!(true)),
        ("results", json!(1)),
        ("buildername", json!("fast")),
        ("workername", json!("w")),
        ("properties", json!({})),
        ("state_string", json!("warnings")),
    ] {
        assert_eq!(build[field], value, "{field}");
    }
    assert!(build["started_at"].is_i64() && build["complete_at"].is_i64());
    let one = m.json("builds/1?property=workername&property=none&field=properties&field=buildid").await;
    assert_eq!(one["builds"][0], json!({"properties": {"workername": ["w", "Worker"]}, "buildid": 1}));
    let first = m.json("builds?limit=2&results=1").await;
    let next = first["meta"]["next"].as_str().unwrap();
    assert_eq!(next, "/api/v2/builds?limit=2&results=1&buildid__gt=2");
    let rest = m.json(next.strip_prefix("/api/v2/").unwrap()).await;
    assert_eq!((ids(&rest, "builds", "buildid"), &rest["meta"]["next"]), (vec![3], &Value::Null));
    let properties = m.json("builds/1/properties").await;
    assert_eq!(properties["properties"][0]["buildnumber"], json!([1, "Build"]));
    let steps = m.json("builders/fast/builds/1/steps").await;
    assert_eq!((steps["steps"][0]["name"].as_str(), steps["steps"][0]["results"].as_i64()), (Some("compile"), Some(1)));
    let sets = m.json("buildsets?order=-bsid&limit=1").await;
    assert_eq!(sets["buildsets"][0]["sourcestamps"][0]["revision"], "4f2a1c");
    let workers = m.json("workers/w").await;
    assert_eq!(workers["workers"][0]["connected_to"].as_array().unwrap().len(), 1);
    assert_eq!(m.json("masters").await["masters"][0]["active"], true);
    world.end().await;
}

#[tokio::test]
async fn an_unknown_field_is_a_problem_that_names_it_and_the_nearest() {
    let world = World::new(1).await;
    let problem = world.one().problem("builds?buidlerid=1&limit=x", 400).await;
    assert_eq!(problem["errors"][0]["field"], "buidlerid");
    assert!(problem["errors"][0]["detail"].as_str().unwrap().contains("`builderid`"));
    assert_eq!(problem["errors"][1]["field"], "limit");
    world.one().problem("builds?number=99999999999999999999", 400).await;
    world.one().problem("changes?author=%00", 400).await;
    world.one().problem("nothing", 404).await;
    world.end().await;
}

#[tokio::test]
async fn a_log_is_given_as_lines_and_as_its_exact_bytes() {
    let world = World::new(1).await;
    project(world.db(), &["fast"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), "fast", "why").await;
    let mut running = Running::begin(world.db(), claim(world.db(), session).await, "compile").await;
    let mut out = b"a\0b\xff\n".to_vec();
    out.extend((0..300_000).flat_map(|n| format!("line {n}\n").into_bytes()));
    running.write(world.db(), Channel::Header, b"$ make\n").await;
    running.write(world.db(), Channel::Stdout, &out).await;
    running.write(world.db(), Channel::Stderr, b"oops").await;
    let log = running.log(world.db()).await;
    let m = world.one();
    let raw = m.get(&format!("/api/v2/logs/{log}/raw")).await;
    assert_eq!(raw.headers()["x-content-type-options"], "nosniff");
    assert!(raw.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_eq!(raw.bytes().await.unwrap(), [&out[..], b"oops"].concat());
    let raw = m.get("/api/v2/builds/1/steps/0/logs/stdio/raw?headers=1").await.bytes().await.unwrap();
    assert_eq!(raw, [b"$ make\n", &out[..], b"oops"].concat());
    let lines = m.json(&format!("logs/{log}/contents?offset=0&limit=3")).await;
    let chunk = &lines["logchunks"][0];
    assert_eq!(chunk["content"], "h$ make\noa\0b\u{fffd}\noline 0\n");
    assert_eq!((chunk["firstline"].as_i64(), chunk["logid"].as_i64()), (Some(0), Some(log)));
    let end = m.json(&format!("logs/{log}/contents?offset=300000")).await;
    assert_eq!(end["logchunks"][0]["content"], "oline 299998\noline 299999\neoops\n");
    assert_eq!(m.json(&format!("logs/{log}")).await["logs"][0]["num_lines"], 300_002);
    assert_eq!(m.json(&format!("logs/{log}/contents?offset=400000")).await["logchunks"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn a_change_is_taken_once_for_each_key_and_by_the_hook() {
    let world = World::new(1).await;
    apply(world.db(), "c = {\"www\": {\"change_hook_dialects\": {\"base\": True}}}").await;
    let m = world.one();
    let change = json!({"author": "me", "comments": "fix", "files": ["a"], "branch": "main", "when": 1_700_000_000});
    let key = [("idempotency-key", "k1")];
    let (status, first) = m.post_with("/api/v2/changes", change.clone(), &key).await;
    assert_eq!(status, 201);
    assert_eq!(m.post_with("/api/v2/changes", change.clone(), &key).await.1, first);
    let other = json!({"author": "me", "comments": "other"});
    assert_eq!(m.post_with("/api/v2/changes", other, &key).await.0, 409);
    assert_eq!(m.post("/api/v2/changes", json!({"autor": "me"})).await.0, 400);
    let huge = json!({"comments": "x".repeat(2 << 20)});
    assert_eq!(m.post("/api/v2/changes", huge).await.0, 413);
    assert_eq!(m.post("/change_hook/base", json!({"author": "hook", "files": ["b"]})).await.0, 202);
    assert_eq!(m.post("/change_hook/base", json!({"autor": "hook"})).await.0, 400);
    let all = m.json("changes?order=-changeid").await;
    assert_eq!(all["meta"]["total"], 2);
    assert_eq!(all["changes"][0]["author"], "hook");
    assert_eq!(all["changes"][1]["when_timestamp"], 1_700_000_000);
    world.end().await;
}

#[tokio::test]
async fn a_rebuild_keeps_the_parent_and_names_the_first_build_of_its_chain() {
    let world = World::new(1).await;
    let m = world.one();
    project(world.db(), &["b"]).await;
    let session = worker(world.db(), "w").await;
    submit(world.db(), "b", "first").await;
    let parent = claim(world.db(), session).await;
    let child = NewBuildset {
        reason: "child".into(),
        builders: vec!["b".into()],
        priority: 7,
        parent: Some((BuildId(parent.build), Some("Triggered from".into()))),
        ..NewBuildset::default()
    };
    run_tx!(world.db(), "test", |c| buildset_insert(c, &child).await).unwrap();
    let first = claim(world.db(), session).await;
    let mut build = first.build;
    for _ in 0..2 {
        let (status, again) = m.post(&format!("/api/v2/builds/{build}/rebuild"), json!({})).await;
        assert_eq!(status, 201);
        let set = m.json(&format!("buildsets/{}", again["buildsetid"])).await["buildsets"][0].clone();
        assert_eq!(set["parent_buildid"], parent.build);
        assert_eq!(set["parent_relationship"], "Triggered from");
        assert_eq!(set["rebuilt_buildid"], first.build, "the first of the chain");
        let request =
            m.json(&format!("buildrequests/{}", again["buildrequestids"][0])).await["buildrequests"][0].clone();
        assert_eq!((&request["priority"], &request["waited_for"]), (&json!(0), &json!(false)));
        build = claim(world.db(), session).await.build;
    }
    world.end().await;
}

#[tokio::test]
async fn people_can_force_cancel_stop_and_build_again() {
    let world = World::new(1).await;
    let m = world.one();
    project(world.db(), &["a b"]).await;
    let session = worker(world.db(), "w").await;
    let (status, forced) = m
        .post("/api/v2/builders/a%20b/force", json!({"branch": "topic", "properties": {"x": 1}, "reason": "try"}))
        .await;
    assert_eq!(status, 201, "{forced}");
    let request = forced["buildrequestids"][0].as_i64().unwrap();
    assert_eq!(m.post(&format!("/api/v2/buildrequests/{request}/cancel"), json!({})).await.1["cancelled"], true);
    assert_eq!(m.post(&format!("/api/v2/buildrequests/{request}/cancel"), json!({})).await.0, 409);
    assert_eq!(m.post("/api/v2/buildrequests/99/cancel", json!({})).await.0, 404);

    // The next takes its branch from the one before.
    let (_, forced) = m.post("/api/v2/builders/a%20b/force", json!({})).await;
    let set = m.json(&format!("buildsets/{}", forced["buildsetid"])).await;
    assert_eq!(set["buildsets"][0]["sourcestamps"][0]["branch"], "topic");
    assert_eq!(set["buildsets"][0]["scheduler"], "force");
    let claim = claim(world.db(), session).await;
    assert_eq!(claim.sourcestamps[0].branch.as_deref(), Some("topic"));
    let running = Running::begin(world.db(), claim.clone(), "s").await;
    let request = forced["buildrequestids"][0].as_i64().unwrap();
    let cancel = m.post(&format!("/api/v2/buildrequests/{request}/cancel"), json!({"reason": "enough"})).await;
    assert_eq!(cancel.1["stopping"], claim.build);
    assert_eq!(m.post(&format!("/api/v2/builds/{}/stop", claim.build), json!({})).await.0, 202);
    assert_eq!(m.json(&format!("builds/{}", claim.build)).await["builds"][0]["stop_reason"], "enough");
    running.end(world.db(), Results::Cancelled).await;
    assert_eq!(m.post(&format!("/api/v2/builds/{}/stop", claim.build), json!({})).await.0, 409);

    let (status, again) = m.post(&format!("/api/v2/builds/{}/rebuild", claim.build), json!({})).await;
    assert_eq!(status, 201);
    let set = m.json(&format!("buildsets/{}", again["buildsetid"])).await;
    assert_eq!(
        (&set["buildsets"][0]["reason"], &set["buildsets"][0]["scheduler"]),
        (&json!("rebuild"), &json!("rebuild"))
    );
    assert_eq!(set["buildsets"][0]["sourcestamps"][0]["branch"], "topic");
    assert_eq!(m.post("/api/v2/builders/none/force", json!({})).await.0, 404);
    assert_eq!(m.post("/api/v2/builds/99/rebuild", json!({})).await.0, 404);
    world.end().await;
}

/// Whoever writes a build locks its lease and then the buildset: a cancel that
/// held the buildset while it waits for the lease would block them and be blocked.
#[tokio::test]
async fn a_cancel_that_waits_for_a_lease_holds_no_lock_of_the_buildset() {
    let world = World::new(1).await;
    project(world.db(), &["linux"]).await;
    let session = worker(world.db(), "w").await;
    let set = submit(world.db(), "linux", "r").await;
    let claim = claim(world.db(), session).await;
    let mut ingest = world.db().pool().begin().await.unwrap();
    let lease = sqlx::query("select from leases where build_id = $1 for update").bind(claim.build);
    lease.execute(&mut *ingest).await.unwrap();
    let path = format!("/api/v2/buildrequests/{}/cancel", set.requests[0].0);
    let cancel = world.one().post(&path, json!({"reason": "enough"}));
    let meanwhile = async {
        waits_for_a_lock(world.db()).await;
        let buildset = sqlx::query("select from buildsets where id = $1 for update nowait").bind(set.buildset.0);
        buildset.execute(&mut *ingest).await.expect("nobody holds the buildset");
        ingest.commit().await.unwrap();
    };
    let ((status, answer), ()) = tokio::join!(cancel, meanwhile);
    assert_eq!((status.as_u16(), &answer["stopping"]), (200, &json!(claim.build)), "{answer}");
    world.end().await;
}

#[tokio::test]
async fn properties_that_no_worker_could_read_are_refused_by_name() {
    let world = World::new(1).await;
    let m = world.one();
    project(world.db(), &["b"]).await;
    let deep = (0..70).fold(json!(1), |inner, _| json!([inner]));
    let large = "x".repeat(700_000);
    let force = |properties: Value| m.post("/api/v2/builders/b/force", json!({ "properties": properties }));
    for (properties, word) in [(json!({"a": 1, "deep": deep}), "64 deep"), (json!({"x": large}), "")] {
        let (status, said) = force(properties).await;
        match word {
            "" => assert_eq!(status, 201),
            word => {
                assert_eq!((status.as_u16(), &said["errors"][0]["field"]), (400, &json!("properties")), "{said}");
                assert!(said["errors"][0]["detail"].as_str().unwrap().contains(word), "{said}");
            }
        }
    }
    let (status, said) = m.post("/api/v2/changes", json!({"author": "a", "properties": {"deep": [deep, "me"]}})).await;
    assert_eq!((status.as_u16(), &said["errors"][0]["field"]), (400, &json!("properties")), "{said}");
    apply(world.db(), "c = {\"www\": {\"change_hook_dialects\": {\"base\": True}}}").await;
    let (status, said) =
        m.post("/change_hook/base", json!({"author": "a", "properties": {"deep": deep.to_string()}})).await;
    assert_eq!(status.as_u16(), 202, "a text is no nesting: {said}");
    let (status, said) = m.post("/change_hook/base", json!({"author": "a", "properties": {"deep": deep}})).await;
    assert_eq!((status.as_u16(), &said["errors"][0]["field"]), (400, &json!("properties")), "{said}");
    world.end().await;
}
