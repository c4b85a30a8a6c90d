//! What stands between Tidemill and its database: a pooler that carries it, one
//! that does not, and a connection that is cut again and again.

use super::{all_ended, planning, states};
use sqlx::Connection;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, PgBouncer, Relay, wait_until};

/// A builder that one may force, and a mail of each end.
fn project(port: u16) -> String {
    format!(
        r#"
c = {{}}
c["builders"] = [util.BuilderConfig(
    name = "b", workernames = ["*"], collapseRequests = False,
    factory = util.BuildFactory([steps.ShellCommand(name = "say", command = ["echo", "said"])]),
)]
c["schedulers"] = []
c["services"] = [reporters.MailNotifier(
    fromaddr = "ci@example.org", relayhost = "127.0.0.1", smtpPort = {port}, useTls = False,
    sendToInterestedUsers = False, extraRecipients = ["team@example.org"],
    generators = [reporters.BuildStatusGenerator(mode = "all")],
)]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_pooler_in_session_mode_builds_run_and_are_told() {
    let relay = Relay::start().await;
    let mut t = Cluster::start().await;
    let Some(pooler) = PgBouncer::start(&t, "session").await else { return };
    t.master_env.push(("TIDEMILL_DATABASE_URL".into(), pooler.url()));
    t.notifier_env.push(("TIDEMILL_DATABASE_URL".into(), pooler.url()));
    let m = t.master().await;
    t.configure(m, &project(relay.port)).await;
    t.worker("w", &t.master_url(m), 2).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    for _ in 0..3 {
        let request = t.force(m, "b").await;
        assert_eq!(t.result_of(request).await, 0);
        let build = t.build_of(request, "finished").await;
        assert_eq!(t.log(m, build, 1, "stdio").await, b"said\n");
    }
    let told = all_ended(&t, 3).await;
    assert_eq!(states(&told), "3 sent", "{told:?}");
    assert_eq!(relay.taken().len(), 3);
    // All of them came through it, and LISTEN does too.
    let direct: i64 = sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(direct, 2, "a master and a notifier listen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_refused_at_the_start_in_one_sentence() {
    let t = Cluster::start().await;
    let Some(pooler) = PgBouncer::start(&t, "transaction").await else { return };
    for daemon in ["master", "notify"] {
        let mut command = Command::new(program("tidemill"));
        command.arg(daemon).env("TIDEMILL_DATABASE_URL", pooler.url()).env("TIDEMILL_MASTER_LISTEN", "127.0.0.1:0");
        command.env("TIDEMILL_CONFIG", "/dev/null").env("HOME", t.dir());
        let (code, said) = tokio::task::spawn_blocking(move || outcome(&mut command)).await.unwrap();
        assert!(code.is_some_and(|code| code != 0), "{daemon}: {code:?} {said}");
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(lines.len(), 1, "{daemon}: {said}");
        assert!(said.contains("transaction mode") && said.contains("pool_mode = session"), "{daemon}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_cut_again_and_again_misses_nothing() {
    const BUILDS: usize = 12;
    let relay = Relay::start().await;
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project(relay.port)).await;
    t.worker("w", &t.master_url(m), 2).await;
    t.notifier(&["mail"]).await;
    planning(&t).await;
    let (over, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let cutter = {
        let (over, cuts, url) = (over.clone(), cuts.clone(), t.postgres.url().to_owned());
        tokio::spawn(async move {
            let mut own = sqlx::PgConnection::connect(&url).await.unwrap();
            while !over.load(Ordering::Relaxed) {
                let cut: i64 = sqlx::query_scalar(
                    "select count(pg_terminate_backend(pid)) from pg_stat_activity
                      where datname = current_database() and query ilike 'listen%' and pid <> pg_backend_pid()",
                )
                .fetch_one(&mut own)
                .await
                .unwrap();
                cuts.fetch_add(cut as u64, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    };
    for _ in 0..BUILDS {
        let request = t.force(m, "b").await;
        t.result_of(request).await;
    }
    // Cut until the last is told.
    wait_until("some cuts", || async {
        let cuts = cuts.load(Ordering::Relaxed);
        if cuts >= 6 { Ok(()) } else { Err(format!("{cuts} cuts")) }
    })
    .await;
    let told = all_ended(&t, BUILDS).await;
    over.store(true, Ordering::Relaxed);
    cutter.await.unwrap();
    assert!(told.iter().all(|d| matches!(d["state"].as_str(), Some("sent" | "folded"))), "{}", states(&told));
    let mails = relay.taken();
    let text: String = mails.iter().map(|m| String::from_utf8_lossy(&m.mail).into_owned()).collect();
    for build in 1..=BUILDS {
        assert!(text.contains(&format!("b #{build}")), "build {build} is not told");
    }
    println!("{BUILDS} builds, {} mails, {} listeners cut", mails.len(), cuts.load(Ordering::Relaxed));
}
