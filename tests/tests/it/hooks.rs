//! What forges send, from the delivery to the build, on two replicas.

use serde_json::{Value, json};
use std::net::SocketAddr;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, Repository, invariants, wait_until};
use tokio::io::AsyncWriteExt;

const SECRET: &str = "between us";

fn project(url: &str) -> String {
    format!(
        r#"
c = {{}}
c["www"] = {{"change_hook_dialects": {{"github": {{"secret": util.Secret("hub")}}}}}}
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"])]
f = util.BuildFactory([
    steps.Git(repourl = {url:?}, mode = "incremental"),
    steps.ShellCommand(name = "read", command = ["cat", "README"]),
    steps.ShellCommand(name = "deploy", command = ["printf", "%s", util.Secret("key")]),
])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
"#
    )
}

fn push(url: &str, branch: &str, revision: &str) -> Vec<u8> {
    let commit = json!({ "id": revision, "message": "by a hook", "author": { "name": "Ada", "email": "ada@example.org" },
                         "added": ["README"], "timestamp": "2026-03-04T05:06:07Z" });
    let repository = json!({ "full_name": "o/r", "html_url": url });
    let ref_name = format!("refs/heads/{branch}");
    let body = json!({ "ref": ref_name, "after": revision, "repository": repository, "commits": [commit], "head_commit": commit });
    serde_json::to_vec(&body).unwrap()
}

fn pull(url: &str, revision: &str) -> Vec<u8> {
    let repo = |id: i64, name: &str| json!({ "id": id, "full_name": name });
    let body = json!({
        "action": "opened", "number": 5, "repository": { "full_name": "o/r", "html_url": url },
        "sender": { "login": "eve", "id": 66 },
        "pull_request": {
            "title": "Better", "body": "", "commits": 1, "author_association": "CONTRIBUTOR", "user": { "login": "eve", "id": 66 },
            "head": { "ref": "topic", "sha": revision, "repo": repo(2, "eve/r") },
            "base": { "ref": "main", "sha": revision, "repo": repo(1, "o/r") },
        },
    });
    serde_json::to_vec(&body).unwrap()
}

/// The head of a signed delivery, as it stands on the wire.
fn headers(event: &str, id: &str, body: &[u8]) -> Vec<(&'static str, String)> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = format!("sha256={}", hex::encode(ring::hmac::sign(&key, body)));
    vec![
        ("content-type", "application/json".into()),
        ("x-github-event", event.into()),
        ("x-github-delivery", id.into()),
        ("x-hub-signature-256", signature),
    ]
}

