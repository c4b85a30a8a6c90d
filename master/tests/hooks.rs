//! Hooks of a replica: who may send, what is stored once, what waits.

mod common;

use common::server::{Asked, Reply, Server};
use common::{World, apply, claim, eventually, until, worker};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tidemill_model::{NewChange, SourceStamp};
use tidemill_schema::changes::changes_insert;
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::{run_tx, tokens, workers};

const SECRET: &str = "it is a secret";
const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
const B: &str = "b1b2c3d4e5f60718293a4b5c6d7e8f9001122334";

const PROJECT: &str = r#"
def one(request):
    if "boom" in request.body:
        return [{"author": "x"}, {"autor": "y"}]
    if request.args.get("quiet"):
        return "nothing to say"
    data = request.data
    return [{"author": data["who"], "revision": str(n), "branch": request.attrs.branch, "project": request.headers["x-tool"],
             "files": ["f"], "when": 1700000000, "properties": {"n": n}} for n in data["numbers"]]

c = {}
c["www"] = {
    "change_hook_dialects": {
        "base": True,
        "github": {"secret": util.Secret("hub")},
        "gitlab": {"secret": util.Secret("lab"), "codebase": lambda payload: payload["project"]["path_with_namespace"].split("/")[0]},
        "gitea": {"secret": util.Secret("nobody-has-it")},
        "bitbucketserver": {"strict": False, "outsiders": "build"},
        "gerrit": {},
        "poller": {"allowed": ["news"]},
        "tool": {"function": one, "attrs": {"branch": "main"}, "secret": util.Secret("hub"), "token_header": "X-Tool-Token"},
    },
    "change_hook_auth": {"forge": util.Secret("password")},
}
c["change_source"] = [
    changes.PollingChangeSource(name = "news", poll = lambda ctx: ctx.addChange(revision = "polled"), pollInterval = 86400),
    changes.PollingChangeSource(name = "other", poll = lambda ctx: None, pollInterval = 86400),
]
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = util.BuildFactory())]
"#;

async fn world(replicas: usize) -> World {
    let world = World::new(replicas).await;
    world.secret("hub", SECRET);
    world.secret("lab", "lab token");
    world.secret("password", "pass:word");
    apply(world.db(), PROJECT).await;
    world
}

fn post(url: &str, path: &str) -> RequestBuilder {
    tidemill_service::install_tls();
    reqwest::Client::builder().no_proxy().build().unwrap().post(format!("{url}/change_hook/{path}"))
}

