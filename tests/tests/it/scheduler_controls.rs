//! Enabling, disabling and running schedulers: by REST, by the command, by forms
//! on the page; over restarts and reconfigurations.

use crate::schedulers::{announce, it_is, project, texts, until};
use serde_json::{Value, json};
use std::process::{Command, Output};
use tidemill_tests::process::program;
use tidemill_tests::{Cluster, invariants};

const SCHEDULERS: &str = r#"
    schedulers.Periodic(name = "hourly", builderNames = ["b"], periodicBuildTimer = 3600, reason = "each hour"),
    schedulers.SingleBranchScheduler(name = "commits", builderNames = ["b"], treeStableTimer = 3600),
    schedulers.Dependent(name = "after", builderNames = ["c"], upstream = "commits")"#;

fn command(t: &Cluster, m: usize, arguments: &[&str]) -> Output {
    let mut command = Command::new(program("tidemill"));
    command.env("TIDEMILL_MASTER", t.master_url(m)).env("TIDEMILL_TOKEN", &t.token).env("HOME", t.dir());
    command.args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_scheduler_rests_over_restarts_and_revisions_and_catches_up_with_nothing() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project(SCHEDULERS)).await;
    until(&t, "select count(*) from buildsets where scheduler = 'hourly'", 1_i64).await;
    let answer = t.api(b).post("schedulers/hourly/enable", json!({ "enabled": false })).await.unwrap();
    assert_eq!(answer["changed"], json!(true));
    let said = command(&t, a, &["schedulers", "disable", "commits"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    announce(&t, "main", "ignored").await;
    let address = t.masters[a].address;
    t.masters[a].process.kill9();
    t.masters[b].process.kill9();
    t.master_restart(a, address).await;
    t.configure(a, &project(&SCHEDULERS.replace("each hour", "now and then"))).await;
    it_is(&t, "2027-01-01T00:20:00Z").await;
    // It has passed by the change.
    until(
        &t,
        "select (cursor_xid, cursor_id) >= (select xid, id from changes) from schedulers where name = 'commits'",
        true,
    )
    .await;
    let listed = command(&t, a, &["schedulers", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let enabled = |name: &str| {
        let all = listed["schedulers"].as_array().unwrap();
        all.iter().find(|s| s["name"] == name).unwrap()["enabled"].clone()
    };
    assert_eq!([enabled("hourly"), enabled("commits"), enabled("after")], [json!(false), json!(false), json!(true)]);
    let refused = t.api(a).post("schedulers/hourly/run", json!({})).await.unwrap_err();
    assert!(refused.contains("409") && refused.contains("is disabled: enable it first"), "{refused}");

    assert!(command(&t, a, &["schedulers", "enable", "hourly"]).status.success());
    assert!(command(&t, a, &["schedulers", "enable", "commits"]).status.success());
    // On its grid, in the coming hour.
    until(
        &t,
        "select next_at > tidemill_now() and next_at <= tidemill_now() + interval '1 hour'
           from schedulers where name = 'hourly'",
        true,
    )
    .await;
    announce(&t, "main", "seen").await;
    until(&t, "select state -> 'collected' is not null from schedulers where name = 'commits'", true).await;
    assert_eq!(texts(&t, "select scheduler from buildsets").await, ["hourly"]);
    invariants::check(&t.db).await;
}

/// Being enabled is a look at its row, and no time that the rule asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_of_the_project_is_not_called_for_being_enabled() {
    let mut t = Cluster::start().await;
    let a = t.master().await;
    let rule = "
def _rule(ctx):
    if ctx.timer:
        ctx.addBuildset(reason = \"a time\")
    for change in ctx.changes:
        ctx.addBuildset(changes = [change], reason = \"a change\")
";
    let scheduler = "schedulers.Custom(name = \"own\", builderNames = [\"b\"], rule = _rule)";
    t.configure(a, &format!("{rule}\n{}", project(scheduler))).await;
    for enabled in [false, true] {
        t.api(a).post("schedulers/own/enable", json!({ "enabled": enabled })).await.unwrap();
    }
    until(&t, "select next_at is null from schedulers", true).await;
    announce(&t, "main", "r1").await;
    until(&t, "select count(*) > 0 from buildsets", true).await;
    assert_eq!(texts(&t, "select reason from buildsets").await, ["a change"]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_now_builds_what_waits_once_and_says_who_asked() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project(SCHEDULERS)).await;
    until(&t, "select count(*) from buildsets where scheduler = 'hourly'", 1_i64).await;
    let next = texts(&t, "select next_at::text from schedulers where name = 'hourly'").await;
    let refused = t.api(b).post("schedulers/commits/run", json!({})).await.unwrap_err();
    assert!(refused.contains("no change waits for its timer"), "{refused}");
    let refused = t.api(b).post("schedulers/after/run", json!({})).await.unwrap_err();
    assert!(refused.contains("it builds what its upstream built"), "{refused}");
    let refused = command(&t, a, &["schedulers", "run", "nobody"]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("no scheduler `nobody`"));
    for revision in ["r1", "r2"] {
        announce(&t, "main", revision).await;
    }
    until(&t, "select jsonb_array_length(state -> 'collected') from schedulers where name = 'commits'", 2_i32).await;
    assert!(command(&t, b, &["schedulers", "run", "commits"]).status.success());
    t.api(b).post("schedulers/hourly", json!({ "method": "run" })).await.unwrap();
    until(&t, "select count(*) from buildsets where reason like '%(now, because local asked)'", 2_i64).await;
    let changes = texts(
        &t,
        "select h.revision from buildsets s join buildset_changes x on x.buildset_id = s.id
           join changes h on h.id = x.change_id where s.scheduler = 'commits' order by 1",
    )
    .await;
    assert_eq!(changes, ["r1", "r2"]);
    until(&t, "select count(*) from schedulers where run_asked_at is not null", 0_i64).await;
    assert_eq!(texts(&t, "select next_at::text from schedulers where name = 'hourly'").await, next);

    // The page, and its buttons.
    let client = reqwest::Client::new();
    let page =
        async || client.get(format!("{}/schedulers", t.master_url(a))).send().await.unwrap().text().await.unwrap();
    let shown = page().await;
    assert!(shown.contains("every 1 h") && shown.contains("after buildsets of commits that end well"), "{shown}");
    let token = shown.split("name=\"token\" value=\"").nth(1).and_then(|s| s.split('"').next()).unwrap().to_owned();
    let press = async |what: &str, token: &str| {
        let form = client.post(format!("{}/schedulers/hourly/{what}", t.master_url(a)));
        form.header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"))
            .send()
            .await
            .unwrap()
    };
    assert_eq!(press("disable", "guessed").await.status(), 403);
    assert!(press("disable", &token).await.status().is_success());
    assert!(page().await.contains("Enable hourly"));
    assert!(press("enable", &token).await.status().is_success());
    assert!(press("run", &token).await.status().is_success());
    until(&t, "select count(*) from buildsets where scheduler = 'hourly'", 3_i64).await;
    invariants::check(&t.db).await;
}
