//! Locks across masters, through the death of all who have to do with them.

use serde_json::{Value, json};
use std::net::SocketAddr;
use tidemill_tests::cluster::free_port;
use tidemill_tests::haproxy::HaProxy;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

/// Builders `held` (an exclusive lock for the build) and `step` (for its second step), whose
/// commands run until the test makes the file `go` in `dir`.
fn project(dir: &std::path::Path) -> String {
    let dir = dir.display();
    format!(
        r#"
c = {{"collapseRequests": False}}
db = util.MasterLock("db")
wait = "echo begun; until test -e {dir}/go; do sleep 0.05; done; echo done"
work = steps.ShellCommand(name = "work", command = ["sh", "-c", wait])
locked = steps.ShellCommand(name = "locked", command = ["sh", "-c", wait], locks = [db.access("exclusive")])
always = steps.ShellCommand(name = "always", command = ["true"], alwaysRun = True)
c["builders"] = [
    util.BuilderConfig(name = "held", workernames = ["*"], factory = util.BuildFactory([work]), locks = [db.access("exclusive")]),
    util.BuilderConfig(name = "step", workernames = ["*"], factory = util.BuildFactory([locked, always])),
]
"#
    )
}

fn go(t: &Cluster) {
    std::fs::write(t.dir().join("go"), "").unwrap();
}

async fn steps_of(t: &Cluster, master: usize, build: i64) -> Vec<Value> {
    t.api(master).list(&format!("builds/{build}/steps")).await.unwrap_or_default()
}

/// Waits until the first step of the build says this.
async fn says(t: &Cluster, master: usize, build: i64, text: &str) {
    wait_until(&format!("build {build} to say «{text}»"), || async {
        let step = steps_of(t, master, build).await.into_iter().next().unwrap_or_default();
        holds(step["state_string"].as_str().unwrap_or_default().contains(text), step)
    })
    .await;
}

async fn waits_for(t: &Cluster, master: usize, request: i64) -> String {
    let row = t.api(master).list(&format!("buildrequests/{request}")).await.unwrap().remove(0);
    row["waits_for"].as_str().unwrap_or_default().to_owned()
}

