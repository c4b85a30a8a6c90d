//! Commands that ask the database itself, with `--database`.

use std::process::Command;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, Repository, invariants, wait_until};

fn tidemill(t: &Cluster, args: &[&str]) -> (Option<i32>, String) {
    outcome(
        Command::new(program("tidemill"))
            .args(args)
            .arg(format!("--database={}", t.postgres.url()))
            .env("TIDEMILL_STATE_HOME", t.dir()),
    )
}

/// Who is a member of the cluster and what was done without being asked.
async fn traces(t: &Cluster) -> (i64, i64, bool, i64) {
    sqlx::query_as(
        "select (select count(*) from masters), (select count(*) from beats),
                (select bool_or(polled_at > now() - interval '1 day') from change_sources),
                (select count(*) from build_requests)",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beside_the_database_does_what_was_asked_and_nothing_by_itself() {
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    let m = t.master().await;
    let text = format!(
        r#"
c = {{}}
c["change_source"] = changes.GitPoller(repourl = {url:?}, branch = "main", pollInterval = 0.2)
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"])]
f = util.BuildFactory([steps.ShellCommand(name = "run", command = ["true"])])
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = f)]
"#,
        url = repo.url()
    );
    t.configure(m, &text).await;
    t.polled().await;
    assert!(t.masters[m].process.terminate().success());
    // Everything is due: a poll, a scheduler with a change to read.
    repo.commit("README", "new\n", "unseen");
    sqlx::raw_sql(
        "update change_sources set polled_at = now() - interval '2 days', next_at = now() - interval '1 day',
                holder = null, held_until = null",
    )
    .execute(t.db.pool())
    .await
    .unwrap();
    let (code, text) = tidemill(
        &t,
        &["sendchange", "--repository", "r", "--branch", "main", "--revision", "1", "--author", "a", "--comments", "c"],
    );
    assert_eq!(code, Some(0), "{text}");
    let before = traces(&t).await;
    for _ in 0..3 {
        let (code, text) = tidemill(&t, &["builders"]);
        assert_eq!((code, text.contains('b')), (Some(0), true), "{text}");
    }
    assert_eq!(traces(&t).await, before, "no member, no beat, no poll, nothing scheduled");

    // What was asked is done, and a master finds it and all that waited.
    let (code, text) = tidemill(&t, &["force", "b", "--branch", "main"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(traces(&t).await.3, before.3 + 1);
    let address = t.masters[m].address;
    t.master_restart(m, address).await;
    t.worker("w", &t.master_url(m), 1).await;
    wait_until("the forced build, the announced change and the commit to be built", || async {
        let built: i64 = sqlx::query_scalar("select count(*) from builds where results = 0")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if built == 3 { Ok(()) } else { Err(format!("{built} are built")) }
    })
    .await;
    invariants::check(&t.db).await;
}
