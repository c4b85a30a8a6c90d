//! No notifier runs for a while. The next one tells what is still of interest,
//! in order and as one mail; what is too old it only keeps a row of.

use super::{all_ended, planning, states};
use serde_json::Value;
use tidemill_tests::smtp::parsed;
use tidemill_tests::{Cluster, Relay};

/// Two reporters: one tells what is an hour old at most, the other of any age that events have.
fn project(port: u16) -> String {
    format!(
        r#"
c = {{}}
c["builders"] = [util.BuilderConfig(
    name = "b", workernames = ["*"], collapseRequests = False,
    factory = util.BuildFactory([steps.ShellCommand(command = ["false"])]),
)]
c["schedulers"] = []
def mail(name, to, **kw):
    return reporters.MailNotifier(
        name = name, fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = {port}, useTls = False,
        sendToInterestedUsers = False, extraRecipients = [to],
        generators = [reporters.BuildStatusGenerator(mode = "failing")], **kw
    )
c["services"] = [
    mail("short", "short@example.org", maxAge = 3600),
    mail("usual", "usual@example.org"),
]
"#
    )
}

/// From now on it is so much later for everybody, and time goes on from there.
async fn later(t: &Cluster, by: &str) {
    let sql = format!(
        "create or replace function tidemill_now() returns timestamptz language sql volatile parallel safe
         as $$ select clock_timestamp() + interval '{by}' $$"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(t.db.pool()).await.unwrap();
}

async fn build(t: &Cluster, m: usize, times: usize) {
    for _ in 0..times {
        let request = t.force(m, "b").await;
        assert_eq!(t.result_of(request).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_without_a_notifier_what_is_of_interest_is_told_in_order_and_as_one_mail() {
    let relay = Relay::start().await;
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project(relay.port)).await;
    t.worker("w", &t.master_url(m), 1).await;
    let n = t.notifier(&["mail"]).await;
    planning(&t).await;
    t.notifiers[n].terminate();

    // Builds 1 to 12, a day and an hour, builds 13 to 15; and then it comes back.
    build(&t, m, 12).await;
    later(&t, "25 hours").await;
    build(&t, m, 3).await;
    t.notifier_restart(n, &["mail"]).await;
    let told = all_ended(&t, 30).await;

    let of = |reporter: &str| -> Vec<Value> { told.iter().filter(|d| d["reporter"] == reporter).cloned().collect() };
    assert_eq!(told.len(), 30, "a row for each, and none twice");
    assert_eq!(states(&of("short")), "12 expired, 3 sent", "too old for it");
    let expired: Vec<&Value> = told.iter().filter(|d| d["state"] == "expired").collect();
    assert!(expired.iter().all(|d| d["answer"].as_str().is_some_and(|why| why.contains("old"))), "{expired:?}");
    let usual = of("usual");
    assert!(usual.iter().all(|d| d["state"] == "sent" || d["state"] == "folded"), "{}", states(&usual));

    // Each stands in some mail, in the order in which it ended within each.
    let mails: Vec<_> = relay.taken().into_iter().filter(|m| m.to == "usual@example.org").collect();
    let mut seen = vec![];
    for mail in &mails {
        let text = parsed(&mail.mail)["parts"][0]["content"].as_str().unwrap_or_default().to_owned();
        let subject = String::from_utf8_lossy(&mail.mail).into_owned();
        let listed: Vec<usize> = if text.contains("notices, oldest first") {
            let lines = text.lines().filter(|line| line.starts_with("  ") && line.contains("b #"));
            lines.filter_map(number).collect()
        } else {
            subject.lines().filter(|line| line.starts_with("Subject")).filter_map(number).collect()
        };
        assert!(listed.is_sorted() && !listed.is_empty(), "{listed:?} in {text}");
        seen.extend(listed);
    }
    seen.sort();
    assert_eq!(seen, (1..=15).collect::<Vec<_>>());
    assert!(mails.len() <= 8, "{} mails are a storm", mails.len());
    assert_eq!(relay.taken().len() - mails.len(), 3, "those of the other reporter");
}

/// The number of a build in a line such as `failure: b #12`.
fn number(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once("b #")?;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()
}
