//! Names and comments that strangers wrote, with whatever they put in.

use super::{all_planned, built, header, planning, text};
use serde_json::json;
use tidemill_tests::Cluster;
use tidemill_tests::smtp::{Sink, parsed};

fn project(port: u16) -> String {
    format!(
        r#"
c = {{}}
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = util.BuildFactory([
    steps.ShellCommand(command = ["true"]),
]))]
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "all", builderNames = ["b"])]
c["services"] = [reporters.MailNotifier(
    fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = {port}, useTls = False,
    extraHeaders = {{"X-Author": util.Interpolate("%(prop:hostile)s")}},
    generators = [reporters.BuildStatusGenerator(
        mode = "passing", blame = "always",
        message_formatter = reporters.MessageFormatter(
            subject = "{{{{ changes[0].comments }}}}",
            template = "{{{{ changes[0].author }}}} wrote:\n{{{{ changes[0].comments }}}}",
        ),
    )],
)]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_authors_call_themselves_a_mail_has_one_recipient_and_the_headers_that_it_should() {
    let Some(sink) = Sink::start() else { return };
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project(sink.port)).await;
    t.worker("w", &t.master_url(m), 1).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    let long = "\u{fc}ber ".repeat(2_500);
    let hostile = [
        ("Zo\u{eb} \"The <b>\" M\u{fc}ller <zoe@example.org>", Some("zoe@example.org")),
        ("Eve\r\nBcc: evil@example.net <eve@example.org>", Some("eve@example.org")),
        ("\u{202e}live \u{0}\u{7}name <rtl@example.org>", Some("rtl@example.org")),
        ("=?utf-8?B?QmNjOiBldmls?= <word@example.org>", Some("word@example.org")),
        ("Ann (ann) \\, \"; <ann@example.org>", Some("ann@example.org")),
        ("Two <one@example.org>, <two@example.net>", None),
        ("x <\r\nRCPT TO:<evil@example.net>@example.org>", None),
        ("no address at all", None),
        ("<@example.net:route@example.org>", None),
        ("\"quoted word\"@example.org", None),
    ];
    for (n, (author, _)) in hostile.iter().enumerate() {
        let comments = match n {
            0 => format!("{long}\r\nX-Evil: 1\r\n\r\nbody"),
            _ => "fix\r\nBcc: evil@example.net\r\n\r\n.\r\nQUIT\r\n\u{1b}[31m\u{2028}<script>".to_owned(),
        };
        let change = json!({ "author": author, "comments": comments, "repository": "r", "branch": "main",
                             "revision": format!("r{n}"), "properties": { "hostile": [format!("{author}\r\nX-Evil: 2"), "test"] } });
        t.api(m).post("changes", change).await.expect("a change with such an author is stored");
        built(&t, n as i64 + 1).await;
    }
    let wanted: Vec<&str> = hostile.iter().filter_map(|(_, to)| *to).collect();
    let mails = sink.wait_for(wanted.len()).await;
    all_planned(&t).await;
    let rows: Vec<String> =
        sqlx::query_scalar("select address from deliveries order by id").fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(rows.len(), wanted.len(), "nobody else is told: {rows:?}");

    for (mail, to) in mails.iter().zip(&wanted) {
        assert_eq!(mail.to, [*to], "the envelope");
        let seen = parsed(&mail.mail);
        let addresses: Vec<&str> = seen["to"].as_array().unwrap().iter().filter_map(|a| a[1].as_str()).collect();
        assert_eq!(addresses, [*to], "{seen}");
        assert_eq!(seen["defects"], json!([]), "{seen}");
        assert_eq!((&seen["ascii_head"], &seen["bare_line_ends"]), (&json!(true), &json!(0)), "{seen}");
        assert!(seen["longest_line"].as_u64().unwrap() <= 998, "{seen}");
        let names: Vec<String> =
            seen["headers"].as_array().unwrap().iter().map(|h| h[0].as_str().unwrap().to_lowercase()).collect();
        assert!(!names.iter().any(|n| matches!(n.as_str(), "bcc" | "x-evil" | "cc")), "{names:?}");
        let harmful = |c: char| c.is_control() || c == '\u{202e}' || c == '\u{2028}';
        let shown = format!("{}{}{}", header(&seen, "Subject"), header(&seen, "To"), header(&seen, "X-Author"));
        assert!(!shown.contains(harmful), "{shown:?}");
        assert!(text(&seen).contains("wrote:"), "the mail is whole: {seen}");
    }
    let first = parsed(&mails[0].mail);
    let subject = header(&first, "Subject");
    assert!(subject.starts_with("\u{fc}ber \u{fc}ber") && subject.chars().count() <= 250, "{subject}");
    assert!(text(&first).contains(long.trim_end()), "the text has what the subject has not");
    let second = text(&parsed(&mails[1].mail));
    assert!(second.contains("\n.\nQUIT\n") && second.contains("<script>"), "{second:?}");
}
