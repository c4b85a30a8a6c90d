//! IRC: a bot that tells what happens and does what it may be told, whichever
//! notifier speaks.

use super::{all_ended, states};
use tidemill_notifiers::irc::message::Line;
use tidemill_tests::irc::person::{Person, from};
use tidemill_tests::irc::servers::Server;
use tidemill_tests::{Cluster, Repository, wait::holds, wait_until};

/// A builder `check` that is good while the file `good` is there, and one, `slow`, that waits for `go`.
fn project(t: &Cluster, port: u16, reporter: &str, more: &str) -> String {
    let dir = t.dir().display();
    format!(
        r##"
c = {{"buildbotURL": "https://ci.example.org/", "title": "Tide"}}
c["schedulers"] = []
c["builders"] = [
    util.BuilderConfig(name = "check", workernames = ["*"], factory = util.BuildFactory([
        steps.ShellCommand(name = "test", command = ["test", "-e", "{dir}/good"])])),
    util.BuilderConfig(name = "slow", workernames = ["*"], factory = util.BuildFactory([
        steps.ShellCommand(name = "wait", command = ["sh", "-c", "until test -e {dir}/go; do sleep 0.05; done"])])),
]
{more}
c["services"] = [reporters.IRC(
    "127.0.0.1", "tide", ["#ci"], port = {port}, useColors = False, name = "testnet", {reporter}
)]
"##
    )
}

fn good(t: &Cluster, good: bool) {
    let file = t.dir().join("good");
    if good { std::fs::write(file, "") } else { std::fs::remove_file(file) }.expect("the test's folder is writable");
}

/// Builds and waits for the end.
async fn build(t: &Cluster, results: i16) {
    let request = t.force(0, "check").await;
    assert_eq!(t.result_of(request).await, results);
}

/// Somebody in the channel who has seen the bot come after so many lines.
async fn is_there(person: &Person, seen: usize) {
    person.until_after(seen, "the bot to come", |l| l.command == "JOIN" && from(l) == "tide").await;
}

async fn hears(person: &Person, what: &str) -> String {
    person.until(what, |l| from(l) == "tide" && l.last().contains(what)).await.last().to_owned()
}

