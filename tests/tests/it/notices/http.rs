//! Documents over HTTP: signed, sent again under the same id, beside a slow
//! neighbour, and without a word of what is secret.

use super::played::{Asked, Server, change, left};
use super::{all_ended, states};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, wait_until};
use tokio::sync::Semaphore;

fn project(services: &str) -> String {
    format!(
        r#"
c = {{"buildbotURL": "https://ci.example.org/"}}
c["www"] = {{"change_hook_dialects": {{"base": True}}}}
c["schedulers"] = [schedulers.AnyBranchScheduler(name = "all", builderNames = ["b"])]
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], properties = {{"shift": "night"}}, factory = util.BuildFactory([
    steps.ShellCommand(name = "run", command = ["sh", "-c", "exit 1"]),
]))]
c["services"] = [{services}]
"#
    )
}

/// A whole Tidemill with these reporters, which knows some secrets.
async fn tidemill(services: &str, secrets: &[(&str, &str)]) -> (Cluster, usize) {
    let mut t = Cluster::start().await;
    for (name, value) in secrets {
        t.secret(name, value);
    }
    let m = t.master().await;
    t.configure(m, &project(services)).await;
    t.worker("w", &t.master_url(m), 2).await;
    t.notifier(&["http", "forge"]).await;
    (t, m)
}