async fn deliver(url: &str, event: &str, id: &str, body: &[u8]) -> (u16, Value) {
    let mut request = reqwest::Client::new().post(format!("{url}/change_hook/github")).body(body.to_vec());
    for (name, value) in headers(event, id, body) {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Sends a delivery and never reads an answer.
async fn send_only(address: SocketAddr, id: &str, body: &[u8]) -> tokio::net::TcpStream {
    let mut head =
        format!("POST /change_hook/github HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers("push", id, body) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

async fn count(t: &Cluster, query: &'static str) -> Result<i64, String> {
    sqlx::query_scalar(query).fetch_one(t.db.pool()).await.map_err(|e| e.to_string())
}

/// The newest build once it is final: its id and result.
async fn built(t: &Cluster, builds: i64) -> (i64, i16) {
    wait_until("the builds to be final", || async {
        let rows: Vec<(i64, i16)> =
            sqlx::query_as("select id, results from builds where state = 'finished' order by id desc")
                .fetch_all(t.db.pool())
                .await
                .map_err(|e| e.to_string())?;
        holds(rows.len() as i64 == builds, format!("{rows:?}"))?;
        Ok::<_, String>(rows[0])
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_a_forge_announces_to_two_replicas_is_built_once() {
    let mut t = Cluster::start().await;
    t.secret("hub", SECRET);
    let repo = Repository::create(t.dir());
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project(&repo.url())).await;
    let w = t.worker("w", &t.master_url(b), 1).await;
    t.worker_secret(w, "key", "hunter2");
    let revision = repo.commit("README", "pushed\n", "by a hook");
    let body = push(&repo.url(), "main", &revision);
    let (one, two) = (t.master_url(a), t.master_url(b));
    let (first, second) = tokio::join!(deliver(&one, "push", "d1", &body), deliver(&two, "push", "d1", &body));
    assert_eq!(first, second);
    assert_eq!((first.0, first.1["changes"].as_i64()), (202, Some(1)), "{first:?}");
    let (build, results) = built(&t, 1).await;
    assert_eq!(results, 0, "{}", String::from_utf8_lossy(&t.log(a, build, 1, "stdio").await));
    assert_eq!(t.log(a, build, 2, "stdio").await, b"pushed\n");
    assert_eq!(t.log(a, build, 3, "stdio").await, b"<secret key>", "a trusted build gets it, masked");
    assert_eq!(deliver(&one, "push", "d1", &body).await, first);
    assert_eq!(count(&t, "select count(*) from changes").await, Ok(1));
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_killed_before_it_answered_a_hook_has_stored_its_delivery_once() {
    let mut t = Cluster::start().await;
    t.secret("hub", SECRET);
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project("https://git.example.org/r")).await;
    let two = t.master_url(b);

    // After the commit: nobody read the answer.
    let body = push("https://git.example.org/r", "main", "r1");
    let stream = send_only(t.masters[a].address, "d1", &body).await;
    wait_until("the delivery to be stored", || async {
        holds(count(&t, "select count(*) from hook_deliveries").await? == 1, "not yet")
    })
    .await;
    t.masters[a].process.kill9();
    drop(stream);
    let (status, answer) = deliver(&two, "push", "d1", &body).await;
    assert_eq!((status, answer["changes"].as_i64()), (202, Some(1)), "{answer}");
    let stored: Vec<i64> =
        sqlx::query_scalar("select id from changes order by id").fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(json!(stored), answer["changeids"]);

    // Before it: nothing of it is there, and the same delivery is taken elsewhere.
    let address = t.masters[a].address;
    t.master_restart(a, address).await;
    let mut blocker = sqlx::pool::PoolConnection::detach(t.db.pool().acquire().await.unwrap());
    sqlx::raw_sql("begin; lock table changes in share mode").execute(&mut blocker).await.unwrap();
    let body = push("https://git.example.org/r", "main", "r2");
    let stream = send_only(address, "d2", &body).await;
    wait_until("the delivery to wait for the lock", || async {
        let waiting = count(
            &t,
            "select count(*) from pg_stat_activity
              where datname = current_database() and wait_event_type = 'Lock' and query like '%insert into changes%'",
        )
        .await?;
        holds(waiting == 1, waiting)
    })
    .await;
    t.masters[a].process.kill9();
    drop(stream);
    sqlx::raw_sql("rollback").execute(&mut blocker).await.unwrap();
    let first = deliver(&two, "push", "d2", &body).await;
    assert_eq!((first.0, first.1["changes"].as_i64()), (202, Some(1)), "{first:?}");
    assert_eq!(deliver(&two, "push", "d2", &body).await, first);
    assert_eq!(count(&t, "select count(*) from changes").await, Ok(2));
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_pull_request_of_an_outsider_is_built_without_secrets() {
    let mut t = Cluster::start().await;
    t.secret("hub", SECRET);
    let repo = Repository::create(t.dir());
    let m = t.master().await;
    t.configure(m, &project(&repo.url())).await;
    let w = t.worker("w", &t.master_url(m), 1).await;
    t.worker_secret(w, "key", "hunter2");
    // As a forge keeps the head of a pull request.
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    let revision = repo.commit_only("README", "by eve\n", "mine now");
    repo.git(&["push", "--quiet", "origin", "HEAD:refs/pull/5/merge"]);
    let url = t.master_url(m);
    let (status, answer) = deliver(&url, "pull_request", "p1", &pull(&repo.url(), &revision)).await;
    assert_eq!((status, answer["changes"].as_i64()), (202, Some(0)), "{answer}");
    // A trusted push goes its way meanwhile: no scheduler waits for the approval.
    repo.git(&["checkout", "--quiet", "main"]);
    let trusted = repo.commit("README", "ours\n", "ours");
    assert_eq!(deliver(&url, "push", "p2", &push(&repo.url(), "main", &trusted)).await.1["changes"], 1);
    assert_eq!(built(&t, 1).await.1, 0);

    let held = answer["held"][0].as_i64().unwrap();
    let path = format!("heldchanges/{held}/approve");
    let api = t.api(m);
    let said = api.post(&path, json!({ "revision": trusted })).await.unwrap_err();
    assert!(said.contains("409") && said.contains(&revision), "{said}");
    let approved = api.post(&path, json!({ "revision": revision })).await.unwrap();
    let (build, results) = built(&t, 2).await;
    assert_eq!(t.log(m, build, 2, "stdio").await, b"by eve\n", "what was approved is what is built");
    assert_ne!(results, 0, "it wanted a secret");
    let logs = api.list(&format!("builds/{build}/steps/3/logs")).await.unwrap();
    let mut said = String::new();
    for log in &logs {
        let path = format!("builds/{build}/steps/3/logs/{}/raw", log["slug"].as_str().unwrap());
        said += &String::from_utf8_lossy(&api.bytes(&path).await.unwrap());
    }
    assert!(said.contains("is not given to this build") && !said.contains("hunter2"), "{said}");
    // Forced by its branch it gets none either.
    let forced = api
        .post("builders/b/force", json!({ "branch": "refs/pull/5/merge", "repository": repo.url(), "project": "o/r" }))
        .await
        .unwrap();
    assert!(forced["buildsetid"].is_i64() && approved["changeid"].is_i64());
    let (build, results) = built(&t, 3).await;
    assert_eq!((t.log(m, build, 2, "stdio").await.as_slice(), results == 0), (b"by eve\n".as_slice(), false));
    invariants::check(&t.db).await;
}
