//! What the functions of a project decide on real masters: which requests
//! merge, what goes first, and where.

use serde_json::json;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

/// One builder `b` whose step takes no time, with more arguments, and more of the file.
fn project(arguments: &str, more: &str) -> String {
    format!(
        r#"
c = {{}}
f = util.BuildFactory([steps.ShellCommand(name = "show", command = ["true"])])
{more}
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f, {arguments})]
"#
    )
}

async fn force(t: &Cluster, master: usize, builder: &str, body: serde_json::Value) -> i64 {
    let answer = t.api(master).post(&format!("builders/{builder}/force"), body).await.expect("the build can be forced");
    answer["buildrequestids"][0].as_i64().expect("an id")
}

/// Requests in the order in which builds of them began.
async fn built(t: &Cluster) -> Vec<i64> {
    sqlx::query_scalar("select request_id from builds order by id").fetch_all(t.db.pool()).await.unwrap()
}

async fn worker_of(t: &Cluster, request: i64) -> String {
    let name = "select w.name from builds b join workers w on w.id = b.worker_id where b.request_id = $1";
    sqlx::query_scalar(name).bind(request).fetch_one(t.db.pool()).await.unwrap()
}

async fn collapsed_into(t: &Cluster, request: i64) -> Option<i64> {
    let query = "select collapsed_into from build_requests where id = $1";
    sqlx::query_scalar(query).bind(request).fetch_one(t.db.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_become_one_and_take_its_result() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project("", "")).await;
    let first = force(&t, m, "b", json!({ "branch": "main" })).await;
    let second = force(&t, m, "b", json!({ "branch": "main" })).await;
    let other = force(&t, m, "b", json!({ "branch": "feature" })).await;
    assert_eq!(collapsed_into(&t, first).await, Some(second));
    let page = reqwest::get(format!("{}/buildrequests/{first}", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(page.contains(&format!("request {second}")), "{page}");
    t.worker("w", &t.master_url(m), 1).await;
    for request in [first, second, other] {
        assert_eq!(t.result_of(request).await, 0);
    }
    assert_eq!(built(&t).await, [second, other]);
    let row = t.api(m).list(&format!("buildrequests/{first}")).await.unwrap().remove(0);
    assert_eq!(row["collapsed_into"], second);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_or_a_predicate_of_the_project_says_which_requests_merge() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let text = r#"
c = {}
f = util.BuildFactory([steps.ShellCommand(name = "show", command = ["true"])])
def key(builder, request):
    if request.source.branch == "apart":
        return None
    return request.source.branch
def same_reason(builder, older, newer):
    return older.reason == newer.reason
c["collapseRequests"] = same_reason
c["builders"] = [
    util.BuilderConfig(name = "keyed", workernames = ["*"], factory = f, collapseRequests = util.CollapseKey(key)),
    util.BuilderConfig(name = "paired", workernames = ["*"], factory = f),
    util.BuilderConfig(name = "never", workernames = ["*"], factory = f, collapseRequests = False),
]
"#;
    t.configure(m, text).await;
    let mut keyed = vec![];
    for (branch, revision) in [("main", "1"), ("main", "2"), ("apart", "1"), ("apart", "1")] {
        keyed.push(force(&t, m, "keyed", json!({ "branch": branch, "revision": revision })).await);
    }
    let mut paired = vec![];
    for reason in ["a", "b", "a"] {
        paired.push(force(&t, m, "paired", json!({ "reason": reason, "branch": "x" })).await);
    }
    let never = [force(&t, m, "never", json!({})).await, force(&t, m, "never", json!({})).await];
    assert_eq!(collapsed_into(&t, keyed[0]).await, Some(keyed[1]));
    assert_eq!(collapsed_into(&t, paired[0]).await, Some(paired[2]));
    for alone in [keyed[1], keyed[2], keyed[3], paired[1], paired[2], never[0], never[1]] {
        assert_eq!(collapsed_into(&t, alone).await, None, "request {alone}");
    }
    t.worker("w", &t.master_url(m), 4).await;
    for request in keyed.iter().chain(&paired).chain(&never) {
        assert_eq!(t.result_of(*request).await, 0);
    }
    assert_eq!(built(&t).await.len(), 7);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn next_build_chooses_what_goes_first_and_none_lets_everything_wait() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let more = r#"
def release_first(builder, requests):
    for request in requests:
        if request.source.branch == "release":
            return request
    if builder.master.builds(builder = "gate", limit = 1):
        return requests[0]
    return None
c["builders"] = []
"#;
    let gate = r#"nextBuild = release_first, collapseRequests = False),
              util.BuilderConfig(name = "gate", workernames = ["*"], factory = f"#;
    t.configure(m, &project(gate, more)).await;
    let mut ids = vec![];
    for branch in ["main", "main", "release", "main"] {
        ids.push(force(&t, m, "b", json!({ "branch": branch })).await);
    }
    t.worker("w", &t.master_url(m), 1).await;
    assert_eq!(t.result_of(ids[2]).await, 0);
    // It says no until the other builder has a build; two safety looks change nothing.
    let gate = force(&t, m, "gate", json!({})).await;
    assert_eq!(t.result_of(gate).await, 0);
    for id in [ids[0], ids[1], ids[3]] {
        assert_eq!(t.result_of(id).await, 0);
    }
    assert_eq!(built(&t).await, [ids[2], gate, ids[0], ids[1], ids[3]]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn next_worker_chooses_also_a_worker_whose_poll_waits_at_another_replica() {
    let mut t = Cluster::start().await;
    let here = t.master().await;
    let there = t.master().await;
    let more = r#"
def by_property(builder, workers, request):
    for worker in workers:
        if worker.name == request.properties["on"]:
            return worker
    return None
"#;
    t.configure(here, &project("nextWorker = by_property, collapseRequests = False", more)).await;
    t.worker("left", &t.master_url(here), 2).await;
    t.worker("right", &t.master_url(there), 2).await;
    let mut wanted = vec![];
    for n in 0..12 {
        let on = ["left", "right"][n % 2];
        wanted.push((on, force(&t, [here, there][(n / 2) % 2], "b", json!({ "properties": { "on": on } })).await));
    }
    for (on, request) in wanted {
        assert_eq!(t.result_of(request).await, 0);
        assert_eq!(worker_of(&t, request).await, on);
    }
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn can_start_build_refuses_a_worker_and_a_stuck_head_blocks_nobody() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let more = r#"
def can(builder, worker, request):
    if request.properties.get("never"):
        return len(builder.master.builds(builder = "b", complete = True, results = 0, limit = 3)) == 3
    return worker.name == "good"
"#;
    t.configure(m, &project("canStartBuild = can, collapseRequests = False", more)).await;
    t.worker("bad", &t.master_url(m), 2).await;
    t.worker("good", &t.master_url(m), 2).await;
    // First of all by its priority, at which nothing was asked for before.
    let head = force(&t, m, "b", json!({ "properties": { "never": true }, "priority": 7 })).await;
    let mut others = vec![];
    for _ in 0..3 {
        others.push(force(&t, m, "b", json!({})).await);
    }
    for request in others {
        assert_eq!(t.result_of(request).await, 0);
        assert_eq!(worker_of(&t, request).await, "good");
    }
    // What it asks about has changed: it is asked again.
    assert_eq!(t.result_of(head).await, 0);
    assert_eq!(built(&t).await.last(), Some(&head));
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builders_get_workers_in_the_order_of_the_project_and_one_left_out_gets_none() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let file = |order: &str| {
        format!(
            r#"
c = {{}}
f = util.BuildFactory([steps.ShellCommand(name = "show", command = ["true"])])
def order(master, builders):
    {order}
c["prioritizeBuilders"] = order
c["builders"] = [util.BuilderConfig(name = n, workernames = ["*"], factory = f) for n in ["a", "b", "z", "out"]]
"#
        )
    };
    let sorted = r#"return sorted([b for b in builders if b.name != "out"], key = lambda b: b.name, reverse = True)"#;
    t.configure(m, &file(sorted)).await;
    let mut ids = vec![];
    for builder in ["out", "a", "b", "z"] {
        ids.push(force(&t, m, builder, json!({})).await);
    }
    t.worker("w", &t.master_url(m), 1).await;
    for id in &ids[1..] {
        assert_eq!(t.result_of(*id).await, 0);
    }
    assert_eq!(built(&t).await, [ids[3], ids[2], ids[1]]);
    t.configure(m, &file("return builders")).await;
    assert_eq!(t.result_of(ids[0]).await, 0);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_fail_or_never_end_are_shown_and_the_built_in_order_is_used() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let more = r#"
def broken(builder, requests):
    return requests[0].nonsense
def endless(builder, worker, request):
    n = 0
    for i in range(40000000):
        n += i
    return n > 0
def no_order(master, builders):
    return [builders[0], "<b>nobody</b>"]
def merging(builder, older, newer):
    return 1 // 0 == 1
c["prioritizeBuilders"] = no_order
c["collapseRequests"] = merging
"#;
    t.configure(m, &project("nextBuild = broken, canStartBuild = endless", more)).await;
    let mut ids = vec![];
    for _ in 0..3 {
        ids.push(force(&t, m, "b", json!({})).await);
    }
    t.worker("w", &t.master_url(m), 1).await;
    for id in &ids {
        assert_eq!(t.result_of(*id).await, 0);
    }
    assert_eq!(built(&t).await, ids);
    let failures = wait_until("the failures to be stored", || async {
        let rows = t.api(m).list("builders/b/policyfailures").await.map_err(|e| e.to_string())?;
        holds(rows.len() == 4, rows.len())?;
        Ok::<_, String>(rows)
    })
    .await;
    let mut named: Vec<(&str, &str)> =
        failures.iter().map(|f| (f["subject"].as_str().unwrap(), f["policy"].as_str().unwrap())).collect();
    named.sort_unstable();
    assert_eq!(
        named,
        [
            ("builder", "canStartBuild"),
            ("builder", "nextBuild"),
            ("project", "collapseRequests"),
            ("project", "prioritizeBuilders")
        ]
    );
    let page = |token: bool| {
        let (url, secret) = (format!("{}/builders/b", t.master_url(m)), t.token.clone());
        async move {
            let request = reqwest::Client::new().get(url);
            // Through a proxy nobody is local.
            let request =
                if token { request.bearer_auth(secret) } else { request.header("x-forwarded-for", "192.0.2.1") };
            request.send().await.unwrap().text().await.unwrap()
        }
    };
    let shown = page(true).await;
    assert!(shown.contains("nonsense") && shown.contains("master.star:"), "{shown}");
    assert!(!shown.contains("<b>nobody"), "its text is no markup");
    assert!(!page(false).await.contains("requests[0].nonsense"), "the file is not quoted to strangers");
    let log = std::fs::read_to_string(t.dir().join("master0.log")).unwrap();
    assert!(log.contains("policy failed") && log.contains("master.star:"), "the traceback is in the log");
    invariants::check(&t.db).await;
}