/// As docs/webhooks.md says that a receiver does it.
fn verified(asked: &Asked, secret: &str) -> bool {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let sent: i64 = asked.header("webhook-timestamp").parse().unwrap();
    assert!((time::OffsetDateTime::now_utc().unix_timestamp() - sent).abs() < 300);
    let signed = [format!("{}.{sent}.", asked.header("webhook-id")).into_bytes(), asked.raw.clone()].concat();
    let signatures = asked.header("webhook-signature").split(' ').filter_map(|s| s.strip_prefix("v1,"));
    signatures.filter_map(|s| BASE64_STANDARD.decode(s).ok()).any(|s| hmac::verify(&key, &signed, &s).is_ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_document_is_sent_again_under_its_id_until_it_is_taken_once() {
    let count = AtomicUsize::new(0);
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/hook" if count.fetch_add(1, Ordering::SeqCst) == 0 => (500, "the first of them".into()),
        _ => (200, "thanks".into()),
    })
    .await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let services = format!(
        r#"
    reporters.Webhook("{0}/hook", secret = util.Secret("hook")),
    reporters.HttpStatusPush("{0}/push", headers = {{"x-key": util.Interpolate("%(secret:push)s of %(prop:buildername)s")}}),
    reporters.HttpStatusPush("{0}/own", name = "own", generators = [reporters.BuildStatusGenerator(mode = "all",
        message_formatter = reporters.MessageFormatterFunction(lambda ctx: {{"text": ctx["build_url"]}}, "json"))]),
    reporters.ZulipStatusPush("{0}/chat", util.Secret("zulip"), stream = "builds"),
"#,
        server.url
    );
    let secrets = [("hook", secret), ("push", "geheim-push"), ("zulip", "geheim-zulip")];
    let (t, m) = tidemill(&services, &secrets).await;
    let about =
        json!({"repository": "https://h/o/r", "revision": "0123", "branch": "main", "properties": {"shift": "day"}});
    change(&t, m, about).await;
    let deliveries = all_ended(&t, 7).await;
    assert_eq!(states(&deliveries), "7 sent", "{deliveries:#?}");

    let hooks = server.asked_at("/hook");
    assert_eq!(hooks.iter().map(|a| a.status).collect::<Vec<_>>(), [500, 200, 200]);
    assert!(hooks.iter().all(|a| verified(a, secret)) && !verified(&hooks[0], "whsec_AAAA"));
    assert_eq!(hooks[0].header("webhook-id"), hooks[1].header("webhook-id"), "the beginning came twice");
    assert_ne!(hooks[1].header("webhook-id"), hooks[2].header("webhook-id"));
    let kinds: Vec<&str> = hooks.iter().map(|a| a.body["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["build.started", "build.started", "build.finished"]);
    // The build was over when its beginning was told again.
    let (began, ended) = (&hooks[1].body["data"], &hooks[2].body["data"]);
    assert!(began["build"]["results"].is_null() && began["build"]["complete"] == false, "{began}");
    assert_eq!((&ended["results"], &ended["build"]["number"]), (&json!(2), &json!(1)));

    let pushed = server.asked_at("/push");
    assert_eq!(pushed.len(), 2);
    assert!(pushed.iter().all(|a| a.header("x-key") == "geheim-push of b" && !a.header("webhook-id").is_empty()));
    let build = &pushed[1].body;
    assert_eq!((&build["number"], &build["results"], &build["builder"]["name"]), (&json!(1), &json!(2), &json!("b")));
    assert_eq!(build["url"], "https://ci.example.org/builders/b/builds/1");
    assert_eq!(build["properties"]["shift"][0], "night");
    assert_eq!(build["buildset"]["sourcestamps"][0]["revision"], "0123");
    let own = server.asked_at("/own");
    assert_eq!((own.len(), &own[0].body), (1, &json!({"text": "https://ci.example.org/builders/b/builds/1"})));

    let chat = server.asked_at("/chat/api/v1/external/buildbot?api_key=geheim-zulip&stream=builds");
    let told: Vec<(&str, Option<i64>)> =
        chat.iter().map(|a| (a.body["event"].as_str().unwrap(), a.body["results"].as_i64())).collect();
    assert_eq!(told, [("new", None), ("finished", Some(2))]);
    let everything = left(&t).await + &t.notifiers[0].output() + &t.masters[m].process.output();
    assert!(!everything.contains("geheim") && !everything.contains(&secret[6..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_does_not_answer_delays_no_other() {
    let let_go = Arc::new(Semaphore::new(0));
    let waits = let_go.clone();
    let slow = Server::with(move |_| {
        let waits = waits.clone();
        Box::pin(async move {
            let _turn = waits.acquire().await;
            (200, "at last".into())
        })
    })
    .await;
    let fast = Server::start(|_| (200, "ok".into())).await;
    let services = format!(
        "reporters.HttpStatusPush(\"{}/\", name = \"slow\"), reporters.HttpStatusPush(\"{}/\", name = \"fast\")",
        slow.url, fast.url
    );
    let (t, m) = tidemill(&services, &[]).await;
    // More than are sent to one destination at a time.
    for n in 0..20 {
        change(&t, m, json!({"repository": "https://h/o/r", "revision": format!("{n:04}"), "branch": "main"})).await;
        wait_until("the build to be told where somebody answers", || async {
            let ends = fast.asked().iter().filter(|a| a.body["complete"] == true).count();
            holds(ends > n, ends)
        })
        .await;
    }
    assert!(slow.asked().is_empty());
    let sending: i64 =
        sqlx::query_scalar("select count(*) from deliveries where state = 'sending' and reporter = 'slow'")
            .fetch_one(t.db.pool())
            .await
            .unwrap();
    assert!(sending > 0, "it is being sent to all the time");
    let_go.add_permits(1000);
    let deliveries = all_ended(&t, 80).await;
    assert!(deliveries.iter().all(|d| d["state"] == "sent"), "{deliveries:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_says_of_a_secret_is_in_no_row_and_no_log() {
    // It tells all that it was asked with.
    let server = Server::start(|asked| (400, format!("{} {:?}", asked.path, asked.headers))).await;
    let services = format!(
        r#"
    reporters.HttpStatusPush(util.Secret("address"), name = "hidden", auth = ("ci", util.Secret("password"))),
    reporters.HttpStatusPush("{0}/push", headers = {{"x-key": util.Interpolate("Key %(secret:key)s")}}),
    reporters.ZulipStatusPush("{0}/chat", util.Secret("key")),
    reporters.GitHubStatusPush(util.Secret("key"), baseURL = "{0}/hub"),
    reporters.HttpStatusPush(util.Secret("nobody-has-it"), name = "lacking"),
"#,
        server.url
    );
    let address = format!("{}/services/geheim/hook", server.url);
    let (t, m) = tidemill(&services, &[("address", &address), ("password", "geheim-1"), ("key", "geheim-2")]).await;
    let sha = "6dcb09b5b57875f334f61aebed695e2e4193db5e";
    change(&t, m, json!({"repository": "https://h/o/r", "revision": sha, "branch": "main"})).await;
    for path in ["/services/geheim/hook", "/push", "/chat", "/hub"] {
        server.wait_for(path, 2).await;
    }
    // What people can mend is tried again, and the rest is given up.
    let rows = wait_until("the refusals to be recorded", || async {
        let rows: Vec<(String, String, Option<String>)> = sqlx::query_as(
            "select reporter, state, answer from deliveries where state = 'parked' or (reporter = 'lacking' and answer is not null)
              order by id",
        )
        .fetch_all(t.db.pool())
        .await
        .map_err(|e| e.to_string())?;
        let all = ["hidden", "HttpStatusPush", "ZulipStatusPush", "GitHubStatusPush", "lacking"];
        let there = all.iter().all(|name| rows.iter().any(|r| r.0 == *name));
        holds(there, format!("{rows:?}")).map(|()| rows)
    })
    .await;
    let answer = |name: &str| rows.iter().find(|r| r.0 == name).and_then(|r| r.2.clone()).unwrap();
    assert!(answer("hidden").starts_with("the address of the secret address: HTTP 400: <secret>"), "{rows:?}");
    assert!(answer("lacking").contains("there is no secret \"nobody-has-it\""), "{rows:?}");
    assert!(rows.iter().filter(|r| r.0 == "lacking").all(|r| r.1 == "due"), "{rows:?}");
    let basic = BASE64_STANDARD.encode("ci:geheim-1");
    let everything = left(&t).await + &t.notifiers[0].output() + &t.masters[m].process.output();
    for hidden in ["geheim", &basic] {
        assert!(!everything.contains(hidden), "{hidden} is in {everything}");
    }
    let pages = reqwest::get(format!("{}/notices", t.master_url(m))).await.unwrap().text().await.unwrap();
    assert!(pages.contains("HTTP 400") && !pages.contains("geheim"));
}