async fn row(t: &Cluster, what: &str, query: &'static str) -> String {
    let found: Option<String> = sqlx::query_scalar(query).fetch_one(t.db.pool()).await.expect("a row");
    found.unwrap_or_else(|| panic!("{what} is null"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_hears_of_a_problem_and_its_recovery_and_people_may_force_where_the_rule_says_everyone() {
    let Some(server) = Server::ngircd("") else { return };
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    let m = t.master().await;
    let url = repo.url();
    let more =
        format!("c[\"change_source\"] = changes.GitPoller(repourl = {url:?}, branches = True, pollInterval = 0.2)");
    let settings = r#"notify_events = ["problem", "recovery"], authz = {"*": True}"#;
    t.configure(m, &project(&t, server.port, settings, &more)).await;
    t.worker("w1", &t.master_url(m), 2).await;
    t.notifier(&["irc"]).await;
    is_there(&ada, 0).await;
    good(&t, true);
    build(&t, 0).await;
    good(&t, false);
    build(&t, 2).await;
    build(&t, 2).await;
    good(&t, true);
    build(&t, 0).await;
    let deliveries = all_ended(&t, 2).await;
    assert_eq!(states(&deliveries), "2 sent", "{deliveries:?}");
    assert!(deliveries.iter().all(|d| d["answer"].as_str().is_some_and(|a| a.contains("PONG"))), "{deliveries:?}");
    hears(&ada, "build #4 of check").await;
    let told = ada.heard_of("tide", "#ci");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("build #2 of check: failure (was success) | "), "{told:?}");
    assert!(told[0].ends_with("https://ci.example.org/builders/check/builds/2"), "{told:?}");
    assert!(told[1].starts_with("build #4 of check: success (was failure) | "), "{told:?}");

    // To try it, by any of the reporter's names of places.
    let asked = t.api(m).post("deliveries/test", serde_json::json!({"reporter": "irc", "to": "ada"})).await;
    asked.expect("a test can be asked for");
    let tried = ada.until("the test", |l| from(l) == "tide" && l.last().contains("this only tries")).await;
    assert_eq!(tried.param(0), "ada");

    // What people write is data.
    t.polled().await;
    repo.git(&["config", "user.name", "Eve"]);
    let evil = "break it\r\nQUIT :by commit\r\n\u{1}DCC SEND x\u{1}";
    repo.commit("README", "bad\n", evil);
    wait_until("the change", || async {
        let n: i64 = sqlx::query_scalar("select count(*) from changes")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(n > 0, n)
    })
    .await;
    let commits = ada.ask("#ci", "tide: commits").await;
    assert!(commits.ends_with(": break it QUIT :by commit DCC SEND x"), "{commits}");

    let status = ada.ask("#ci", "tide: status check").await;
    assert!(status.starts_with("check: idle, last build #4 success"), "{status}");
    assert!(ada.ask("tide", "list workers").await.starts_with("workers: w1"));
    let version = ada.ask("#ci", "tide: version").await;
    assert!(version.ends_with("for Tide, https://ci.example.org"), "{version}");
    assert_eq!(ada.ask("#ci", "tide: force build nothing").await, "there is no builder «nothing»");
    let made = ada.ask("#ci", "tide: force build --props=colour=red check because I can").await;
    assert!(made.starts_with("asked for a build of check: request "), "{made}");
    let query = "select properties::text || ' ' || reason from buildsets order by id desc limit 1";
    let set = row(&t, "the buildset", query).await;
    assert!(set.contains(r#""owner": ["irc:ada (IRC nick)", "Force Build Form"]"#), "{set}");
    assert!(set.contains(r#""colour": ["red", "#) && set.ends_with(" because I can"), "{set}");
    // Others asked for what may not be: the master's words.
    let refused = ada.ask("tide", "force build --props==x check").await;
    assert!(refused.contains("try: force build"), "{refused}");
    let left = |l: &String| l.starts_with(":tide!") && l.split(' ').nth(1) == Some("QUIT");
    assert!(!ada.raw().iter().any(left), "it is still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_force_and_stop_and_what_a_channel_settled_outlives_the_notifier() {
    let Some(server) = Server::inspircd("<module name=\"ircv3_accounttag\">").and_then(Server::with_services) else {
        return;
    };
    let mut t = Cluster::start().await;
    let mut ada = Person::connect(&server, "ada").await;
    ada.say("NickServ", "REGISTER ada-secret ada@irc.test").await;
    ada.until("to be registered", |l| l.command == "900").await;
    ada.join("#ci").await;
    let mut eve = Person::connect(&server, "eve").await;
    eve.join("#ci").await;
    tidemill_schema::roles::roles_ensure(&t.db, "ci").await.expect("the owner makes roles");
    (t.master_role, t.notifier_role) = (Some("ci_master".into()), Some("ci_notifier".into()));
    let m = t.master().await;
    t.configure(m, &project(&t, server.port, r#"authz = {"!": ["ada"]}"#, "")).await;
    t.worker("w1", &t.master_url(m), 2).await;
    let n = t.notifier(&["irc"]).await;
    is_there(&ada, 0).await;

    let refused = eve.ask("#ci", "tide: force build slow").await;
    assert!(refused.contains("you are not logged in"), "{refused}");
    let made = ada.ask("#ci", "tide: force build slow for a test").await;
    assert!(made.starts_with("asked for a build of slow: request "), "{made}");
    let owner = row(&t, "the owner", "select properties #>> '{owner,0}' from buildsets").await;
    assert_eq!(owner, "irc:ada");
    let request: i64 = sqlx::query_scalar("select id from build_requests").fetch_one(t.db.pool()).await.expect("one");
    t.build_of(request, "running").await;
    assert_eq!(eve.ask("#ci", "tide: watch slow").await, "I shall tell when build #1 of slow ends");
    let status = eve.ask("tide", "status slow").await;
    assert!(status.starts_with("slow: 1 running"), "{status}");

    // Another notifier knows what this one was told.
    assert_eq!(ada.ask("#ci", "tide: notify on failure").await, "told here: failure");
    assert_eq!(ada.ask("#ci", "tide: mute").await, "I am silent here until «unmute»");
    let seen = ada.seen();
    t.notifiers[n].terminate();
    ada.until_after(seen, "the goodbye", |l| l.command == "QUIT" && from(l) == "tide").await;
    t.notifier_restart(n, &["irc"]).await;
    is_there(&ada, seen).await;
    good(&t, true);
    good(&t, false);
    build(&t, 2).await;
    super::all_planned(&t).await;
    let none: i64 =
        sqlx::query_scalar("select count(*) from deliveries").fetch_one(t.db.pool()).await.expect("a count");
    assert_eq!(none, 0, "nothing is told in a muted place");
    assert_eq!(ada.ask("#ci", "tide: unmute").await, "I speak here again");
    assert_eq!(ada.ask("#ci", "tide: notify list").await, "told here: failure");
    build(&t, 2).await;
    hears(&ada, "build #2 of check: failure").await;

    assert_eq!(ada.ask("#ci", "tide: stop build slow enough").await, "build #1 of slow is told to stop");
    assert_eq!(t.result_of(request).await, 6);
    let end = hears(&eve, "build #1 of slow: ").await;
    assert!(end.contains("cancelled"), "{end}");
    let reason = row(&t, "the reason", "select stop_reason from builds where stop_reason is not null").await;
    assert_eq!(reason, "enough (by irc:ada)");
    let watched: i64 = sqlx::query_scalar("select count(*) from irc_places where watched <> '{}'")
        .fetch_one(t.db.pool())
        .await
        .expect("a count");
    assert_eq!(watched, 0, "told once");
}

/// A notifier that speaks in `#ci` and was heard there, and a second one.
async fn heard_by(server: &Server, second: &[&str]) -> (Cluster, Person) {
    let mut t = Cluster::start().await;
    let mut ada = Person::connect(server, "ada").await;
    ada.join("#ci").await;
    let m = t.master().await;
    t.configure(m, &project(&t, server.port, r#"notify_events = ["finished"]"#, "")).await;
    t.worker("w1", &t.master_url(m), 2).await;
    t.notifier(&["irc"]).await;
    is_there(&ada, 0).await;
    t.notifier(second).await;
    good(&t, true);
    build(&t, 0).await;
    hears(&ada, "build #1 of check: success").await;
    all_ended(&t, 1).await;
    (t, ada)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_holder_is_followed_and_a_storm_that_waited_for_it_is_two_lines() {
    let Some(server) = Server::ngircd("") else { return };
    // The second one plans, and cannot speak.
    let (mut t, mut ada) = heard_by(&server, &["mail"]).await;
    let m = 0;

    let seen = ada.seen();
    t.notifiers[0].kill9();
    ada.until_after(seen, "it to be gone", |l| l.command == "QUIT" && from(l) == "tide").await;
    for _ in 0..7 {
        build(&t, 0).await;
    }
    wait_until("the notices to be planned", || async {
        let n: i64 = sqlx::query_scalar("select count(*) from deliveries")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(n == 8, n)
    })
    .await;
    t.notifier(&["irc", "mail"]).await;
    is_there(&ada, seen).await;
    let deliveries = all_ended(&t, 8).await;
    assert_eq!(states(&deliveries), "6 folded, 2 sent", "{deliveries:?}");
    hears(&ada, "and 6 more builds ended: 6 success | https://ci.example.org/").await;
    assert_eq!(ada.heard_of("tide", "#ci").len(), 3, "{:?}", ada.heard_of("tide", "#ci"));

    // The project file moves it elsewhere, and then away.
    let seen = ada.seen();
    ada.join("#new").await;
    let text = project(&t, server.port, r#"notify_events = ["finished"]"#, "").replace("#ci", "#new");
    t.configure(m, &text).await;
    ada.until_after(seen, "it in the new channel", |l| {
        l.command == "JOIN" && from(l) == "tide" && l.param(0) == "#new"
    })
    .await;
    ada.until_after(seen, "it to leave the old one", |l| l.command == "PART" && from(l) == "tide").await;
    t.configure(m, &text.replace("\"tide\"", "\"tidemill\"")).await;
    ada.until_after(seen, "the other nick", |l| l.command == "JOIN" && from(l) == "tidemill").await;
    let away = text.split("c[\"services\"]").next().expect("a file").to_owned();
    t.configure(m, &away).await;
    ada.until_after(seen, "the goodbye", |l| l.command == "QUIT" && from(l) == "tidemill").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_stopped_past_its_lease_says_nothing_when_it_goes_on() {
    let Some(server) = Server::ngircd("") else { return };
    let (t, ada) = heard_by(&server, &["irc"]).await;

    let seen = ada.seen();
    t.notifiers[0].signal(nix::sys::signal::Signal::SIGSTOP);
    // The nick is not free yet.
    let other = |l: &Line| l.command == "JOIN" && from(l) != "tide" && from(l).starts_with("tide");
    let other = from(&ada.until_after(seen, "another one", other).await).to_owned();
    build(&t, 0).await;
    all_ended(&t, 2).await;
    ada.until("the notice", |l| from(l) == other && l.last().contains("build #2 of check: success")).await;
    t.notifiers[0].signal(nix::sys::signal::Signal::SIGCONT);
    ada.until_after(seen, "the first one to go", |l| l.command == "QUIT" && from(l) == "tide").await;
    build(&t, 0).await;
    all_ended(&t, 3).await;
    wait_until("the third notice", || async {
        let heard: Vec<String> = ["tide", &*other].iter().flat_map(|nick| ada.heard_of(nick, "#ci")).collect();
        let of = |number| heard.iter().filter(|l| l.contains(&format!("build #{number} of check"))).count();
        holds((of(1), of(2), of(3)) == (1, 1, 1), format!("{heard:?}"))
    })
    .await;
    assert_eq!(ada.heard_of("tide", "#ci").iter().filter(|l| l.contains("#2")).count(), 0, "{:?}", ada.raw());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forced_while_no_master_runs_is_done_by_the_next_one_and_once() {
    let Some(server) = Server::ngircd("") else { return };
    let mut t = Cluster::start().await;
    let mut ada = Person::connect(&server, "ada").await;
    ada.join("#ci").await;
    let m = t.master().await;
    t.configure(m, &project(&t, server.port, r#"authz = {"*": True}"#, "")).await;
    t.worker("w1", &t.master_url(m), 2).await;
    let n = t.notifier(&["irc"]).await;
    is_there(&ada, 0).await;
    good(&t, true);
    let address = t.masters[m].address;
    t.masters[m].process.kill9();
    let said = ada.ask("#ci", "tide: force build check").await;
    assert!(said.contains("no master has answered; it is done if one comes within two minutes"), "{said}");
    // Neither the notifier that asked nor another one does it a second time.
    t.notifiers[n].terminate();
    t.notifier_restart(n, &["irc"]).await;
    t.master_restart(m, address).await;
    wait_until("the build", || async {
        let ended: i64 = sqlx::query_scalar("select count(*) from builds where results = 0")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        holds(ended == 1, ended)
    })
    .await;
    let state = row(&t, "the state", "select string_agg(state, ' ') from control_requests").await;
    assert_eq!(state, "done");
    let requests: i64 =
        sqlx::query_scalar("select count(*) from build_requests").fetch_one(t.db.pool()).await.expect("a count");
    assert_eq!(requests, 1);
}
