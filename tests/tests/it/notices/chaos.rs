//! Builds end while notifiers are killed, the mail server misbehaves in every way it
//! can, and the connection to IRC is cut. Afterwards each due notice has arrived, and
//! what came twice came twice for a reason, as the same mail.
//!
//! `TIDEMILL_TEST_FULL=1` takes 10,000 builds.

use super::planning;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tidemill_model::Results;
use tidemill_model::wire::{Held, Poll};
use tidemill_schema::Db;
use tidemill_tests::api::Api;
use tidemill_tests::irc::person::Person;
use tidemill_tests::irc::servers::Server;
use tidemill_tests::proxy::Proxy;
use tidemill_tests::relay::{Misdeed, Taken};
use tidemill_tests::smtp::parsed;
use tidemill_tests::{Cluster, PlayedWorker, Relay, wait_while_it_moves};

const NOTIFIERS: usize = 3;
const WAYS: [&str; 2] = ["mail", "irc"];
const WORKERS: usize = 3;
const SLOTS: u32 = 8;
const PEOPLE: usize = 4;

/// `team` is told of failures, each by itself unless they are many; `all` of everything, gathered; a channel of
/// exceptions, if there is an IRC server.
fn project(port: u16, irc: Option<u16>) -> String {
    let irc = irc.map(|port| {
        format!(
            r##"reporters.IRC("127.0.0.1", "tide", ["#ci"], port = {port}, useColors = False, name = "irc",
                notify_events = ["exception"])"##
        )
    });
    let irc = irc.unwrap_or_default();
    format!(
        r#"
c = {{}}
c["builders"] = [util.BuilderConfig(
    name = "b%d" % i, workernames = ["*"], collapseRequests = False,
    factory = util.BuildFactory([steps.ShellCommand(command = ["true"])]),
) for i in range(4)]
c["schedulers"] = []
words = reporters.MessageFormatter(template = "The build N{{{{ build.buildid }}}}. is over.", subject = "N{{{{ build.buildid }}}}. {{{{ mode }}}}")
def mail(name, **kw):
    return reporters.MailNotifier(
        name = name, fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = {port}, useTls = False,
        sendToInterestedUsers = False, unsubscribe = False, **kw
    )
c["services"] = [
    mail("team", extraRecipients = ["team@example.org", "ops@example.org"],
         generators = [reporters.BuildStatusGenerator(mode = ["failing", "exception"], message_formatter = words)]),
    mail("all", extraRecipients = ["list@example.org"], digest = 1,
         generators = [reporters.BuildStatusGenerator(mode = "all", message_formatter = words)]),
    {irc}
]
"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifiers_are_killed_mail_misbehaves_irc_is_cut_and_each_due_notice_arrives() {
    let full = std::env::var_os("TIDEMILL_TEST_FULL").is_some();
    let (builds, kills, every) = if full { (10_000, 40, 6) } else { (200, 6, 3) };
    let seed: u64 = std::env::var("TIDEMILL_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("TIDEMILL_TEST_SEED={seed}");
    let relay = Relay::start().await;
    let server = Server::ngircd("");
    let mut channel = None;
    if let Some(server) = &server {
        let mut ada = Person::connect(server, "ada").await;
        ada.join("#ci").await;
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], server.port));
        channel = Some((ada, Proxy::start(address).await));
    }
    let mut t = Cluster::start().await;
    t.notifier_env.push(("TIDEMILL_NOTIFY_AGAIN_SECONDS".into(), "1".into()));
    let m = t.master().await;
    t.configure(m, &project(relay.port, channel.as_ref().map(|(_, proxy)| proxy.address.port()))).await;
    for _ in 0..NOTIFIERS {
        t.notifier(&WAYS).await;
    }
    planning(&t).await;

    relay.misbehave(every);
    let masters = Arc::new(vec![t.master_url(m)]);
    let done = Arc::new(AtomicBool::new(false));
    let mut workers = tokio::task::JoinSet::new();
    for i in 0..WORKERS {
        let worker = PlayedWorker::enrol(&t.db, &format!("w{i}"), &masters).await;
        workers.spawn(work(worker, StdRng::seed_from_u64(seed ^ (1 << 32) ^ i as u64), done.clone()));
    }
    let mut people = tokio::task::JoinSet::new();
    for i in 0..PEOPLE {
        people.spawn(force(t.api(m), i, builds / PEOPLE));
    }

    // Until everything has happened: the builds, so many kills, and each misdeed.
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut killed, mut cuts) = (0, 0);
    let mut extra = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(rng.random_range(50..700))).await;
        let n = rng.random_range(0..NOTIFIERS);
        t.notifiers[n].kill9();
        killed += 1;
        t.notifier_restart(n, &WAYS).await;
        if let Some((_, proxy)) = &channel {
            proxy.cut();
            cuts += 1;
        }
        hasten(&t.api(m)).await;
        let all_done = relay.misdeeds().len() == Misdeed::ALL.len();
        if people.is_empty() && killed >= kills {
            if all_done {
                break;
            }
            // It has not had enough mails to misbehave in each way.
            force(t.api(m), extra, 10).await;
            extra += 1;
            assert!(extra < 200, "the relay did only {:?}", relay.misdeeds());
        }
        while people.try_join_next().transpose().expect("a person goes on").is_some() {}
    }
    wait_while_it_moves("the builds to be over", || async {
        let open = count(&t.db, "build_requests where complete_at is null").await;
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await;
    done.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker.expect("a worker goes on");
    }

    relay.heal();
    let healed = Instant::now();
    let due = due(&t.db).await;
    let spoken = if channel.is_some() { count(&t.db, "builds where results = 4").await } else { 0 };
    let rows: usize = due.values().map(BTreeSet::len).sum::<usize>() + spoken as usize;
    wait_while_it_moves("the notices to be over", || async {
        hasten(&t.api(m)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let planned = count(&t.db, "deliveries").await;
        let open = count(&t.db, "deliveries where ended_at is null").await;
        let done = planned == rows as i64 && open == 0;
        if done { Ok(()) } else { Err(format!("{planned} of {rows} are planned, {open} open")) }
    })
    .await;
    let healed = healed.elapsed();
    let unhappy = count(&t.db, "deliveries where state not in ('sent', 'folded')").await;
    assert_eq!(unhappy, 0, "nothing was given up");

    let taken = relay.taken();
    let arrived = arrived(&taken);
    for (address, builds) in &due {
        let there: BTreeSet<i64> = arrived[*address].keys().copied().collect();
        let lost: Vec<_> = builds.difference(&there).collect();
        let undue: Vec<_> = there.difference(builds).collect();
        assert!(lost.is_empty() && undue.is_empty(), "{address}: {lost:?} did not arrive, {undue:?} were not due");
        for (build, ids) in &arrived[*address] {
            assert_eq!(ids.len(), 1, "build {build} reached {address} in several mails: {ids:?}");
        }
    }
    let twice = twice(&t.db, &taken).await;
    let lines = match &channel {
        Some((ada, _)) => heard(&t.db, &ada.heard_of_any("tide", "#ci")).await,
        None => 0,
    };
    let defects = taken.iter().step_by(taken.len().div_ceil(20)).map(|one| parsed(&one.mail)["defects"].to_string());
    assert!(defects.into_iter().all(|found| found == "[]"));
    println!(
        "{} builds, {rows} notices due in {} mails and {lines} lines of IRC, {killed} notifiers killed, {cuts} cuts of IRC, \
         {twice} mails came twice; after healing all were there within {healed:?}; the relay: {:?}",
        count(&t.db, "builds").await,
        taken.len() - twice,
        relay.misdeeds()
    );
}

/// Makes so many builds wanted.
async fn force(api: Api, who: usize, builds: usize) {
    for n in 0..builds {
        let asked = api.post(&format!("builders/b{}/force", n % 4), json!({ "reason": format!("{who}-{n}") })).await;
        asked.expect("a build can be forced");
    }
}

/// What somebody does who has just mended the mail server.
async fn hasten(api: &Api) {
    api.post("deliveries/retry", json!({ "waiting": true })).await.expect("it can be asked for");
}

async fn count(db: &Db, of: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("select count(*) from {of}"));
    sqlx::query_scalar(query).fetch_one(db.pool()).await.expect("the tables can be counted")
}