async fn number(t: &Cluster, build: i64) -> i64 {
    sqlx::query_scalar("select number from builds where id = $1").bind(build).fetch_one(t.db.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_masters_build_one_at_a_time_what_holds_an_exclusive_lock_and_show_who_waits() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project(t.dir())).await;
    t.worker("one", &t.master_url(a), 4).await;
    t.worker("two", &t.master_url(b), 4).await;
    let first = t.force(a, "held").await;
    let running = t.build_of(first, "running").await;
    let mut requests = vec![first];
    for m in [a, b, a, b] {
        requests.push(t.force(m, "held").await);
    }
    let says = format!("lock db held by build held #{}", number(&t, running).await);
    wait_until("the reason to be said", || async {
        let why = waits_for(&t, b, requests[4]).await;
        holds(why == says, why)
    })
    .await;
    let lock = t.api(b).list("locks/db").await.unwrap().remove(0);
    assert_eq!((lock["kind"].as_str(), lock["capacity"].as_i64()), (Some("master"), Some(1)));
    assert_eq!(lock["holders"][0]["buildid"], running);
    assert_eq!(lock["waiters"].as_array().unwrap().len(), 1, "a builder stands in the line once");
    assert_eq!(lock["waiters"][0]["buildername"], "held");
    let page = reqwest::get(format!("{}/locks", t.master_url(a))).await.unwrap().text().await.unwrap();
    assert!(page.contains("held exclusively") && page.contains("its next build"), "{page}");
    invariants::check(&t.db).await;
    go(&t);
    for request in requests {
        assert_eq!(t.result_of(request).await, 0);
    }
    let together: i64 = sqlx::query_scalar(
        "select count(*) from builds x join builds y on x.id < y.id and x.started_at < y.complete_at and y.started_at < x.complete_at",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(together, 0, "two builds held the lock at once");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_waits_outlives_every_master_and_gets_its_lock() {
    let mut t = Cluster::start().await;
    let spare = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (a, b) = (t.master().await, t.master().await);
    let addresses = [t.masters[a].address, t.masters[b].address, spare];
    let Some(balancer) = HaProxy::start(t.dir(), &addresses) else { return };
    t.configure(a, &project(t.dir())).await;
    let api = tidemill_tests::api::Api::new(&balancer.url(), &t.token);
    wait_until("the balancer to see a master", || async { api.get("builders").await }).await;
    t.worker("w", &balancer.url(), 4).await;
    let holder = t.force(a, "held").await;
    let holding = t.build_of(holder, "running").await;
    let waiter = t.force(b, "step").await;
    let waiting = t.build_of(waiter, "running").await;
    let says_held = format!("waiting for lock db held by build held #{}", number(&t, holding).await);
    says(&t, a, waiting, &says_held).await;
    assert_eq!(steps_of(&t, a, waiting).await[0]["locks_acquired_at"], Value::Null);
    for m in &mut t.masters {
        m.process.kill9();
    }
    // The holder ends while nobody can hear it.
    go(&t);
    t.master_restart(a, spare).await;
    assert_eq!(t.result_of(holder).await, 0);
    assert_eq!(t.result_of(waiter).await, 0);
    let step = steps_of(&t, a, waiting).await.remove(0);
    assert!(step["locks_waited_ms"].as_i64().unwrap() > 0, "{step}");
    assert!(step["locks_acquired_at"].as_i64() >= step["started_at"].as_i64(), "{step}");
    let order: bool = sqlx::query_scalar(
        "select s.started_at + s.lock_wait >= b.complete_at - interval '1 second' from steps s, builds b
          where s.build_id = $1 and s.number = 1 and b.id = $2",
    )
    .bind(waiting)
    .bind(holding)
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert!(order, "it ran before the lock was given back");
    let attempts: i64 = sqlx::query_scalar("select count(*) from builds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(attempts, 2, "no build was lost");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_locks_go_to_who_waits() {
    let mut t = Cluster::with(false, 12).await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project(t.dir())).await;
    let doomed = t.worker("doomed", &t.master_url(a), 2).await;
    let held = t.force(a, "held").await;
    t.build_of(held, "running").await;
    t.worker("other", &t.master_url(b), 2).await;
    wait_until("the other worker to be seen", || async {
        let workers = t.api(b).list("workers").await?;
        holds(workers.iter().filter(|w| w["connected"] == true).count() == 2, "one is away")
    })
    .await;
    t.workers[doomed].process.kill9();
    let step = t.force(b, "step").await;
    let waiting = t.build_of(step, "running").await;
    says(&t, b, waiting, "waiting for lock db").await;
    go(&t);
    assert_eq!(t.result_of(step).await, 0);
    assert_eq!(t.result_of(held).await, 0, "built again, with its lock");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_wait_at_once() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project(t.dir())).await;
    t.worker("w", &t.master_url(m), 3).await;
    let holder = t.force(m, "held").await;
    t.build_of(holder, "running").await;
    let waiter = t.force(m, "step").await;
    let waiting = t.build_of(waiter, "running").await;
    says(&t, m, waiting, "waiting for lock db").await;
    t.api(m).post(&format!("builds/{waiting}/stop"), json!({ "reason": "enough" })).await.unwrap();
    assert_eq!(t.result_of(waiter).await, 6);
    let steps = steps_of(&t, m, waiting).await;
    assert_eq!((steps[0]["results"].as_i64(), steps[1]["results"].as_i64()), (Some(6), Some(0)), "{steps:?}");
    let lines: i64 = sqlx::query_scalar("select count(*) from lock_waiters").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(lines, 0, "it left the line");
    go(&t);
    assert_eq!(t.result_of(holder).await, 0);
    invariants::check(&t.db).await;
}

/// Where functions choose, what waits for a lock takes no slot from others, nor do its like.
#[tokio::test(flavor = "multi_thread")]
async fn with_functions_that_choose_a_builder_that_waits_for_a_lock_leaves_its_slots_to_others() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let dir = t.dir().display();
    let text = format!(
        r#"
c = {{"collapseRequests": False, "locks": []}}
db = util.MasterLock("db")
c["locks"].append(db)
def first(builder, requests):
    return requests[0]
def by_request(builder, worker, request):
    return [db.access("exclusive")] if request.reason == "locked" else []
wait = steps.ShellCommand(name = "work", command = ["sh", "-c", "until test -e {dir}/go; do sleep 0.05; done"])
f = util.BuildFactory([wait])
c["builders"] = [
    util.BuilderConfig(name = "held", workernames = ["*"], factory = f, nextBuild = first, locks = [db.access("exclusive")]),
    util.BuilderConfig(name = "free", workernames = ["*"], factory = f, nextBuild = first),
    util.BuilderConfig(name = "some", workernames = ["*"], factory = f, locks = by_request),
]
"#
    );
    t.configure(m, &text).await;
    let api = t.api(m);
    let force = async |builder: &str, reason: &str| -> i64 {
        let answer = api.post(&format!("builders/{builder}/force"), json!({ "reason": reason })).await.unwrap();
        answer["buildrequestids"][0].as_i64().unwrap()
    };
    let held = [force("held", "").await, force("held", "").await];
    let locked = [force("some", "locked").await, force("some", "locked").await];
    let (free, plain) = (force("free", "").await, force("some", "plain").await);
    t.worker("w", &t.master_url(m), 3).await;
    for request in [held[0], free, plain] {
        t.build_of(request, "running").await;
    }
    wait_until("the reasons to be said", || async {
        for request in [held[1], locked[0], locked[1]] {
            let why = waits_for(&t, m, request).await;
            holds(why.starts_with("lock db held by build held #"), why)?;
        }
        Ok::<_, String>(())
    })
    .await;
    go(&t);
    for request in held.into_iter().chain(locked).chain([free, plain]) {
        assert_eq!(t.result_of(request).await, 0);
    }
    invariants::check(&t.db).await;
}

