//! [notice-*] Notices: how soon after a build's end its mail is at the relay,
//! how many go out in a second, and what they cost the builds.

use crate::meter::{cpu_tree, percentile};
use crate::noop_builds::submit;
use crate::{Line, Size};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tidemill_tests::{Cluster, wait_until, wait_while_it_moves};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Recipients of the rate's reporter: with so few builds none of them hears a storm, which would be
/// folded into one mail.
const RECIPIENTS: usize = 1_000;

/// A relay that takes everything and keeps when.
struct Relay {
    port: u16,
    taken: Arc<AtomicUsize>,
    /// Seconds since 1970 at which mails were taken.
    times: Arc<Mutex<VecDeque<f64>>>,
}

impl Relay {
    async fn start() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port can be bound");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let (taken, times) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(VecDeque::new())));
        let (t, w) = (taken.clone(), times.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(talk(stream, t.clone(), w.clone()));
            }
        });
        Relay { port, taken, times }
    }
}

async fn talk(stream: TcpStream, taken: Arc<AtomicUsize>, times: Arc<Mutex<VecDeque<f64>>>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 bench ESMTP\r\n").await?;
    let mut line = Vec::new();
    let mut data = false;
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if data {
            if line == b".\r\n" {
                data = false;
                times.lock().expect("no panic while locked").push_back(now());
                taken.fetch_add(1, Ordering::Relaxed);
                stream.write_all(b"250 2.0.0 Ok\r\n").await?;
            }
            continue;
        }
        let answer: &[u8] = match line.get(..4).unwrap_or_default() {
            b"EHLO" => b"250-bench\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
            b"DATA" => {
                data = true;
                b"354 Go on\r\n"
            }
            b"QUIT" => {
                stream.write_all(b"221 Bye\r\n").await?;
                return Ok(());
            }
            _ => b"250 2.1.0 Ok\r\n",
        };
        stream.write_all(answer).await?;
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

fn project(command: &str, services: &str) -> String {
    format!(
        r#"
c = {{}}
f = util.BuildFactory([steps.ShellCommand(name = "x", command = ["{command}"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
{services}
"#
    )
}

fn mail(port: u16, recipients: &[String], modes: &str) -> String {
    format!(
        "c[\"services\"] = [reporters.MailNotifier(fromaddr = \"ci@example.org\", relayhost = \"127.0.0.1\", \
         smtpPort = {port}, useTls = False, extraRecipients = {recipients:?}, \
         generators = [reporters.BuildStatusGenerator(mode = {modes})])]"
    )
}

async fn built(t: &Cluster, m: usize, text: &str) {
    t.configure(m, text).await;
    for _ in 0..10 {
        let request = t.force(m, "b").await;
        t.result_of(request).await;
    }
}

pub async fn latency(size: Size) -> Vec<Line> {
    const NAME: &str = "notice-latency";
    let n = size.pick(20, 300);
    let relay = Relay::start().await;
    let mut t = Cluster::with(true, 60).await;
    let m = t.master().await;
    t.worker("w", &t.master_url(m), 1).await;
    let text = project("true", &mail(relay.port, &["team@example.org".to_owned()], "\"passing\""));
    t.configure(m, &text).await;
    t.notifier(&[]).await;
    sqlx::raw_sql("create table floor_notice (id bigint generated always as identity primary key, text text)")
        .execute(t.db.pool())
        .await
        .expect("a table can be made");
    let (mut took, mut bare) = (Vec::new(), Vec::new());
    for i in 0..n + 10 {
        // Idle: the last one is long over.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let request = t.force(m, "b").await;
        t.result_of(request).await;
        wait_until("the mail", || async {
            let taken = relay.taken.load(Ordering::Relaxed);
            if taken == i + 1 { Ok(()) } else { Err(format!("{taken} mails of {}", i + 1)) }
        })
        .await;
        let taken = relay.times.lock().expect("no panic while locked").pop_front().expect("it was taken");
        // The end's transaction began before it was committed: this is a little too much.
        let ended: f64 = sqlx::query_scalar(
            "select extract(epoch from at)::float8 from events where kind = 'builds.finished' order by at desc limit 1",
        )
        .fetch_one(t.db.pool())
        .await
        .expect("the end is an event");
        let begun = Instant::now();
        // The floor: two commits stand between the end and the mail: planned, claimed.
        for _ in 0..2 {
            sqlx::query("insert into floor_notice (text) values ('x')").execute(t.db.pool()).await.expect("insert");
        }
        if i >= 10 {
            bare.push(begun.elapsed().as_secs_f64() * 1000.0);
            took.push((taken - ended) * 1000.0);
        }
    }
    let floor = percentile(&mut bare, 0.5);
    vec![
        Line::time(
            NAME,
            "end of a build to its mail, p50, against two bare commits",
            percentile(&mut took, 0.5),
            "ms",
            floor,
        ),
        Line::alone(NAME, "the same, p99", percentile(&mut took, 0.99), "ms"),
    ]
}

pub async fn rate(size: Size) -> Vec<Line> {
    const NAME: &str = "notice-rate";
    let builds = size.pick(1, 9);
    let relay = Relay::start().await;
    let mut t = Cluster::with(true, 60).await;
    let m = t.master().await;
    t.worker("w", &t.master_url(m), 1).await;
    let recipients: Vec<String> = (0..RECIPIENTS).map(|i| format!("person{i}@example.org")).collect();
    // The place in the stream begins before the builds.
    t.configure(m, &project("true", &mail(relay.port, &recipients, "\"failing\""))).await;
    let n = t.notifier(&[]).await;
    t.notifiers[n].terminate();
    t.configure(m, &project("false", &mail(relay.port, &recipients, "\"failing\""))).await;
    for _ in 0..builds {
        let request = t.force(m, "b").await;
        t.result_of(request).await;
    }
    t.notifier_env = vec![("TIDEMILL_NOTIFY_EACH".into(), "64".into()), ("TIDEMILL_NOTIFY_MOST".into(), "128".into())];
    let started = Instant::now();
    t.notifier_restart(n, &[]).await;
    let all = builds * RECIPIENTS;
    let sent = wait_while_it_moves("all mails to be sent", || async {
        let ended: i64 = sqlx::query_scalar("select count(*) from deliveries where state = 'sent'")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if ended as usize == all { Ok(ended) } else { Err(format!("{ended} of {all}")) }
    })
    .await;
    let took = started.elapsed().as_secs_f64();
    let cpu = cpu_tree(t.notifiers[n].pid()).as_secs_f64() * 1000.0 / all as f64;
    let floor = bare(relay.port, size).await;
    vec![
        Line::rate(
            NAME,
            "mails, from planning to recorded, against bare dialogues on 8 connections",
            sent as f64 / took,
            "mails/s",
            floor,
        ),
        Line::alone(NAME, "CPU of the notifier", cpu, "ms a mail"),
        Line::alone(
            NAME,
            "CPU of Postgres, builds included",
            cpu_tree(t.postgres.pid()).as_secs_f64() * 1000.0 / all as f64,
            "ms a mail",
        ),
    ]
}

/// Mails a second that the relay takes of somebody who only talks, on 8 connections.
async fn bare(port: u16, size: Size) -> f64 {
    let end = Instant::now() + Duration::from_secs(size.pick(1, 3));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(async move {
            let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("the relay listens");
            stream.set_nodelay(true).expect("a socket of TCP");
            let mut stream = BufReader::new(stream);
            let (mut line, mut n) = (String::new(), 0usize);
            stream.read_line(&mut line).await.expect("it greets");
            let text = format!("{}\r\n.\r\n", "x".repeat(2_000));
            while Instant::now() < end {
                for said in ["MAIL FROM:<a@b>\r\n", "RCPT TO:<c@d>\r\n", "DATA\r\n", &text] {
                    stream.write_all(said.as_bytes()).await.expect("it reads");
                    line.clear();
                    stream.read_line(&mut line).await.expect("it answers");
                }
                n += 1;
            }
            n
        });
    }
    let mut total = 0;
    while let Some(n) = tasks.join_next().await {
        total += n.expect("no panic");
    }
    total as f64 / size.pick(1.0, 3.0)
}

pub async fn cost(size: Size) -> Vec<Line> {
    const NAME: &str = "notice-cost";
    let (rounds, n) = size.pick((1, 200), (3, 2_000));
    let relay = Relay::start().await;
    let mut t = Cluster::with(true, 60).await;
    let m = t.master().await;
    for i in 0..4 {
        t.worker(&format!("w{i}"), &t.master_url(m), 8).await;
    }
    let team = ["team@example.org".to_owned()];
    let (nobody, problems) =
        (project("true", ""), project("true", &mail(relay.port, &team, "[\"problem\", \"exception\"]")));
    let each = project("true", &mail(relay.port, &team, "\"all\""));
    built(&t, m, &nobody).await;
    let (mut alone, mut quiet, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        built(&t, m, &nobody).await;
        alone.push(builds(&t, n).await);
        for (text, rates) in [(&problems, &mut quiet), (&each, &mut told)] {
            let notifier = t.notifier(&[]).await;
            built(&t, m, text).await;
            rates.push(builds(&t, n).await);
            t.notifiers[notifier].terminate();
        }
    }
    let floor = percentile(&mut alone, 0.5);
    vec![
        Line::rate(
            NAME,
            "builds with a reporter of problems, against without any",
            percentile(&mut quiet, 0.5),
            "builds/s",
            floor,
        ),
        Line::rate(
            NAME,
            "builds that are each told, by one mail or a digest",
            percentile(&mut told, 0.5),
            "builds/s",
            floor,
        ),
    ]
}

/// Builds a second.
async fn builds(t: &Cluster, n: usize) -> f64 {
    let started = Instant::now();
    submit(t, n).await;
    wait_while_it_moves("the builds to end", || async {
        let open: i64 = sqlx::query_scalar("select count(*) from build_requests where complete_at is null")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
    })
    .await;
    n as f64 / started.elapsed().as_secs_f64()
}
