//! What cannot be sent harms nothing else: words that fail, people who want no
//! more mail, a server that never answers.

use super::{all_ended, header, planning, states, text};
use std::process::Command;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::smtp::parsed;
use tidemill_tests::{Cluster, Relay, wait_until};

/// A builder that one may force, which fails; and these reporters.
fn project(url: &str, services: &str) -> String {
    format!(
        r#"
c = {{"buildbotURL": {url:?}}}
c["builders"] = [util.BuilderConfig(
    name = "b", workernames = ["*"], collapseRequests = False,
    factory = util.BuildFactory([steps.ShellCommand(command = ["false"])]),
)]
c["schedulers"] = []
def mail(port, to, **kw):
    return reporters.MailNotifier(
        fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = port, useTls = False,
        sendToInterestedUsers = False, extraRecipients = to, **kw
    )
def failing(**kw):
    return [reporters.BuildStatusGenerator(mode = "failing", **kw)]
c["services"] = [{services}]
"#
    )
}

async fn build(t: &Cluster, m: usize, times: usize) {
    for _ in 0..times {
        let request = t.force(m, "b").await;
        assert_eq!(t.result_of(request).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_fail_for_one_build_park_that_notice_alone_and_a_retry_uses_the_new_ones() {
    let relay = Relay::start().await;
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let words = |divisor: &str| {
        let services = format!(
            r#"mail({}, ["team@example.org"], generators = failing(message_formatter = reporters.MessageFormatterFunction(
                lambda ctx: "told N%d. %d" % (ctx["build"]["number"], 10 // ({divisor})), "plain")))"#,
            relay.port
        );
        project("https://ci.example.org/", &services)
    };
    t.configure(m, &words("ctx[\"build\"][\"number\"] - 3")).await;
    t.worker("w", &t.master_url(m), 2).await;
    let n = t.notifier(&["mail"]).await;
    planning(&t).await;
    t.notifiers[n].terminate();
    // Many at once: all go as one mail, but for the one that has no words.
    build(&t, m, 14).await;
    t.notifier_restart(n, &["mail"]).await;
    let told = all_ended(&t, 14).await;
    let parked: Vec<_> = told.iter().filter(|d| d["state"] == "parked").collect();
    assert_eq!(parked.len(), 1, "{}", states(&told));
    assert_eq!(parked[0]["build_id"], 3);
    let why = parked[0]["answer"].as_str().unwrap_or_default();
    assert!(why.contains("division by zero") && why.contains("master.star"), "the traceback: {why}");
    assert!(parked[0]["folded_into"].is_null());
    let all = |relay: &Relay| -> String { relay.taken().iter().map(|m| format!("{}\n", parsed(&m.mail))).collect() };
    let mails = all(&relay);
    for number in (1..=14).filter(|n| *n != 3) {
        assert!(mails.contains(&format!("b #{number}:")), "build {number} is told: {mails}");
    }
    assert!(!mails.contains("b #3:"), "{mails}");

    let cli = |args: &[&str]| {
        let mut command = Command::new(program("tidemill"));
        command.args(args).env("TIDEMILL_MASTER", t.master_url(m)).env("TIDEMILL_TOKEN", &t.token);
        outcome(command.env("NO_COLOR", "1").env("HOME", t.dir()))
    };
    let (code, listed) = cli(&["notify", "deliveries", "--failed"]);
    assert!(code == Some(0) && listed.contains("division by zero") && listed.contains("team@example.org"), "{listed}");
    t.configure(m, &words("1")).await;
    let (code, said) = cli(&["notify", "retry", "--all"]);
    assert!(code == Some(0) && said.contains("1 notices are due again"), "{code:?} {said}");
    let told = all_ended(&t, 14).await;
    assert!(told.iter().all(|d| d["state"] != "parked"), "{}", states(&told));
    let last = relay.taken().pop().expect("it came");
    assert!(text(&parsed(&last.mail)).contains("told N3. 10"), "{}", parsed(&last.mail));
    // There is nothing more to send again, and what waits may be hastened though nothing does.
    let (code, said) = cli(&["notify", "retry", "--waiting"]);
    assert!(code == Some(0) && said.contains("0 notices"), "{code:?} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_link_in_a_mail_gets_no_more_of_it_and_others_still_do() {
    let relay = Relay::start().await;
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let services =
        format!(r#"mail({}, ["ann@example.org", "Bob <bob@example.org>"], generators = failing())"#, relay.port);
    t.configure(m, &project(&t.master_url(m), &services)).await;
    t.worker("w", &t.master_url(m), 1).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    build(&t, m, 1).await;
    all_ended(&t, 2).await;
    let to = |address: &str| relay.taken().into_iter().filter(|m| m.to == address).collect::<Vec<_>>();
    let link = header(&parsed(&to("bob@example.org")[0].mail), "List-Unsubscribe");
    let link = link.trim_matches(['<', '>']).to_owned();
    let client = reqwest::Client::new();
    // To look is not to leave: programs open links by themselves.
    assert!(client.get(&link).send().await.unwrap().status().is_success());
    build(&t, m, 1).await;
    all_ended(&t, 4).await;
    assert_eq!((to("ann@example.org").len(), to("bob@example.org").len()), (2, 2));
    let forged = link.replace("bob%40", "ann%40");
    assert_ne!(forged, link);
    assert_eq!(client.post(&forged).send().await.unwrap().status(), 403, "one's own mails only");
    let left = client.post(&link).header("content-type", "application/x-www-form-urlencoded");
    let left = left.body("List-Unsubscribe=One-Click").send().await.unwrap();
    assert!(left.status().is_success(), "{}", left.status());
    build(&t, m, 1).await;
    let told = all_ended(&t, 6).await;
    assert_eq!((to("ann@example.org").len(), to("bob@example.org").len()), (3, 2));
    assert_eq!(states(&told), "1 parked, 5 sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_never_answer_delay_nobody_else() {
    const BUILDS: usize = 12;
    const SILENT: usize = 12;
    const EACH: usize = 10;
    let relay = Relay::start().await;
    // They take connections and say nothing. Each could fill all room that it is given.
    let mut ports = vec![];
    let mut hold = tokio::task::JoinSet::new();
    for _ in 0..SILENT {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        ports.push(silent.local_addr().unwrap().port().to_string());
        hold.spawn(async move {
            let mut held = vec![];
            while let Ok((client, _)) = silent.accept().await {
                held.push(client);
            }
        });
    }
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let many: Vec<String> = (0..EACH).map(|n| format!("\"p{n}@example.org\"")).collect();
    let silent: String = ports
        .iter()
        .map(|port| format!("mail({port}, [{}], generators = failing(), name = \"silent {port}\"), ", many.join(", ")))
        .collect();
    let services =
        format!(r#"{silent} mail({}, ["team@example.org"], generators = failing(), name = "good")"#, relay.port);
    t.configure(m, &project("https://ci.example.org/", &services)).await;
    t.worker("w", &t.master_url(m), 2).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    build(&t, m, BUILDS).await;
    let state = |reporter: &'static str| {
        let db = t.db.clone();
        async move {
            let open = "select count(*) from deliveries where reporter like $1 and ended_at is null";
            let open: i64 = sqlx::query_scalar(open).bind(reporter).fetch_one(db.pool()).await.unwrap();
            let all = "select count(*) from deliveries where reporter like $1";
            let all: i64 = sqlx::query_scalar(all).bind(reporter).fetch_one(db.pool()).await.unwrap();
            (all, open)
        }
    };
    wait_until("the good server's mails", || async {
        let now = state("good").await;
        if now == (BUILDS as i64, 0) { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    let (all, open) = state("silent%").await;
    assert_eq!((all, open), ((SILENT * EACH * BUILDS) as i64, all), "the silent ones have all of theirs before them");
    let text: String = relay.taken().iter().map(|m| String::from_utf8_lossy(&m.mail).into_owned()).collect();
    assert!((1..=BUILDS).all(|n| text.contains(&format!("b #{n}"))));
    hold.shutdown().await;
}
