//! Mail: the right people, once, in words that are of use.

use super::{all_ended, built, planning, states};
use tidemill_tests::smtp::{Sink, parsed};
use tidemill_tests::{Cluster, Repository};

fn project(url: &str, port: u16, more: &str) -> String {
    format!(
        r#"
c = {{"buildbotURL": "https://ci.example.org/"}}
c["change_source"] = changes.GitPoller(repourl = {url:?}, branches = True, pollInterval = 0.2)
c["schedulers"] = [schedulers.SingleBranchScheduler(
    name = "all", builderNames = ["check"], change_filter = util.ChangeFilter(branch = "main"),
)]
c["builders"] = [util.BuilderConfig(name = "check", workernames = ["*"], factory = util.BuildFactory([
    steps.Git(repourl = {url:?}, mode = "incremental"),
    steps.ShellCommand(name = "test", command = ["sh", "-c", "cat README; grep -q good README || {{ echo 'README:1: error: it is not good'; exit 1; }}"]),
]))]
c["services"] = [reporters.MailNotifier(
    fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = {port}, useTls = False, {more}
)]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_author_of_the_commit_that_broke_a_good_builder_is_told_with_the_error_and_nobody_else() {
    let Some(sink) = Sink::start() else { return };
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    tidemill_schema::roles::roles_ensure(&t.db, "ci").await.expect("the owner makes roles");
    (t.master_role, t.notifier_role) = (Some("ci_master".into()), Some("ci_notifier".into()));
    let m = t.master().await;
    t.configure(
        m,
        &project(
            &repo.url(),
            sink.port,
            r#"extraRecipients = ["team@example.org"],
        generators = [reporters.BuildStatusGenerator(mode = ["problem", "change"])]"#,
        ),
    )
    .await;
    t.worker("w1", &t.master_url(m), 1).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    t.polled().await;

    repo.commit("README", "good\n", "a good beginning");
    built(&t, 1).await;
    repo.commit("README", "b\u{e4}d <b>\n", "break it\r\nBcc: everybody@example.org\n\non purpose");
    built(&t, 2).await;
    repo.commit("README", "still bad\n", "no cure");
    built(&t, 3).await;
    repo.commit("README", "good again\n", "a cure");
    built(&t, 4).await;

    // The turn is told to the team and to its author, the recovery to the team.
    let deliveries = all_ended(&t, 3).await;
    assert_eq!(states(&deliveries), "3 sent", "{deliveries:?}");
    let mails = sink.wait_for(3).await;
    let mut to: Vec<String> = mails.iter().map(|m| m.to.join(",")).collect();
    to.sort();
    assert_eq!(to, ["ada@example.org", "team@example.org", "team@example.org"]);

    let blamed = mails.iter().find(|m| m.to == ["ada@example.org"]).expect("its author is told");
    let seen = parsed(&blamed.mail);
    let header = |name: &str| {
        let all = seen["headers"].as_array().expect("a mail has headers");
        all.iter().find(|h| h[0] == name).map(|h| h[1].as_str().expect("text").to_owned()).unwrap_or_default()
    };
    assert_eq!(seen["defects"].as_array().map(Vec::len), Some(0), "{seen}");
    assert!(header("Subject").contains("check #2") && header("Subject").contains("(main)"), "{seen}");
    assert_eq!(header("Auto-Submitted"), "auto-generated");
    assert!(header("Bcc").is_empty() && header("List-Unsubscribe").contains("https://ci.example.org/"), "{seen}");
    let text = seen["parts"].to_string();
    assert!(text.contains("it is not good") && text.contains("b\u{e4}d <b>") && text.contains("break it"), "{text}");
    assert!(text.contains("https://ci.example.org/builders/check/builds/2"), "{text}");
    // One builder's story is one thread.
    let threads: Vec<String> = mails.iter().map(|m| parsed(&m.mail)["headers"].to_string()).collect();
    assert!(threads.iter().all(|h| h.contains("References")), "{threads:?}");
}
