//! What else may be told by mail: a try with its patch and logs, buildsets as a
//! whole, requests, workers that stay away.

use super::{all_ended, built, header, planning, states, text};
use serde_json::{Value, json};
use std::process::Command;
use tidemill_schema::tokens::{Scope, user_token_create_for};
use tidemill_tests::process::{outcome, program};
use tidemill_tests::smtp::{Sink, parsed};
use tidemill_tests::{Cluster, Repository, wait::holds, wait_until};

/// With these generators, and what is to be built.
fn project(port: u16, generators: &str, rest: &str) -> String {
    format!(
        r#"
c = {{"buildbotURL": "https://ci.example.org/"}}
{rest}
c["services"] = [reporters.MailNotifier(
    fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = {port}, useTls = False,
    sendToInterestedUsers = False, extraRecipients = ["team@example.org"], generators = [{generators}],
)]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mail_of_a_try_has_its_patch_and_the_logs_of_what_failed() {
    let Some(sink) = Sink::start() else { return };
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    repo.git(&["config", "user.name", "Ada"]);
    repo.git(&["config", "user.email", "ada@example.org"]);
    let m = t.master().await;
    let rest = format!(
        r#"
c["builders"] = [util.BuilderConfig(name = "check", workernames = ["*"], factory = util.BuildFactory([
    steps.Git(repourl = {:?}, mode = "full"),
    steps.ShellCommand(name = "fine", command = "echo nobody needs this"),
    steps.ShellCommand(name = "test", command = "cat README; echo 'README:1: error: \xff no'; false"),
]))]
c["schedulers"] = [schedulers.Try_Userpass(name = "try", builderNames = ["check"])]
"#,
        repo.url()
    );
    let generators = r#"reporters.BuildStatusGenerator(mode = "failing", add_logs = True, add_patch = True)"#;
    t.configure(m, &project(sink.port, generators, &rest)).await;
    t.worker("w", &t.master_url(m), 1).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    std::fs::write(repo.work().join("README"), "not committed \u{fc}\n").unwrap();
    let token = user_token_create_for(&t.db, "ada", Scope::Try).await.unwrap();
    let mut command = Command::new(program("tidemill"));
    command.args(["try", "--wait"]).current_dir(repo.work()).env("TIDEMILL_MASTER", t.master_url(m));
    let (code, said) = outcome(command.env("TIDEMILL_TOKEN", &token).env("NO_COLOR", "1"));
    assert!(code.is_some_and(|code| code != 0), "it fails: {said}");

    let mails = sink.wait_for(1).await;
    let seen = parsed(&mails[0].mail);
    assert_eq!(seen["defects"], json!([]), "{seen}");
    let attached: Vec<&Value> =
        seen["parts"].as_array().unwrap().iter().filter(|p| p["disposition"] == "attachment").collect();
    let named = |part: &str| {
        let found = attached.iter().find(|p| p["filename"].as_str().is_some_and(|n| n.contains(part)));
        found.unwrap_or_else(|| panic!("no {part} in {attached:?}"))["content"].as_str().unwrap().to_owned()
    };
    let patch = named(".patch");
    assert!(patch.contains("-first") && patch.contains("+not committed \u{fc}"), "{patch}");
    assert!(named("test.stdio").contains("README:1: error:"));
    assert_eq!(attached.len(), 2, "logs of what failed only: {attached:?}");
    assert!(text(&seen).contains("README:1: error:"), "and the text shows the place: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buildset_is_told_once_when_the_last_of_its_builds_has_ended() {
    let Some(sink) = Sink::start() else { return };
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let rest = r#"
def builder(name, command):
    return util.BuilderConfig(name = name, workernames = ["*"], factory = util.BuildFactory([steps.ShellCommand(command = [command])]))
c["builders"] = [builder("good", "true"), builder("bad", "false")]
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "all", builderNames = ["good", "bad"])]
"#;
    t.configure(m, &project(sink.port, "reporters.BuildSetCombinedStatusGenerator()", rest)).await;
    t.worker("w", &t.master_url(m), 1).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    let change = json!({ "author": "Ann <ann@example.org>", "comments": "both", "repository": "r", "revision": "1" });
    t.api(m).post("changes", change).await.unwrap();
    built(&t, 2).await;
    let told = all_ended(&t, 1).await;
    assert_eq!(states(&told), "1 sent", "{told:?}");
    let mails = sink.wait_for(1).await;
    assert_eq!(mails.len(), 1);
    let seen = parsed(&mails[0].mail);
    let said = text(&seen);
    assert!(said.contains("good #1: success") && said.contains("bad #1: failure"), "{said}");
    assert!(header(&seen, "Subject").contains("2 builds"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_told_when_it_is_made_and_when_somebody_cancels_it() {
    let Some(sink) = Sink::start() else { return };
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let rest = r#"
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["nobody"], factory = util.BuildFactory([steps.ShellCommand(command = ["true"])]))]
c["workers"] = [worker.Worker("nobody")]
c["schedulers"] = []
"#;
    t.configure(m, &project(sink.port, "reporters.BuildRequestGenerator()", rest)).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    let request = t.force(m, "b").await;
    let first = sink.wait_for(1).await;
    assert!(text(&parsed(&first[0].mail)).contains("was made"), "{:?}", first[0].to);
    t.api(m).post(&format!("buildrequests/{request}/cancel"), json!({})).await.unwrap();
    let both = sink.wait_for(2).await;
    let seen = parsed(&both[1].mail);
    assert!(text(&seen).contains("A request of b was cancelled"), "{seen}");
    assert!(text(&seen).contains(&format!("https://ci.example.org/buildrequests/{request}")), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stays_away_is_told_to_those_whom_it_names_and_once() {
    let Some(sink) = Sink::start() else { return };
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let rest = r#"
c["workers"] = [worker.Worker("w", notify_on_missing = ["ops@example.org"]), worker.Worker("other")]
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["w"], factory = util.BuildFactory([steps.ShellCommand(command = ["true"])]))]
c["schedulers"] = []
"#;
    t.configure(m, &project(sink.port, "reporters.WorkerMissingGenerator(workers = [\"w\"])", rest)).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    let w = t.worker("w", &t.master_url(m), 1).await;
    let other = t.worker("other", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 0);
    t.workers[w].process.kill9();
    t.workers[other].process.kill9();
    // As if more than an hour had passed, again until the last word of them that a master still had to write is written.
    wait_until("both to be missing", || async {
        let past = "with b as (update beats set resumed_at = resumed_at - interval '2 hours'
                                where resumed_at > tidemill_now() - interval '2 hours'),
                         s as (update worker_sessions set seen_at = seen_at - interval '2 hours'
                                where seen_at > tidemill_now() - interval '2 hours')
                    select count(*) from worker_sessions where missing_at is not null";
        let n: i64 = sqlx::query_scalar(past).fetch_one(t.db.pool()).await.map_err(|e| e.to_string())?;
        holds(n == 2, n)
    })
    .await;
    let told = all_ended(&t, 2).await;
    assert_eq!(states(&told), "2 sent", "{told:?}");
    let mails = sink.wait_for(2).await;
    let mut to: Vec<&str> = mails.iter().flat_map(|m| m.to.iter().map(String::as_str)).collect();
    to.sort();
    assert_eq!(to, ["ops@example.org", "team@example.org"]);
    let seen = parsed(&mails[0].mail);
    assert!(header(&seen, "Subject").contains('w') && text(&seen).contains("worker w"), "{seen}");

    // It comes back, and is told anew only when it is lost anew.
    t.worker_restart(w, &t.master_url(m), 1);
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 0);
    let left = all_ended(&t, 2).await;
    assert_eq!(left.len(), 2, "{left:?}");
}
