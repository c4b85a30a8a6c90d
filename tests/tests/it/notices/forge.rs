//! Forges, played by their published documents: statuses, comments and votes of commits.

use super::played::{Server, change, left};
use super::{all_ended, states};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, wait_until};

const SHA: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

/// Two builders, whose builds wait until there is the file `go`.
fn project(t: &Cluster, services: &str) -> String {
    let go = t.dir().join("go").display().to_string();
    format!(
        r#"
go = {go:?}
c = {{"buildbotURL": "https://ci.example.org/"}}
c["www"] = {{"change_hook_dialects": {{"base": True}}}}
c["schedulers"] = [schedulers.AnyBranchScheduler(name = "all", builderNames = ["good", "bad"])]
def builder(name, line):
    return util.BuilderConfig(name = name, workernames = ["*"], factory = util.BuildFactory([
        steps.SetProperty(property = "tests_failed", value = "3"),
        steps.ShellCommand(name = "run", command = ["sh", "-c", "until [ -e %s ]; do sleep 0.05; done; %s" % (go, line)]),
    ]))
c["builders"] = [builder("good", "true"), builder("bad", "exit 1")]
c["services"] = [{services}]
"#
    )
}

fn go(t: &Cluster) {
    std::fs::write(t.dir().join("go"), "").unwrap();
}