async fn answer(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn signature(body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    format!("sha256={}", hex::encode(ring::hmac::sign(&key, body)))
}

/// A signed delivery of GitHub.
fn github(url: &str, event: &str, id: &str, body: &[u8]) -> RequestBuilder {
    post(url, "github")
        .header("content-type", "application/json")
        .header("x-github-event", event)
        .header("x-github-delivery", id)
        .header("x-hub-signature-256", signature(body))
        .body(body.to_vec())
}

fn push(branch: &str, revisions: &[&str]) -> Vec<u8> {
    let commits: Vec<Value> = revisions
        .iter()
        .map(|id| json!({ "id": id, "message": "m", "author": { "name": "Ada", "email": "a@x" }, "added": ["f"] }))
        .collect();
    serde_json::to_vec(&json!({
        "ref": format!("refs/heads/{branch}"), "after": revisions.last(), "commits": commits,
        "repository": { "full_name": "o/r", "html_url": "https://github.com/o/r" },
    }))
    .unwrap()
}

fn pull(action: &str, revision: &str) -> Vec<u8> {
    serde_json::to_vec(&json!({
        "action": action, "number": 5, "sender": { "login": "eve", "id": 66 },
        "repository": { "full_name": "o/r", "html_url": "https://github.com/o/r" },
        "pull_request": {
            "title": "<script>x</script>", "body": "", "commits": 1, "html_url": "https://github.com/o/r/pull/5",
            "author_association": "NONE", "user": { "login": "eve", "id": 66 },
            "head": { "ref": "t", "sha": revision, "repo": { "id": 2, "full_name": "eve/r" } },
            "base": { "ref": "main", "sha": B, "repo": { "id": 1, "full_name": "o/r" } },
        },
    }))
    .unwrap()
}

async fn count(world: &World, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(world.db().pool()).await.unwrap()
}

/// Without what the poller `news` makes, whenever its first turn comes.
const CHANGES: &str = "select count(*) from changes where revision is distinct from 'polled'";

#[tokio::test]
async fn a_hook_is_open_only_where_the_project_says_so_and_only_to_who_proves_itself() {
    let world = world(1).await;
    let url = &world.one().url;
    let user = tokens::user_token_create(world.db(), "ada").await.unwrap();
    let worker = workers::worker_enrol(world.db(), "w").await.unwrap();
    let body = push("main", &[A]);
    let base = || post(url, "base").body("author=ada");
    for (request, status, why) in [
        (post(url, "nothing").json(&json!({})), 400, "unknown"),
        (post(url, "bitbucket").json(&json!({})), 400, "known, but not enabled"),
        (post(url, "github/../base").json(&json!({})), 401, "no way round"),
        (base(), 401, "nothing proves it"),
        (base().bearer_auth("tmu_wrong"), 401, "a wrong token"),
        (base().bearer_auth(&worker), 403, "a worker's token"),
        (base().basic_auth("forge", Some("pass:wor")), 401, "a wrong password"),
        (base().basic_auth("other", Some("pass:word")), 401, "an unknown user"),
        (base().basic_auth("forge", Some("pass:word")), 202, "a user of change_hook_auth"),
        (base().bearer_auth(&user), 202, "an API token"),
        (post(url, "gerrit").json(&json!({"type": "x"})), 401, "it has no signature, so a user is needed"),
        (post(url, "gerrit").basic_auth("forge", Some("pass:word")).json(&json!({"type": "x"})), 202, "a user"),
        (github(url, "push", "1", &body).header("x-hub-signature-256", "sha256=00"), 400, "two signatures"),
        (github(url, "push", "2", &body[..body.len() - 1]).body(body.clone()), 400, "of another body"),
        (post(url, "github").header("x-github-event", "push").body(body.clone()), 400, "no signature"),
        (
            post(url, "github").bearer_auth(&user).header("x-github-event", "push").body(body.clone()),
            400,
            "a token is none",
        ),
        (
            post(url, "gitlab").header("x-gitlab-token", "lab toke").json(&json!({"object_kind": "x"})),
            400,
            "another token",
        ),
        (
            post(url, "gitlab").header("x-gitlab-token", "lab token").json(&json!({"object_kind": "x"})),
            202,
            "the token",
        ),
        (post(url, "gitea").header("x-gitea-signature", "00").json(&json!({})), 500, "the master lacks the secret"),
    ] {
        let (got, said) = answer(request).await;
        assert_eq!(got, status, "{why}: {said}");
        assert!(!said.to_string().contains(SECRET) && !said.to_string().contains("nobody-has-it"), "{said}");
    }
    assert_eq!(count(&world, CHANGES).await, 2);
    let said = reqwest::Client::new().get(format!("{url}/change_hook/base")).send().await.unwrap();
    assert_eq!(said.status(), StatusCode::METHOD_NOT_ALLOWED);
    world.end().await;
}

#[tokio::test]
async fn a_delivery_that_comes_to_two_replicas_at_once_and_again_makes_its_changes_once() {
    let world = world(2).await;
    let body = push("main", &[A, B]);
    let mut sent = tokio::task::JoinSet::new();
    for i in 0..20 {
        sent.spawn(answer(github(&world.replicas[i % 2].url, "push", "one", &body)));
    }
    let answers: Vec<(u16, Value)> = sent.join_all().await;
    assert_eq!(answers[0].0, 202);
    assert_eq!(answers[0].1["changes"], 2);
    assert!(answers.iter().all(|a| *a == answers[0]), "{answers:?}");
    assert_eq!(count(&world, CHANGES).await, 2);
    let url = &world.one().url;
    assert_eq!(answer(github(url, "push", "recorded and sent anew", &body)).await, answers[0], "a replay");
    let (status, said) = answer(github(url, "push", "one", &push("main", &[A]))).await;
    assert_eq!((status, said["detail"].as_str().unwrap().contains("another body")), (400, true), "{said}");
    assert_eq!(count(&world, CHANGES).await, 2);
    // What is refused is not remembered: repaired, the same id is good.
    assert_eq!(answer(github(url, "push", "two", b"{")).await.0, 400);
    assert_eq!(answer(github(url, "push", "two", &push("next", &[A]))).await.1["detail"], "1 change");
    let ignored = answer(github(url, "star", "three", b"{}")).await;
    assert_eq!((ignored.0, ignored.1["changes"].as_i64()), (202, Some(0)));
    assert!(ignored.1["detail"].as_str().unwrap().starts_with("no change found; "), "{ignored:?}");
    // An id is of one dialect.
    let base = || post(url, "base").basic_auth("forge", Some("pass:word")).header("idempotency-key", "one");
    let first = answer(base().body("comments=x")).await;
    assert_eq!(first.0, 202);
    assert_eq!(answer(base().body("comments=x")).await, first);
    assert_eq!(answer(base().body("comments=y")).await.0, 400);
    let long = answer(base().header("idempotency-key", "x".repeat(300)).body("comments=x")).await;
    assert_eq!(long.0, 202, "of two headers the first");
    let long = post(url, "base").basic_auth("forge", Some("pass:word")).header("idempotency-key", "x".repeat(300));
    assert_eq!(answer(long.body("comments=x")).await.0, 400);
    assert_eq!(count(&world, CHANGES).await, 4);
    world.end().await;
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_before_anything_is_read() {
    let world = world(1).await;
    let url = &world.one().url;
    let huge = vec![b' '; (10 << 20) + 1];
    // By its length alone: none of it is sent.
    let head = format!("x-github-event: push\r\nx-hub-signature-256: {}\r\n", signature(&huge));
    assert_eq!(status_without_body(url, "github", &head, huge.len()).await, "413");
    // Also where no length was announced.
    let chunks = futures_util::stream::iter(
        huge.chunks(1 << 20).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    );
    let streamed = post(url, "base").basic_auth("forge", Some("pass:word")).body(reqwest::Body::wrap_stream(chunks));
    assert_eq!(answer(streamed).await.0, 413);
    assert_eq!(count(&world, "select count(*) from hook_deliveries").await, 0);
    world.end().await;
}

#[tokio::test]
async fn names_with_nul_and_markup_are_stored_and_shown_as_text() {
    let world = world(1).await;
    let url = &world.one().url;
    let (status, said) = answer(github(url, "push", "1", &push("<b>\u{0}\u{1b}[31m", &[A]))).await;
    assert_eq!(status, 202, "{said}");
    let branch: String = sqlx::query_scalar("select branch from changes where revision is distinct from 'polled'")
        .fetch_one(world.db().pool())
        .await
        .unwrap();
    assert_eq!(branch, "<b>\u{fffd}\u{1b}[31m");
    let (_, page) = world.one().page("/changes").await;
    assert!(!page.contains("<b>\u{fffd}"), "markup is text");
    world.end().await;
}

#[tokio::test]
async fn an_outsiders_pull_request_waits_for_an_approval_of_its_very_revision() {
    let world = world(2).await;
    let (m, url) = (world.one(), &world.one().url);
    let (status, said) = answer(github(url, "pull_request", "1", &pull("opened", A))).await;
    assert_eq!((status, said["changes"].as_i64()), (202, Some(0)), "{said}");
    let first = said["held"][0].as_i64().unwrap();
    assert_eq!(count(&world, CHANGES).await, 0, "no scheduler sees it");
    let (_, page) = m.page("/changes").await;
    assert!(page.contains(A) && page.contains("Approve") && page.contains("eve (none)"), "{page}");
    assert!(!page.contains("<script>x"), "its text is text");

    // A new push needs a new approval.
    let said = answer(github(url, "pull_request", "2", &pull("synchronize", B))).await.1;
    let second = said["held"][0].as_i64().unwrap();
    let approve = |id: i64, revision: &str| {
        let (path, body) = (format!("/api/v2/heldchanges/{id}/approve"), json!({ "revision": revision }));
        async move { m.post(&path, body).await }
    };
    assert_eq!(approve(first, A).await.0, 409, "superseded");
    assert_eq!(approve(second, A).await.0, 409, "not what waits");
    assert_eq!(approve(second, "").await.0, 400);
    assert_eq!(approve(99, A).await.0, 404);
    let anonymous = reqwest::Client::new().post(format!("{url}/api/v2/heldchanges/{second}/approve"));
    assert!(matches!(answer(anonymous.json(&json!({"revision": B}))).await.0, 401 | 403));
    assert_eq!(count(&world, CHANGES).await, 0);
    let path = format!("/api/v2/heldchanges/{second}/approve");
    let (one, two) = tokio::join!(approve(second, B), world.replicas[1].post(&path, json!({ "revision": B })));
    assert_eq!((one.0, &one.1), (StatusCode::OK, &two.1), "twice is once");
    let change = m.json(&format!("changes/{}", one.1["changeid"])).await["changes"][0].clone();
    assert_eq!((&change["revision"], &change["properties"]["outsider"]), (&json!(B), &json!([true, "Change"])));
    assert!(change["outsider"].as_str().unwrap().contains("eve/r"), "{change}");
    assert_eq!(count(&world, CHANGES).await, 1);
    let held = m.json("heldchanges?order=heldchangeid&field=state").await["heldchanges"].clone();
    assert_eq!(held, json!([{ "state": "superseded" }, { "state": "approved" }]));

    // Refused by the form of the page, superseded by the end of the pull request.
    let said = answer(github(url, "pull_request", "3", &pull("reopened", A))).await.1;
    let third = said["held"][0].as_i64().unwrap();
    let (_, page) = m.page("/changes").await;
    let token = page.split("name=\"token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let refused = m.form(&format!("/changes/held/{third}/refuse"), &[("token", token)]).await;
    assert_eq!(refused.status(), StatusCode::SEE_OTHER);
    assert_eq!(approve(third, A).await.0, 409);
    let said = answer(github(url, "pull_request", "4", &pull("synchronize", A))).await.1;
    assert_eq!(said["held"].as_array().unwrap().len(), 1);
    let closed = answer(github(url, "pull_request", "5", &pull("closed", A))).await.1;
    assert!(closed["detail"].as_str().unwrap().contains("closed"), "{closed}");
    let waiting = "select count(*) from held_changes where state = 'waiting'";
    assert_eq!(count(&world, waiting).await, 0);
    world.end().await;
}

#[tokio::test]
async fn builds_of_what_an_outsider_announced_are_not_trusted_whoever_asks_for_them() {
    let world = world(1).await;
    let db = world.db();
    let session = worker(db, "w").await;
    let change = |branch: &str, revision: &str, outsider: bool| NewChange {
        repository: "https://github.com/o/r".into(),
        branch: Some(branch.into()),
        revision: Some(revision.into()),
        outsider: outsider.then(|| "eve".to_owned()),
        ..NewChange::default()
    };
    let store = async |c: NewChange| {
        run_tx!(db, "test", |x| changes_insert(x, std::slice::from_ref(&c), None).await).unwrap()[0]
    };
    let trusted = async |stamp: SourceStamp, changes: Vec<tidemill_model::ChangeId>, parent: Option<i64>| {
        let new = NewBuildset {
            sourcestamps: vec![stamp],
            changes,
            parent: parent.map(|b| (tidemill_model::BuildId(b), None)),
            builders: vec!["b".into()],
            ..NewBuildset::default()
        };
        run_tx!(db, "test", |c| buildset_insert(c, &new).await).unwrap();
        let claim = claim(db, session).await;
        (claim.trusted, claim.build)
    };
    let bare = |branch: &str, revision: Option<&str>| SourceStamp {
        revision: revision.map(str::to_owned),
        ..change(branch, "", false).sourcestamp()
    };
    let eves = change("refs/pull/5/head", A, true);
    let id = store(eves.clone()).await;
    let (own, build) = trusted(eves.sourcestamp(), vec![id], None).await;
    assert!(!own, "of the change itself");
    assert!(!trusted(bare("refs/pull/5/head", None), vec![], None).await.0, "forced by the branch");
    assert!(!trusted(bare("main", Some(A)), vec![], None).await.0, "forced by the revision");
    assert!(!trusted(bare("main", None), vec![], Some(build)).await.0, "asked for by its build");
    assert!(trusted(bare("main", None), vec![], None).await.0);
    assert!(!trusted(bare("refs/pull/6/head", None), vec![], None).await.0, "nobody knows whose it is");
    assert!(trusted(bare("topic", None), vec![], None).await.0);
    // Merged as it was, it is the project's own.
    let merged = change("main", A, false);
    let id = store(merged.clone()).await;
    assert!(trusted(merged.sourcestamp(), vec![id], None).await.0);
    assert!(!trusted(bare("refs/pull/5/head", None), vec![], None).await.0);
    // What still waits for an approval is no better.
    answer(github(&world.one().url, "pull_request", "1", &pull("opened", B))).await;
    assert!(!trusted(bare("refs/pull/5/merge", None), vec![], None).await.0);
    assert!(!trusted(bare("topic", Some(B)), vec![], None).await.0);
    world.end().await;
}

#[tokio::test]
async fn a_delivery_that_proves_nothing_is_an_outsiders_where_it_is_taken_at_all() {
    let world = world(1).await;
    let payload = json!({
        "actor": { "name": "ada" }, "repository": { "slug": "r", "project": { "key": "O" } },
        "changes": [{ "refId": "refs/heads/main", "toHash": A, "type": "UPDATE" }],
    });
    let request = post(&world.one().url, "bitbucketserver").header("x-event-key", "repo:refs_changed").json(&payload);
    assert_eq!(answer(request).await.1["changes"], 1);
    let why: Option<String> =
        sqlx::query_scalar("select outsider from changes where revision is distinct from 'polled'")
            .fetch_one(world.db().pool())
            .await
            .unwrap();
    assert!(why.unwrap().contains("proves"));
    world.end().await;
}

#[tokio::test]
async fn a_function_of_the_project_reads_its_own_dialect_and_a_failing_one_stores_nothing() {
    let world = world(1).await;
    let url = &world.one().url;
    let tool = |path: &str| post(url, path).header("x-tool", "forge").header("x-tool-token", SECRET);
    let (status, said) = answer(tool("tool").json(&json!({"who": "ada", "numbers": [1, 2, 3]}))).await;
    assert_eq!((status, said["changes"].as_i64()), (202, Some(3)), "{said}");
    let row: (String, String, String, String) = sqlx::query_as(
        "select author, revision, branch, project from changes where author = 'ada' order by id limit 1",
    )
    .fetch_one(world.db().pool())
    .await
    .unwrap();
    assert_eq!(row, ("ada".into(), "1".into(), "main".into(), "forge".into()));
    let quiet = answer(tool("tool?quiet=1").json(&json!({}))).await;
    assert_eq!((quiet.0, &quiet.1["detail"]), (202, &json!("no change found; nothing to say")));
    assert_eq!(answer(post(url, "tool").json(&json!({}))).await.0, 400, "without its token");
    for bad in [json!({"boom": 1}), json!({"numbers": "x"}), json!([])] {
        assert_eq!(answer(tool("tool").json(&bad)).await.0, 500, "{bad}");
    }
    assert_eq!(count(&world, CHANGES).await, 3);
    until(world.db(), "select exists (select from policy_failures where policy = 'function')").await;

    let lab = json!({
        "object_kind": "push", "ref": "refs/heads/main", "after": A, "commits": [{ "id": A, "message": "m" }],
        "project": { "path_with_namespace": "group/r", "git_http_url": "https://lab.example/group/r.git" },
    });
    let event = "11111111-2222-3333-4444-555555555555";
    let lab_post = |body: &Value| {
        post(url, "gitlab").header("x-gitlab-token", "lab token").header("x-gitlab-event-uuid", event).json(body)
    };
    let first = answer(lab_post(&lab)).await;
    assert_eq!(first.1["changes"], 1, "{first:?}");
    assert_eq!(answer(lab_post(&lab)).await, first);
    let codebase: String = sqlx::query_scalar("select codebase from changes where project = 'group/r'")
        .fetch_one(world.db().pool())
        .await
        .unwrap();
    assert_eq!(codebase, "group");
    let mut caused = lab.clone();
    caused["ref"] = json!("refs/heads/caused-by-the-first");
    assert_eq!(answer(lab_post(&caused)).await.1["changes"], 1, "GitLab gives what one event causes the same id");
    world.end().await;
}

#[tokio::test]
async fn a_hit_lets_pollers_poll_at_once_and_only_those_that_it_may() {
    let world = world(1).await;
    let url = &world.one().url;
    let polled = "select count(*) from changes where revision = 'polled'";
    let due = "select count(*) from change_sources where polled_at is not null";
    let look = async |query: &'static str, wanted: i64| {
        eventually(query, async || (count(&world, query).await == wanted).then_some(())).await;
    };
    look(due, 2).await;
    let before = count(&world, polled).await;
    let hit = |query: &str| post(url, &format!("poller{query}")).basic_auth("forge", Some("pass:word")).body("");
    assert_eq!(answer(post(url, "poller").body("")).await.0, 401);
    assert_eq!(answer(hit("?poller=other")).await.0, 400, "not on its list");
    assert_eq!(answer(hit("?poller=none")).await.0, 400);
    let (status, said) = answer(hit("?poller=news")).await;
    assert_eq!((status, &said["polled"]), (202, &json!(["news"])));
    look(polled, before + 1).await;
    let (_, said) = answer(hit("")).await;
    assert_eq!(said["polled"], json!(["news"]), "all that it may");
    look(polled, before + 2).await;
    world.end().await;
}

#[tokio::test]
async fn a_delivery_that_lacks_its_proof_is_refused_before_its_body() {
    let world = world(1).await;
    for (path, headers, status) in [
        ("github", "x-github-event: push\r\n", "400"),
        ("base", "", "401"),
        ("gerrit", "authorization: Basic eDp5\r\n", "401"),
    ] {
        assert_eq!(status_without_body(&world.one().url, path, headers, 1_000_000).await, status, "{path}");
    }
    world.end().await;
}

/// The status that answers a delivery whose body is promised and never sent.
async fn status_without_body(url: &str, path: &str, headers: &str, length: usize) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    let head = format!("POST /change_hook/{path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    stream.read_exact(&mut said).await.unwrap();
    String::from_utf8_lossy(&said).trim_start_matches("HTTP/1.1 ").to_owned()
}

#[tokio::test]
async fn github_is_asked_for_the_head_commits_message_and_the_files_of_a_pull_request() {
    const C: &str = "c1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
    let server = Server::start(|asked: &Asked| {
        if asked.header("authorization") != Some("Bearer hub token") {
            return Reply::status(401);
        }
        let message = |m: &str| Reply::json(json!({ "commit": { "message": m } }));
        match asked.path() {
            "/api/v3/repos/o/r/commits/a1b2c3d4e5f60718293a4b5c6d7e8f9001122334" => message("real work"),
            "/api/v3/repos/o/r/commits/b1b2c3d4e5f60718293a4b5c6d7e8f9001122334" => message("words only [ci skip]"),
            "/api/v3/repos/o/r/pulls/5/files" => {
                Reply::json(json!([{ "filename": "src/a" }, { "filename": "b", "previous_filename": "c" }]))
            }
            _ => Reply::status(404),
        }
    })
    .await;
    let world = world(1).await;
    world.secret("api", "hub token");
    let hub = format!(
        "\"github\": {{\"token\": util.Secret(\"api\"), \"github_api_endpoint\": \"{}/api/v3\", \"outsiders\": \"build\", ",
        server.url()
    );
    apply(world.db(), &PROJECT.replace("\"github\": {", &hub)).await;
    let url = &world.one().url;
    let files = async || {
        let sql = "select files from changes where revision is distinct from 'polled' order by id desc limit 1";
        sqlx::query_scalar::<_, Vec<String>>(sql).fetch_one(world.db().pool()).await.unwrap()
    };
    let taken = answer(github(url, "pull_request", "1", &pull("opened", A))).await;
    assert_eq!((taken.0, &taken.1["detail"]), (202, &json!("1 change")));
    assert_eq!(files().await, ["src/a", "b", "c"]);
    let skipped = answer(github(url, "pull_request", "2", &pull("synchronize", B))).await;
    assert_eq!((skipped.0, skipped.1["changes"].as_i64()), (202, Some(0)));
    assert!(skipped.1["detail"].as_str().unwrap().contains("its head commit's message matches"), "{skipped:?}");
    // What GitHub does not know is no reason to build nothing.
    let unknown = answer(github(url, "pull_request", "3", &pull("synchronize", C))).await;
    assert_eq!((unknown.0, unknown.1["changes"].as_i64()), (202, Some(1)));
    assert!(unknown.1["detail"].as_str().unwrap().contains("answer 404"), "{unknown:?}");
    assert!(files().await.is_empty());

    // Nothing is asked for a push, nor for who proves nothing.
    let asked = server.asked().len();
    assert_eq!(answer(github(url, "push", "4", &push("main", &[A]))).await.1["changes"], 1);
    let forged = post(url, "github").header("x-github-event", "pull_request").body(pull("opened", A));
    assert_eq!(answer(forged).await.0, 400);
    assert_eq!(server.asked().len(), asked);
    // A token that is not there is said, and costs no change.
    apply(world.db(), &PROJECT.replace("\"github\": {", &hub.replace("\"api\"", "\"gone\""))).await;
    let taken = answer(github(url, "pull_request", "5", &pull("reopened", A))).await;
    assert_eq!((taken.0, taken.1["changes"].as_i64()), (202, Some(1)));
    assert!(taken.1["detail"].as_str().unwrap().contains("GitHub is not asked for more"), "{taken:?}");
    world.end().await;
}