/// P-23, BU-09.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_takes_units_of_a_pool_by_a_property_and_its_failure_starts_nothing() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let dir = t.dir().display();
    let text = format!(
        r#"
c = {{"collapseRequests": False}}
memory = util.MasterLock("memory", maxCount = 10)
c["locks"] = [memory]
def needs(builder, worker, request):
    return [memory.access("counting", count = int(request.properties["gb"]))]
f = util.BuildFactory([steps.ShellCommand(name = "work", command = ["sh", "-c", "until test -e {dir}/go; do sleep 0.05; done"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f, locks = needs)]
"#
    );
    t.configure(m, &text).await;
    t.worker("w", &t.master_url(m), 8).await;
    let force = async |gb: Option<&str>| -> i64 {
        let properties = gb.map_or(json!({}), |gb| json!({ "gb": gb }));
        let body = json!({ "properties": properties });
        let answer = t.api(m).post("builders/b/force", body).await.unwrap();
        answer["buildrequestids"][0].as_i64().unwrap()
    };
    let big = force(Some("7")).await;
    t.build_of(big, "running").await;
    let small = force(Some("3")).await;
    t.build_of(small, "running").await;
    let bigger = force(Some("8")).await;
    wait_until("the reason to be said", || async {
        let why = waits_for(&t, m, bigger).await;
        holds(why.starts_with("lock memory held by build b #"), why)
    })
    .await;
    let used: i64 = sqlx::query_scalar("select sum(units) from lock_holds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(used, 10);
    let failing = force(None).await;
    wait_until("the failure to be shown", || async {
        let why = waits_for(&t, m, failing).await;
        holds(why.contains("the function `locks` of its builder failed"), why)
    })
    .await;
    let page = reqwest::get(format!("{}/builders/b", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(page.contains("locks"), "{page}");
    go(&t);
    for request in [big, bigger, small] {
        assert_eq!(t.result_of(request).await, 0);
    }
    let builds: i64 = sqlx::query_scalar("select count(*) from builds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(builds, 3, "without its locks nothing starts");
    invariants::check(&t.db).await;
}
