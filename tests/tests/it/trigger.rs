//! Builds that start builds, and wait for them.

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::path::Path;
use tidemill_schema::scheduler_controls::scheduler_enable;
use tidemill_tests::proxy::{Fault, Proxy};
use tidemill_tests::{Cluster, invariants, wait_until};

/// A builder: its name, and the steps of its factory.
fn builder(name: &str, steps: &str) -> String {
    format!("    util.BuilderConfig(name = {name:?}, workernames = [\"*\"], factory = util.BuildFactory([{steps}])),\n")
}

fn sh(line: &str) -> String {
    format!("steps.ShellCommand(name = \"sh\", command = [\"sh\", \"-c\", {line:?}])")
}

/// Waits for a file.
fn gate(path: &Path) -> String {
    sh(&format!("while [ ! -e {} ]; do sleep 0.05; done", path.display()))
}

/// A project of these builders, and for each of these names a triggerable scheduler of the builder of that name.
fn project(builders: &[(&str, String)], triggerable: &[&str]) -> String {
    let schedulers: String = triggerable
        .iter()
        .map(|name| format!("    schedulers.Triggerable(name = \"go-{name}\", builderNames = [{name:?}]),\n"))
        .collect();
    let builders: String = builders.iter().map(|(name, steps)| builder(name, steps)).collect();
    format!("c = {{}}\nc[\"builders\"] = [\n{builders}]\nc[\"schedulers\"] = [\n{schedulers}]\n")
}

/// Waits until a builder has a build in this state; its id.
async fn build_of(t: &Cluster, builder: &str, state: &str) -> i64 {
    wait_until(&format!("a build of {builder} to be {state}"), || async {
        let found: Option<i64> = sqlx::query_scalar(
            "select b.id from builds b join builders u on u.id = b.builder_id
              where u.name = $1 and b.state = $2 order by b.id desc limit 1",
        )
        .bind(builder)
        .bind(state)
        .fetch_optional(t.db.pool())
        .await
        .map_err(|e| e.to_string())?;
        found.ok_or_else(|| "none".to_owned())
    })
    .await
}

/// Results of all requests of a builder, oldest first.
async fn results(t: &Cluster, builder: &str) -> Vec<Option<i16>> {
    sqlx::query_scalar(
        "select r.results from build_requests r join builders u on u.id = r.builder_id where u.name = $1 order by r.id",
    )
    .bind(builder)
    .fetch_all(t.db.pool())
    .await
    .unwrap()
}

async fn number(t: &Cluster, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(t.db.pool()).await.unwrap()
}

/// The first step of a build of a request that is over.
async fn step_of(t: &Cluster, m: usize, request: i64) -> Value {
    let build = t.build_of(request, "finished").await;
    t.api(m).list(&format!("builds/{build}/steps")).await.unwrap().remove(0)
}

/// The text of the only log of a step.
async fn log_of(t: &Cluster, m: usize, request: i64, name: &str) -> String {
    let build = t.build_of(request, "finished").await;
    String::from_utf8(t.log(m, build, 1, name).await).unwrap()
}

