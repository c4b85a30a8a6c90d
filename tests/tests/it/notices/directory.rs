//! People whom only a directory knows.

use super::{all_ended, states};
use serde_json::json;
use tidemill_tests::cluster::free_port;
use tidemill_tests::slapd::Slapd;
use tidemill_tests::smtp::Sink;
use tidemill_tests::{Cluster, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn people_are_found_in_a_directory_which_delays_nobody_else_while_it_is_away() {
    let Some(sink) = Sink::start() else { return };
    if !Slapd::there() {
        return;
    }
    let port = free_port();
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let text = format!(
        r#"
c = {{}}
c["schedulers"] = [schedulers.AnyBranchScheduler(name = "all", builderNames = ["check"])]
c["builders"] = [util.BuilderConfig(name = "check", collapseRequests = False, workernames = ["*"], factory = util.BuildFactory([
    steps.ShellCommand(command = ["false"]),
]))]
c["services"] = [reporters.MailNotifier(
    fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = {smtp}, useTls = False,
    extraRecipients = ["bob@example.org"],
    lookup = util.LdapLookup("ldap://127.0.0.1:{port}", base = "dc=example,dc=org"),
    generators = [reporters.BuildStatusGenerator(mode = "failing", blame = "always")],
)]
"#,
        smtp = sink.port
    );
    t.configure(m, &text).await;
    t.worker("w1", &t.master_url(m), 1).await;
    t.notifier(&[]).await;
    for author in ["ann", "bob", "cid", "Dora <dora@example.org>"] {
        // A branch each, so that nobody's builds follow another's.
        let change =
            json!({ "author": author, "comments": "c", "branch": author, "revision": author, "repository": "r" });
        t.api(m).post("changes", change).await.expect("the change is taken");
    }

    // Bob, who always is told, and Dora, whose name is an address, do not wait for the directory.
    let told = |to: &str| sink.mails().iter().filter(|m| m.to == [to]).count();
    wait_until("those whom nobody has to look up", || async {
        if told("bob@example.org") >= 4 && told("dora@example.org") == 1 {
            Ok(())
        } else {
            Err(format!("{} mails", sink.mails().len()))
        }
    })
    .await;
    let waits: Vec<(String, i32, String)> = wait_until("the others to have been tried", || async {
        let rows: Vec<(String, i32, String)> = sqlx::query_as(
            "select address, attempts, coalesce(answer, '') from deliveries where state = 'due' and attempts > 0 order by address",
        )
        .fetch_all(t.db.pool())
        .await
        .map_err(|e| e.to_string())?;
        if rows.len() == 3 { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
    .await;
    assert!(waits.iter().all(|(_, _, said)| said.contains("the directory ldap://127.0.0.1")), "{waits:?}");

    let Some(_slapd) = Slapd::start(port) else { return };
    let deliveries = all_ended(&t, 8).await;
    assert_eq!(states(&deliveries), "8 sent", "{deliveries:?}");
    let answer = |name: &str| {
        let one = deliveries.iter().find(|d| d["facts"]["name"] == name).expect("it was planned");
        (one["address"].as_str().unwrap_or_default().to_owned(), one["answer"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(answer("ann").0, "ann@example.org");
    assert!(
        answer("bob").1.contains("told of it already") && answer("cid").1.contains("knows no address"),
        "{deliveries:?}"
    );
    assert_eq!((told("ann@example.org"), told("bob@example.org"), told("ann2@example.org")), (1, 4, 0));
}