/// Takes builds and ends them in any way.
async fn work(worker: PlayedWorker, mut rng: StdRng, done: Arc<AtomicBool>) {
    let session = worker.hello(SLOTS).await;
    let (mut number, mut newest) = (1, 0);
    while !done.load(Ordering::Relaxed) {
        let held: Vec<Held> = vec![];
        let poll = Poll { session, poll: number, free: SLOTS, newest, held, wait_us: 200_000 };
        let Some(answer) = worker.poll(&poll, Duration::from_secs(5)).await else { continue };
        number += 1;
        for claim in answer.claims {
            newest = newest.max(claim.build);
            let results = match rng.random_range(0..4) {
                0 => Results::Failure,
                1 => Results::Exception,
                2 => Results::Warnings,
                _ => Results::Success,
            };
            worker.finish(session, &claim, results, || Duration::from_secs(5)).await;
        }
    }
}

/// By address, the builds that the modes of its reporter take.
async fn due(db: &Db) -> BTreeMap<&'static str, BTreeSet<i64>> {
    let ended = |results: &'static str| async move {
        let query = sqlx::AssertSqlSafe(format!("select id from builds where results in ({results})"));
        let ids: Vec<i64> = sqlx::query_scalar(query).fetch_all(db.pool()).await.expect("builds can be read");
        ids.into_iter().collect::<BTreeSet<i64>>()
    };
    let bad = ended("2, 4").await;
    let all = ended("0, 1, 2, 4, 6").await;
    BTreeMap::from([("team@example.org", bad.clone()), ("ops@example.org", bad), ("list@example.org", all)])
}