/// Waits until the step that waits says so.
async fn says(t: &Cluster, m: usize, build: i64, words: &str) -> Value {
    wait_until(&format!("the step to say {words:?}"), || async {
        let steps = t.api(m).list(&format!("builds/{build}/steps")).await?;
        let step = steps.last().cloned().unwrap_or_default();
        match step["state_string"].as_str() {
            Some(text) if text.contains(words) => Ok(step),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_waits_for_what_it_triggers_on_two_replicas_and_takes_the_worst_result_that_counts() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    let open = t.dir().join("open");
    let trigger = "steps.Trigger(schedulerNames = [\"go-good\", \"go-poor\", \"go-bad\"], unimportantSchedulerNames = \
                   [\"go-bad\"], waitForFinish = True, warnOnWarnings = True), "
        .to_owned()
        + &sh("echo after");
    let poor = format!(
        "{}, steps.ShellCommand(name = \"warn\", command = [\"false\"], flunkOnFailure = False, warnOnFailure = True)",
        gate(&open)
    );
    let file = project(
        &[("parent", trigger), ("good", sh("echo good")), ("poor", poor), ("bad", sh("exit 1"))],
        &["good", "poor", "bad"],
    );
    t.configure(a, &file).await;
    t.worker("one", &t.master_url(a), 2).await;
    t.worker("two", &t.master_url(b), 2).await;
    let request = t.force(b, "parent").await;
    let parent = t.build_of(request, "running").await;
    // While it waits: a link to each build that began, and what it waits for.
    let step = says(&t, a, parent, "waiting for 1").await;
    assert!(step["state_string"].as_str().unwrap().contains("triggered go-good, go-poor, go-bad"), "{step}");
    wait_until("links to all three", || async {
        let step = t.api(b).list(&format!("builds/{parent}/steps")).await?.remove(0);
        let mut names: Vec<_> = step["urls"].as_array().unwrap().iter().map(|u| u["name"].to_string()).collect();
        names.sort();
        if names == ["\"bad #1\"", "\"good #1\"", "\"poor #1\""] { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    assert_eq!(t.api(a).list("builds?complete=false").await.unwrap().len(), 2, "the parent and the poor one");
    std::fs::write(&open, "").unwrap();
    assert_eq!(t.result_of(request).await, 1, "warnings: the worst but for what does not count");
    let steps = t.api(a).list(&format!("builds/{parent}/steps")).await.unwrap();
    assert_eq!((&steps[0]["results"], &steps[1]["results"]), (&json!(1), &json!(0)));
    assert!(steps[0]["state_string"].as_str().unwrap().starts_with("triggered go-good, go-poor, go-bad"), "{steps:?}");

    // Who started whom can be read on both sides.
    let children = t.api(b).list(&format!("builds/{parent}/triggered_builds")).await.unwrap();
    assert_eq!(children.len(), 3);
    let set = children[0]["buildsetid"].as_i64().unwrap();
    let set = t.api(a).list(&format!("buildsets/{set}")).await.unwrap().remove(0);
    assert_eq!((&set["parent_buildid"], &set["parent_relationship"]), (&json!(parent), &json!("Triggered from")));
    assert!(set["scheduler"].as_str().unwrap().starts_with("go-"));
    let asked = t.api(a).list("buildrequests?waited_for=true").await.unwrap();
    assert_eq!(asked.len(), 3);
    let triggers = "select count(*) from triggers where state = 'over'";
    wait_until("the trigger to be over", || async {
        let n = number(&t, triggers).await;
        if n == 1 { Ok(()) } else { Err(n) }
    })
    .await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_a_trigger_is_a_success_at_once_and_its_builds_outlive_a_stop() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let (open, shut) = (t.dir().join("open"), t.dir().join("shut"));
    let parent = format!("steps.Trigger(schedulerNames = [\"go-child\"]), {}", gate(&shut));
    t.configure(m, &project(&[("parent", parent), ("child", gate(&open))], &["child"])).await;
    t.worker("w", &t.master_url(m), 2).await;
    let request = t.force(m, "parent").await;
    let child = build_of(&t, "child", "running").await;
    let parent = t.build_of(request, "running").await;
    let step = t.api(m).list(&format!("builds/{parent}/steps")).await.unwrap().remove(0);
    assert_eq!((&step["results"], &step["complete"]), (&json!(0), &json!(true)));
    t.api(m).post(&format!("builds/{parent}/stop"), json!({ "reason": "enough" })).await.unwrap();
    assert_eq!(t.result_of(request).await, 6);
    assert_eq!(t.build(m, child).await["complete"], false, "what nobody waited for goes on");
    std::fs::write(&open, "").unwrap();
    wait_until("the child to end", || async {
        let results = results(&t, "child").await;
        if results == [Some(0)] { Ok(()) } else { Err(format!("{results:?}")) }
    })
    .await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedulers_own_properties_win_and_children_have_the_parents_priority_and_sources() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let show = |name: &str| {
        let says =
            "%(prop:who)s/%(prop:step)s/%(prop:owner:-nobody)s/%(prop:branch)s/%(prop:revision)s/%(src:lib:branch)s";
        format!("steps.ShellCommand(name = {name:?}, command = [\"echo\", util.Interpolate({says:?})])")
    };
    let trigger = "steps.SetProperty(property = \"got_revision\", value = \"found\"), steps.Trigger(schedulerNames = [\"own\", \
                   {\"name\": \"bare\", \"properties\": {\"step\": \"second\"}}], waitForFinish = True, copy_properties = [\"owner\"], \
                   set_properties = {\"who\": \"step\", \"step\": \"first\", \"reason\": \"because\"})";
    let mut file = project(&[("parent", trigger.into()), ("child", show("show"))], &[]);
    file.push_str(
        "c[\"schedulers\"] = [\n    schedulers.Triggerable(name = \"own\", builderNames = [\"child\"], properties = {\"who\": \"scheduler\"}, \
         priority = 7, codebases = {\"\": {\"branch\": \"default\"}, \"lib\": {\"repository\": \"lib.git\", \"branch\": \"stable\"}}),\n    \
         schedulers.Triggerable(name = \"bare\", builderNames = lambda changes: [\"child\"]),\n]\n",
    );
    t.configure(m, &file).await;
    t.worker("w", &t.master_url(m), 3).await;
    let wish = json!({ "branch": "topic", "revision": "asked", "priority": 3, "reason": "test" });
    let answer = t.api(m).post("builders/parent/force", wish).await.unwrap();
    let request = answer["buildrequestids"][0].as_i64().unwrap();
    assert_eq!(t.result_of(request).await, 0);
    let children: Vec<(i64, i32, String, String)> = sqlx::query_as(
        "select b.id, r.priority, s.reason, s.scheduler from builds b join build_requests r on r.id = b.request_id
           join buildsets s on s.id = r.buildset_id where s.parent_build_id is not null order by s.id",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    let facts: Vec<_> = children.iter().map(|(_, p, r, s)| (*p, r.as_str(), s.as_str())).collect();
    assert_eq!(facts, [(7, "because", "own"), (3, "because", "bare")]);
    let said = |id: i64| {
        let t = &t;
        async move { String::from_utf8(t.log(m, id, 1, "stdio").await).unwrap().trim().to_owned() }
    };
    // Two codebases: `branch` and `revision` are set for one only.
    assert_eq!(said(children[0].0).await, "scheduler/first/local///stable");
    assert_eq!(said(children[1].0).await, "step/second/local/topic/found/");
    let properties = t.api(m).get(&format!("builds/{}/properties", children[0].0)).await.unwrap();
    let properties = &properties["properties"][0];
    assert_eq!(
        (&properties["who"], &properties["step"]),
        (&json!(["scheduler", "Scheduler"]), &json!(["first", "Trigger"]))
    );
    assert_eq!(properties["scheduler"], json!(["own", "Scheduler"]));
    let stamps = t
        .api(m)
        .list(&format!("buildsets/{}/sourcestamps", t.build(m, children[0].0).await["buildsetid"]))
        .await
        .unwrap();
    let stamps: Vec<_> =
        stamps.iter().map(|s| (s["codebase"].as_str(), s["branch"].as_str(), s["revision"].as_str())).collect();
    assert!(stamps.contains(&(Some(""), Some("topic"), Some("found"))), "{stamps:?}");
    assert!(stamps.contains(&(Some("lib"), Some("stable"), None)), "{stamps:?}");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_whose_answer_is_lost_fires_once() {
    let mut t = Cluster::with(false, 20).await;
    let (a, b) = (t.master().await, t.master().await);
    let open = t.dir().join("open");
    // Both replicas, one after the other; the answers of the first are lost.
    let parent = format!("{}, steps.Trigger(schedulerNames = [\"go-child\"], waitForFinish = True)", gate(&open));
    t.configure(a, &project(&[("parent", parent), ("child", sh("echo once"))], &["child"])).await;
    let proxy = Proxy::start(t.masters[a].address).await;
    t.worker("far", &proxy.url(), 1).await;
    let request = t.force(b, "parent").await;
    t.build_of(request, "running").await;
    proxy.set(Fault::SwallowAnswers);
    std::fs::write(&open, "").unwrap();
    wait_until("the trigger to be stored", || async {
        let n = number(&t, "select count(*) from triggers").await;
        if n == 1 { Ok(()) } else { Err(n) }
    })
    .await;
    // The child runs elsewhere, and is over before anybody could say that it was started.
    t.worker("near", &t.master_url(b), 1).await;
    wait_until("the child to end", || async {
        let results = results(&t, "child").await;
        if results == [Some(0)] { Ok(()) } else { Err(format!("{results:?}")) }
    })
    .await;
    proxy.set(Fault::None);
    proxy.cut();
    assert_eq!(t.result_of(request).await, 0);
    assert_eq!(number(&t, "select count(*) from triggers").await, 1);
    assert_eq!(number(&t, "select count(*) from buildsets where parent_build_id is not null").await, 1);
    assert_eq!(number(&t, "select count(*) from builds").await, 2);
    let links = step_of(&t, b, request).await;
    assert_eq!(links["name"], "sh");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_build_outlives_every_master() {
    let mut t = Cluster::with(false, 8).await;
    let m = t.master().await;
    let open = t.dir().join("open");
    let parent = "steps.Trigger(schedulerNames = [\"go-child\"], waitForFinish = True)".to_owned();
    t.configure(m, &project(&[("parent", parent), ("child", gate(&open))], &["child"])).await;
    t.worker("w", &t.master_url(m), 2).await;
    let request = t.force(m, "parent").await;
    build_of(&t, "child", "running").await;
    let address = t.masters[m].address;
    t.masters[m].process.kill9();
    wait_until("the leases to be past their time", || async {
        let past: bool =
            sqlx::query_scalar("select bool_and(expires_at < tidemill_now() - interval '1 second') from leases")
                .fetch_one(t.db.pool())
                .await
                .map_err(|e| e.to_string())?;
        if past { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    // The child ends while nobody can hear of it.
    std::fs::write(&open, "").unwrap();
    t.master_restart(m, address).await;
    assert_eq!(t.result_of(request).await, 0);
    assert_eq!(number(&t, "select count(*) from builds").await, 2, "neither was repeated");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconfig_disturbs_neither_a_waiting_build_nor_what_it_waits_for() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    let (open, again) = (t.dir().join("open"), t.dir().join("again"));
    let trigger = "steps.Trigger(schedulerNames = [\"go-child\", \"go-late\"], waitForFinish = True)".to_owned();
    let late = |gate: String| ("late", gate);
    let first = project(&[("parent", trigger), ("child", gate(&open)), late(sh("echo old"))], &["child", "late"]);
    t.configure(a, &first).await;
    // No room for the last one: it waits in the queue while the configuration changes.
    t.worker("w", &t.master_url(b), 2).await;
    let request = t.force(a, "parent").await;
    let child = build_of(&t, "child", "running").await;
    let parent = t.build_of(request, "running").await;
    says(&t, b, parent, "waiting for 2").await;
    let before: (i64, String) = sqlx::query_as("select b.id, b.token from builds b where b.id = $1")
        .bind(parent)
        .fetch_one(t.db.pool())
        .await
        .unwrap();

    // The child's builder has other steps, its scheduler is gone, and so is the parent's trigger.
    let second = project(&[("parent", sh("echo nothing")), ("child", sh("exit 1")), late(gate(&again))], &["late"]);
    t.configure(b, &second).await;
    wait_until("both replicas to have it", || async {
        for m in [a, b] {
            let active = t.api(m).get("config").await?;
            if active["revision"] != 2 || active["ready"] != true {
                return Err(active.to_string());
            }
        }
        Ok(())
    })
    .await;
    assert_eq!(t.build(a, child).await["complete"], false);
    std::fs::write(&open, "").unwrap();
    // The one that had not begun is built by the new configuration.
    build_of(&t, "late", "running").await;
    says(&t, b, parent, "waiting for 1").await;
    assert_eq!(results(&t, "child").await, [Some(0)], "it kept the steps that it started with");
    std::fs::write(&again, "").unwrap();
    assert_eq!(t.result_of(request).await, 0);
    let after: (i64, String) = sqlx::query_as("select b.id, b.token from builds b where b.id = $1")
        .bind(parent)
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    assert_eq!(before, after);
    assert_eq!(number(&t, "select count(*) from builds").await, 3);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_a_waiting_build_cancels_what_it_waits_for_down_to_the_last() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    let never = t.dir().join("never");
    let trigger = |names: &str| format!("steps.Trigger(schedulerNames = [{names}], waitForFinish = True)");
    let file = project(
        &[
            ("parent", trigger("\"go-middle\", \"go-queued\"")),
            ("middle", trigger("\"go-leaf\"")),
            ("leaf", gate(&never)),
            ("queued", gate(&never)),
        ],
        &["middle", "leaf", "queued"],
    );
    // The last one has no worker.
    let file =
        file.replace("name = \"queued\", workernames = [\"*\"]", "name = \"queued\", workernames = [\"nobody\"]");
    t.configure(a, &file).await;
    t.worker("w", &t.master_url(a), 3).await;
    let request = t.force(b, "parent").await;
    let leaf = build_of(&t, "leaf", "running").await;
    let parent = t.build_of(request, "running").await;
    t.api(b).post(&format!("builds/{parent}/stop"), json!({ "reason": "enough" })).await.unwrap();
    assert_eq!(t.result_of(request).await, 6);
    for builder in ["middle", "leaf", "queued"] {
        wait_until("all of them to be cancelled", || async {
            let results = results(&t, builder).await;
            if results == [Some(6)] { Ok(()) } else { Err(format!("{builder}: {results:?}")) }
        })
        .await;
    }
    let why = t.build(a, leaf).await["stop_reason"].to_string();
    assert!(why.contains("middle #1, which waited for it, was stopped") && why.contains("parent #1"), "{why}");
    wait_until("nothing to be waited for", || async {
        let n = number(&t, "select count(*) from triggers where state = 'waiting'").await;
        if n == 0 { Ok(()) } else { Err(n) }
    })
    .await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_build_waited_for_is_cancelled_and_its_next_attempt_triggers_anew() {
    let mut t = Cluster::with(false, 6).await;
    let m = t.master().await;
    let open = t.dir().join("open");
    let parent = "steps.Trigger(schedulerNames = [\"go-child\"], waitForFinish = True)".to_owned();
    let file = project(&[("parent", parent), ("child", gate(&open))], &["child"])
        .replace("name = \"parent\", workernames = [\"*\"]", "name = \"parent\", workernames = [\"first\", \"second\"]")
        .replace("name = \"child\", workernames = [\"*\"]", "name = \"child\", workernames = [\"other\"]");
    t.configure(m, &file).await;
    let first = t.worker("first", &t.master_url(m), 1).await;
    t.worker("other", &t.master_url(m), 1).await;
    let request = t.force(m, "parent").await;
    let child = build_of(&t, "child", "running").await;
    t.workers[first].process.signal(Signal::SIGKILL);
    t.worker("second", &t.master_url(m), 1).await;
    wait_until("the first child to be cancelled", || async {
        let build = t.build(m, child).await;
        if build["results"] == 6 { Ok(()) } else { Err(build.to_string()) }
    })
    .await;
    let why = t.build(m, child).await["stop_reason"].to_string();
    assert!(why.contains("parent #1, which waited for it, was lost"), "{why}");
    wait_until("the second child to run", || async {
        let again = build_of(&t, "child", "running").await;
        if again != child { Ok(()) } else { Err(again) }
    })
    .await;
    std::fs::write(&open, "").unwrap();
    assert_eq!(t.result_of(request).await, 0);
    assert_eq!(results(&t, "child").await, [Some(6), Some(0)]);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_cannot_be_is_an_exception_that_says_what_there_is() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let trigger = "steps.Trigger(schedulerNames = [util.Property(\"which\", \"go-chidl\")])".to_owned();
    t.configure(m, &project(&[("parent", trigger), ("child", sh("true"))], &["child"])).await;
    t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "parent").await;
    assert_eq!(t.result_of(request).await, 4);
    let text = log_of(&t, m, request, "err.text").await;
    assert!(text.contains("there is no scheduler named `go-chidl`; did you mean `go-child`?"), "{text}");
    assert_eq!(number(&t, "select count(*) from buildsets").await, 1);

    let id: i64 =
        sqlx::query_scalar("select id from schedulers where name = 'go-child'").fetch_one(t.db.pool()).await.unwrap();
    tidemill_schema::run_tx!(t.db, "test", |c| scheduler_enable(c, id, false, "test").await).unwrap();
    let wish = json!({ "properties": { "which": "go-child" } });
    let answer = t.api(m).post("builders/parent/force", wish).await.unwrap();
    let request = answer["buildrequestids"][0].as_i64().unwrap();
    assert_eq!(t.result_of(request).await, 4);
    let text = log_of(&t, m, request, "err.text").await;
    assert!(text.contains("switched off: `go-child`"), "{text}");
    assert_eq!(number(&t, "select count(*) from triggers").await, 0);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_packs_for_each_system_and_publishes_what_was_packed() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/trigger/master.star");
    let files = [("master.star".to_owned(), std::fs::read_to_string(example).unwrap())].into();
    let applied = t.configure_files(m, &files).await.unwrap();
    assert_eq!(applied["warnings"], json!([]), "{applied}");
    t.worker("w", &t.master_url(m), 3).await;
    let request = t.force(m, "release").await;
    assert_eq!(t.result_of(request).await, 0);
    wait_until("it to be published", || async {
        let results = results(&t, "publish").await;
        if results == [Some(0)] { Ok(()) } else { Err(format!("{results:?}")) }
    })
    .await;
    assert_eq!(results(&t, "package").await, [Some(0); 3]);
    assert_eq!(results(&t, "benchmark").await, [Some(2)], "it failed, and does not count");
    let release = t.build_of(request, "finished").await;
    let mut packed = vec![];
    for build in t.api(m).list(&format!("builds/{release}/triggered_builds")).await.unwrap() {
        if build["buildername"] != "benchmark" {
            let log = t.log(m, build["buildid"].as_i64().unwrap(), 1, "stdio").await;
            packed.push(String::from_utf8(log).unwrap().trim().to_owned());
        }
    }
    packed.sort();
    let expected =
        ["packing 1.0.1 for linux", "packing 1.0.1 for mac", "packing 1.0.1 for windows", "publishing to the mirror"];
    assert_eq!(packed, expected);
    let page =
        reqwest::get(format!("{}/builders/release/builds/1", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(page.contains("Triggered builds") && page.contains("/builders/package/builds/3"), "{page}");
    let page =
        reqwest::get(format!("{}/builders/package/builds/1", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(page.contains("Package for") && page.contains("release #1"), "{page}");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_triggered_for_the_night_is_built_once_then_and_only_the_latest() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    let trigger = "steps.Trigger(schedulerNames = [\"nightly\"], waitForFinish = True, set_properties = {\"n\": \
                   util.Property(\"n\")})";
    let child =
        "steps.ShellCommand(name = \"show\", command = [\"echo\", util.Interpolate(\"%(prop:n)s %(prop:branch)s\")])";
    let schedulers = |hours: &str| {
        format!(
            "c[\"schedulers\"] = [schedulers.NightlyTriggerable(name = \"nightly\", builderNames = [\"child\"], hour = {hours}, minute = 30)]\n"
        )
    };
    let file = project(&[("parent", trigger.into()), ("child", child.into())], &[]);
    t.configure(a, &(file.clone() + &schedulers("[4, 16]"))).await;
    t.worker("w", &t.master_url(a), 1).await;
    for (n, branch) in [(1, "one"), (2, "two"), (3, "three")] {
        let wish = json!({ "branch": branch, "priority": n, "properties": { "n": n } });
        let answer = t.api(b).post("builders/parent/force", wish).await.unwrap();
        let request = answer["buildrequestids"][0].as_i64().unwrap();
        assert_eq!(t.result_of(request).await, 0, "it does not wait for the night");
    }
    // What is remembered survives a new timetable, which moves its time.
    t.configure(b, &(file + &schedulers("3"))).await;
    let at =
        "select coalesce(to_char(next_at at time zone 'UTC', 'HH24:MI'), '-') from schedulers where name = 'nightly'";
    let time = async || -> String { sqlx::query_scalar(at).fetch_one(t.db.pool()).await.unwrap() };
    wait_until("the new time", || async {
        let time = time().await;
        if time == "03:30" { Ok(()) } else { Err(time) }
    })
    .await;
    assert_eq!(number(&t, "select count(*) from buildsets where parent_build_id is not null").await, 0);
    // A day later: on two replicas, once.
    let later = "create or replace function tidemill_now() returns timestamptz language sql volatile parallel safe \
                 as $$ select clock_timestamp() + interval '1 day' $$";
    sqlx::raw_sql(later).execute(t.db.pool()).await.unwrap();
    wait_until("the child to end", || async {
        let results = results(&t, "child").await;
        if results == [Some(0)] { Ok(()) } else { Err(format!("{results:?}")) }
    })
    .await;
    let child = build_of(&t, "child", "finished").await;
    assert_eq!(String::from_utf8(t.log(a, child, 1, "stdio").await).unwrap(), "3 three\n");
    let row: (i32, bool, String) = sqlx::query_as(
        "select r.priority, r.waited_for, s.scheduler from buildsets s join build_requests r on r.buildset_id = s.id
          where s.parent_build_id is not null",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(row, (3, false, "nightly".into()));
    wait_until("nothing to be remembered", || async {
        let time = time().await;
        if time == "-" { Ok(()) } else { Err(time) }
    })
    .await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_that_trigger_each_other_without_an_end_are_ended() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let trigger = "steps.Trigger(schedulerNames = [\"go-loop\"])".to_owned();
    t.configure(m, &project(&[("loop", trigger)], &["loop"])).await;
    t.worker("w", &t.master_url(m), 1).await;
    t.force(m, "loop").await;
    let ended = wait_until("the last of them", || async {
        let found: Option<i64> = sqlx::query_scalar("select request_id from builds where results = 4")
            .fetch_optional(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        found.ok_or_else(|| "none failed yet".to_owned())
    })
    .await;
    assert_eq!(number(&t, "select count(*) from builds").await, 21);
    let text = log_of(&t, m, ended, "err.text").await;
    assert!(text.contains("20 builds stand above this one") && text.contains("trigger itself"), "{text}");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_only_worker_it_holds_itself_says_so_while_it_waits() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let parent = "steps.Trigger(schedulerNames = [\"go-child\"], waitForFinish = True)".to_owned();
    t.configure(m, &project(&[("parent", parent), ("child", sh("echo late"))], &["child"])).await;
    t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "parent").await;
    let parent = t.build_of(request, "running").await;
    let words = "child cannot start: builds that wait hold every slot of the workers that may build it";
    says(&t, m, parent, words).await;
    // Another worker is the remedy.
    t.worker("more", &t.master_url(m), 1).await;
    assert_eq!(t.result_of(request).await, 0);
    invariants::check(&t.db).await;
}