/// Waits until so many deliveries are planned, of whatever state.
async fn planned(t: &Cluster, moment: &str, count: i64) {
    wait_until(&format!("{count} deliveries of {moment}"), || async {
        let found: i64 = sqlx::query_scalar("select count(*) from deliveries where moment = $1")
            .bind(moment)
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(found >= count, format!("{found}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_forge_is_told_of_a_commit_from_the_request_to_its_end() {
    let server = Server::start(|asked| match asked.path.as_str() {
        "/bitbucket/token" => (200, json!({"access_token": "granted", "expires_in": 7200}).to_string()),
        _ => (201, "{}".into()),
    })
    .await;
    let mut t = Cluster::start().await;
    for name in ["hub", "lab", "tea", "consumer", "server", "gerrit"] {
        t.secret(name, &format!("geheim-{name}"));
    }
    let m = t.master().await;
    let url = &server.url;
    let services = format!(
        r#"
    reporters.GitHubStatusPush(util.Secret("hub"), baseURL = "{url}/hub", context = util.Interpolate("ci/%(prop:buildername)s")),
    reporters.GitHubCommentPush(util.Secret("hub"), baseURL = "{url}/hub"),
    reporters.GitLabStatusPush(util.Secret("lab"), baseURL = "{url}/lab"),
    reporters.GiteaStatusPush("{url}/tea", util.Secret("tea")),
    reporters.BitbucketStatusPush("key", util.Secret("consumer"), base_url = "{url}/bitbucket/2.0/repositories", oauth_url = "{url}/bitbucket/token"),
    reporters.BitbucketServerStatusPush("{url}/old", "ci", util.Secret("server")),
    reporters.BitbucketServerCoreAPIStatusPush("{url}/core", token = util.Secret("server"), statusSuffix = " here"),
    reporters.BitbucketServerPRCommentPush("{url}/comment", "ci", util.Secret("server")),
    reporters.GerritVerifyStatusPush("{url}/gerrit", ("ci", util.Secret("gerrit")), category = "check"),
"#
    );
    t.configure(m, &project(&t, &services)).await;
    t.notifier(&["forge"]).await;
    let about = json!({
        "repository": "https://forge.example.org/octocat/hello.git", "revision": SHA, "branch": "refs/pull/17/merge",
        "properties": {"event.change.number": 1234, "event.change.project": "p/q"},
    });
    change(&t, m, about).await;
    // Five of them tell that a request waits.
    for (place, count) in [("/hub/repos/", 2), ("/lab/", 2), ("/tea/", 2), ("/core/", 2), ("/gerrit/", 2)] {
        server.wait_for(place, count).await;
    }
    t.worker("w", &t.master_url(m), 2).await;
    // All but the comments tell that it begins.
    wait_until("the beginnings to be told", || async {
        let told: i64 = sqlx::query_scalar("select count(*) from deliveries where moment = 'start' and state = 'sent'")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(told == 14, told)
    })
    .await;
    go(&t);
    // Of each build: five requests, seven with a beginning and an end, two comments.
    let deliveries = all_ended(&t, 2 * (5 + 7 * 2 + 2)).await;
    assert_eq!(states(&deliveries), "42 sent", "{deliveries:#?}");

    let told = |path: &str, of: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        server.asked_at(path).into_iter().filter(|a| of(&a.body)).map(|a| a.body).collect()
    };
    let said = |all: &[Value], name: &str| -> Vec<String> {
        all.iter().map(|b| b[name].as_str().unwrap_or("?").to_owned()).collect()
    };
    let hub = told(&format!("/hub/repos/octocat/hello/statuses/{SHA}"), &|b| b["context"] == "ci/good");
    assert_eq!(said(&hub, "state"), ["pending", "pending", "success"]);
    assert_eq!(said(&hub, "description"), ["Build pending.", "Build started.", "Build done."]);
    assert!(hub[0]["target_url"].as_str().unwrap().starts_with("https://ci.example.org/buildrequests/"), "{hub:?}");
    assert_eq!(hub[2]["target_url"], "https://ci.example.org/builders/good/builds/1");
    let bad = told("/hub/repos/octocat/hello/statuses/", &|b| b["context"] == "ci/bad");
    assert_eq!(said(&bad, "state"), ["pending", "pending", "failure"]);

    let comments =
        told("/hub/repos/octocat/hello/issues/17/comments", &|b| b["body"].as_str().unwrap().contains("`bad`"));
    let comment = comments[0]["body"].as_str().unwrap();
    assert!(comments.len() == 1 && comment.contains("failed build") && comment.contains("- `run`: "), "{comments:?}");

    let lab = told(&format!("/lab/api/v4/projects/octocat%2Fhello/statuses/{SHA}"), &|b| b["name"] == "buildbot/good");
    assert_eq!(said(&lab, "state"), ["pending", "running", "success"]);
    let tea = told(&format!("/tea/api/v1/repos/octocat/hello/statuses/{SHA}"), &|b| {
        b["context"] == "buildbot/pull_request/bad"
    });
    assert_eq!(said(&tea, "state"), ["pending", "pending", "failure"]);
    let cloud = format!("/bitbucket/2.0/repositories/octocat/hello/commit/{SHA}/statuses/build");
    assert_eq!(said(&told(&cloud, &|b| b["key"] == "good"), "state"), ["INPROGRESS", "SUCCESSFUL"]);
    assert_eq!(server.asked_at("/bitbucket/token").len(), 1, "a token is good for many");
    let old = told(&format!("/old/rest/build-status/1.0/commits/{SHA}"), &|b| b["key"] == "bad");
    assert_eq!(said(&old, "state"), ["INPROGRESS", "FAILED"]);
    let core = format!("/core/rest/api/1.0/projects/octocat/repos/hello/commits/{SHA}/builds");
    let core = told(&core, &|b| b["key"] == "bad");
    assert_eq!(said(&core, "state"), ["INPROGRESS", "INPROGRESS", "FAILED"]);
    let last = &core[2];
    assert_eq!(
        (&last["name"], &last["buildNumber"], &last["parent"]),
        (&json!("bad #1 here"), &json!("1"), &json!("bad"))
    );
    assert_eq!((&last["ref"], &last["testResults"]["failed"]), (&json!("refs/pull/17/merge"), &json!(3)));
    assert!(last["duration"].as_u64().is_some(), "{last}");
    let pages = "/comment/rest/api/1.0/projects/octocat/repos/hello/pull-requests/17/comments";
    assert_eq!(told(pages, &|b| b["text"].as_str().unwrap().contains("`good`")).len(), 1);
    let verify = format!("/gerrit/a/changes/1234/revisions/{SHA}/verify-status~verifications");
    let verify = told(&verify, &|b| b["verifications"]["bad"].is_object());
    let votes: Vec<i64> = verify.iter().map(|b| b["verifications"]["bad"]["value"].as_i64().unwrap()).collect();
    assert_eq!(votes, [0, 0, -1]);
    assert_eq!(verify[2]["verifications"]["bad"]["category"], "check");

    for (place, header, value) in [
        ("/hub/", "authorization", "Bearer geheim-hub"),
        ("/lab/", "private-token", "geheim-lab"),
        ("/tea/", "authorization", "token geheim-tea"),
        ("/bitbucket/2.0/", "authorization", "Bearer granted"),
        ("/core/", "authorization", "Bearer geheim-server"),
    ] {
        assert!(server.asked_at(place).iter().all(|a| a.header(header) == value), "{place}");
    }
    assert!(!(left(&t).await + &t.notifiers[0].output()).contains("geheim-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_of_one_name_arrive_in_order_though_the_forge_is_busy_and_then_refuses_some() {
    // What it does now: 503, 201, or 422 for whatever is no end.
    let (busy, picky) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (now_busy, now_picky) = (busy.clone(), picky.clone());
    let server = Server::start(move |asked| match () {
        () if now_busy.load(Ordering::SeqCst) => (503, "come again".into()),
        () if now_picky.load(Ordering::SeqCst) && asked.body["state"] == "pending" => (422, "no pending".into()),
        () => (201, "{}".into()),
    })
    .await;
    let mut t = Cluster::start().await;
    t.secret("hub", "geheim");
    let m = t.master().await;
    let services = format!(
        r#"reporters.GitHubStatusPush(util.Secret("hub"), baseURL = "{}/api", context = "one for all",
            startDescription = util.Interpolate("start %(prop:buildername)s"),
            endDescription = util.Interpolate("end %(prop:buildername)s"))"#,
        server.url
    );
    t.configure(m, &project(&t, &services)).await;
    t.notifier(&["forge"]).await;
    t.notifier(&["forge"]).await;
    change(&t, m, json!({"repository": "git@github.com:octocat/hello.git", "revision": SHA, "branch": "main"})).await;
    server.wait_for("/api/", 1).await;
    go(&t);
    t.worker("w", &t.master_url(m), 1).await;
    planned(&t, "end", 2).await;
    assert!(server.asked().iter().all(|a| a.status == 503));
    busy.store(false, Ordering::SeqCst);

    // Each builder's pending and beginning are old news by now; the ends are told in their order.
    let first = all_ended(&t, 6).await;
    let told = |rows: &[Value]| -> Vec<String> {
        rows.iter().filter(|d| d["state"] == "sent").map(|d| d["moment"].as_str().unwrap().to_owned()).collect()
    };
    let taken = || -> Vec<String> {
        let fine = server.asked().into_iter().filter(|a| a.status == 201);
        fine.map(|a| a.body["description"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&first), "2 sent, 4 superseded", "{first:#?}");
    assert_eq!(told(&first), ["end", "end"]);
    let order: Vec<String> = sqlx::query_scalar(
        "select 'end ' || u.name from builds b join builders u on u.id = b.builder_id order by b.complete_at",
    )
    .fetch_all(t.db.pool())
    .await
    .unwrap();
    assert_eq!(taken(), order);

    // What was refused and is sent again by hand does not undo what came after it.
    picky.store(true, Ordering::SeqCst);
    std::fs::remove_file(t.dir().join("go")).unwrap();
    change(
        &t,
        m,
        json!({"repository": "https://github.com/octocat/hello", "revision": SHA.replace('6', "7"), "branch": "main"}),
    )
    .await;
    planned(&t, "start", 3).await;
    wait_until("something to be refused", || async {
        let parked: i64 = sqlx::query_scalar("select count(*) from deliveries where state = 'parked'")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(parked > 0, parked)
    })
    .await;
    go(&t);
    let then = all_ended(&t, 12).await;
    assert!(then.iter().any(|d| d["state"] == "parked"), "{then:#?}");
    picky.store(false, Ordering::SeqCst);
    let before = taken();
    t.api(m).post("deliveries/retry", json!({"all": true})).await.unwrap();
    let last = all_ended(&t, 12).await;
    assert!(last.iter().all(|d| d["state"] != "parked"), "{last:#?}");
    assert_eq!(taken(), before, "nothing older is told after an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_finds_its_own_revision_is_told_at_its_end_and_a_test_sets_a_status_of_its_own() {
    let server = Server::start(|_| (201, "{}".into())).await;
    let mut t = Cluster::start().await;
    t.secret("hub", "geheim");
    let m = t.master().await;
    let services = format!("reporters.GitHubStatusPush(util.Secret(\"hub\"), baseURL = \"{}/api\")", server.url);
    let text = project(&t, &services)
        .replace("\"tests_failed\", value = \"3\"", &format!("\"got_revision\", value = {SHA:?}"));
    t.configure(m, &text).await;
    go(&t);
    t.worker("w", &t.master_url(m), 1).await;
    t.notifier(&["forge"]).await;
    let found = t
        .api(m)
        .post("builders/good/force", json!({"reason": "test", "repository": "https://github.com/octocat/hello"}))
        .await;
    let request = found.unwrap()["buildrequestids"][0].as_i64().unwrap();
    assert_eq!(t.result_of(request).await, 0);
    let deliveries = all_ended(&t, 1).await;
    assert_eq!(states(&deliveries), "1 sent", "{deliveries:#?}");
    let asked = server.asked();
    assert_eq!((asked.len(), asked[0].body["state"].as_str()), (1, Some("success")), "{asked:?}");
    assert_eq!(asked[0].path, format!("/api/repos/octocat/hello/statuses/{SHA}"));

    let tried = async |to: Value| {
        let asked = json!({"reporter": "GitHubStatusPush", "to": to});
        let id = t.api(m).post("deliveries/test", asked).await.unwrap()["message_id"].as_str().unwrap().to_owned();
        wait_until("the test to be over", || async {
            let found = t.api(m).list(&format!("deliveries?message_id={id}")).await?;
            let over = found.into_iter().find(|d| d["state"] == "sent" || d["state"] == "parked");
            over.ok_or_else(|| "not yet".to_owned())
        })
        .await
    };
    let sent = tried(json!(format!("https://github.com/octocat/hello@{SHA}"))).await;
    assert_eq!(sent["state"], "sent", "{sent}");
    let asked = server.asked();
    assert_eq!(
        (asked[1].body["context"].as_str(), asked[1].body["state"].as_str()),
        (Some("tidemill/test"), Some("success"))
    );
    let refused = tried(Value::Null).await;
    let why = refused["answer"].as_str().unwrap();
    assert!(refused["state"] == "parked" && why.contains("--to REPOSITORY@COMMIT"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gerrit_hears_by_ssh_what_the_projects_functions_vote() {
    let mut t = Cluster::start().await;
    let said = t.dir().join("said");
    // ssh's words are its last argument; Gerrit reads that line as a shell does.
    let script = format!(
        "for last; do :; done\nprintf '%s\\n' \"$*\" >> {0}.arguments\nprintf '%s\\036' \"$last\" >> {0}",
        said.display()
    );
    t.stand_in("ssh", &script);
    let m = t.master().await;
    let services = r#"reporters.GerritStatusPush("gerrit.example.org", "ci", port = 29419, notify = "OWNER",
    startCB = lambda name, build, arg: {"message": "%s it's begun" % name},
    reviewCB = lambda name, build, results, master, arg: None if name == "good" else {
        "message": "%s #%d: %s" % (name, build["number"], build["properties"]["target_branch"][0]), "labels": {"Verified": -1}},
    summaryCB = lambda builds, result, master, arg: {
        "message": ", ".join(["%s %s" % (b["name"], b["resultText"]) for b in builds]), "labels": {"Verified": 1 if result == SUCCESS else -1}},
)"#;
    t.configure(m, &project(&t, services)).await;
    go(&t);
    t.worker("w", &t.master_url(m), 1).await;
    t.notifier(&["forge"]).await;
    let about = json!({"repository": "p/q", "project": "p/q", "revision": SHA, "branch": "refs/changes/34/1234/2",
                       "properties": {"target_branch": "main", "event.change.number": 1234}});
    change(&t, m, about).await;
    let deliveries = all_ended(&t, 5).await;
    assert_eq!(states(&deliveries), "5 sent", "{deliveries:#?}");
    let lines = std::fs::read_to_string(&said).unwrap();
    let lines: Vec<&str> = lines.trim_end_matches('\x1e').split('\x1e').collect();
    let end = format!("--tag=autogenerated:tidemill --notify=OWNER --label=Verified=-1 {SHA}");
    assert!(lines.contains(&format!("gerrit review --project=p/q '--message=good it'\\''s begun' --tag=autogenerated:tidemill --notify=OWNER {SHA}").as_str()), "{lines:#?}");
    assert!(
        lines.contains(&format!("gerrit review --project=p/q '--message=bad #1: main' {end}").as_str()),
        "{lines:#?}"
    );
    assert_eq!(
        lines.last(),
        Some(&format!("gerrit review --project=p/q '--message=good success, bad failure' {end}").as_str())
    );
    assert_eq!(lines.len(), 4, "one of the functions says nothing: {lines:#?}");
    let arguments = std::fs::read_to_string(t.dir().join("said.arguments")).unwrap();
    assert!(arguments.contains("-p 29419 -l ci -- gerrit.example.org gerrit review"), "{arguments}");

    // A build of no change is nobody's vote.
    change(&t, m, json!({"repository": "p/q", "project": "p/q", "revision": SHA, "branch": "main"})).await;
    let deliveries = all_ended(&t, 10).await;
    assert!(
        deliveries[5..].iter().all(|d| d["answer"].as_str().unwrap().contains("not of a change of Gerrit")),
        "{deliveries:#?}"
    );
}