/// Each exception is told in the channel by a line of its own, or among so many others in the line that follows
/// its leader's. Returns how many lines were heard.
async fn heard(db: &Db, lines: &[String]) -> usize {
    let told: Vec<(i64, String, i64)> = sqlx::query_as(
        "select b.number, u.name, (select count(*) from deliveries f where f.folded_into = d.id)
           from deliveries d
           join destinations x on x.id = d.destination_id and x.kind = 'irc'
           join builds b on b.id = d.build_id
           join builders u on u.id = b.builder_id
          where d.state = 'sent'",
    )
    .fetch_all(db.pool())
    .await
    .expect("deliveries can be read");
    let mut most: BTreeMap<i64, usize> = BTreeMap::new();
    for (number, builder, folded) in &told {
        let own = format!("build #{number} of {builder}: exception");
        assert!(lines.iter().any(|l| l.contains(&own)), "nobody heard «{own}»");
        *most.entry(*folded).or_default() += 1;
    }
    for (folded, leaders) in most.into_iter().filter(|(folded, _)| *folded > 0) {
        let said = format!("and {folded} more build");
        let there = lines.iter().filter(|l| l.contains(&said)).count();
        assert!(there >= leaders, "«{said}» was heard {there} times of {leaders}");
    }
    lines.len()
}

/// By address and build, the Message-IDs of the mails that tell it.
fn arrived(taken: &[Taken]) -> BTreeMap<String, BTreeMap<i64, BTreeSet<String>>> {
    let mut found: BTreeMap<String, BTreeMap<i64, BTreeSet<String>>> = BTreeMap::new();
    for one in taken {
        let builds = found.entry(one.to.clone()).or_default();
        for build in told(&one.mail) {
            builds.entry(build).or_default().insert(message_id(&one.mail));
        }
    }
    found
}

/// The builds that a mail tells, by their marks `N17.`.
fn told(mail: &[u8]) -> BTreeSet<i64> {
    // Quoted-printable breaks lines within words.
    let text = String::from_utf8_lossy(mail).replace("=\r\n", "");
    let marks = text.split('N').skip(1).filter_map(|rest| rest.split_once('.'));
    marks.filter_map(|(digits, _)| digits.parse().ok()).collect()
}

fn message_id(mail: &[u8]) -> String {
    let text = String::from_utf8_lossy(mail);
    let line = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).expect("a mail has a Message-ID");
    line.trim().to_owned()
}

/// How many mails came again: each as it came before, and each because its sender, or the
/// connection, was lost after it was handed over.
async fn twice(db: &Db, taken: &[Taken]) -> usize {
    let unsure: Vec<String> = sqlx::query_scalar("select message_id from deliveries where unsure")
        .fetch_all(db.pool())
        .await
        .expect("deliveries can be read");
    let hash = |id: &String| hex::encode(ring::digest::digest(&ring::digest::SHA256, id.as_bytes()))[..32].to_owned();
    let unsure: BTreeSet<String> = unsure.iter().map(|id| format!("<notice.{}@example.org>", hash(id))).collect();
    let mut first: BTreeMap<String, &Taken> = BTreeMap::new();
    let mut again = 0;
    for one in taken {
        let id = message_id(&one.mail);
        match first.get(&id) {
            None => {
                first.insert(id, one);
            }
            Some(before) => {
                again += 1;
                assert!(unsure.contains(&id), "{id} came twice, and no crash or cut is known");
                assert_eq!((&before.to, told(&before.mail)), (&one.to, told(&one.mail)), "{id} has two contents");
            }
        }
    }
    again
}
