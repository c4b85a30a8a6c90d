//! A master that owns nothing of its database.

use crate::project;
use std::process::Command;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, Repository, invariants, wait_until};

fn migrate(t: &Cluster, args: &[&str]) -> (Option<i32>, String) {
    outcome(Command::new(program("tidemill")).arg("migrate").args(args).env("TIDEMILL_DATABASE_URL", t.postgres.url()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_under_the_restricted_role_polls_schedules_builds_stops_and_reaps() {
    let mut t = Cluster::with(false, 6).await;
    let (code, text) = migrate(&t, &["--roles", "ci"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("made: ci_master, ci_notifier, ci_reader, ci_reporter"), "{text}");
    let (code, text) = migrate(&t, &["--roles", "Not A Name"]);
    assert_eq!(code, Some(2), "{text}");
    t.master_role = Some("ci_master".into());
    let repo = Repository::create(t.dir());
    let m = t.master().await;
    // Builders are made by this role: their sequences are not.
    let text = format!(
        r#"
c = {{}}
c["change_source"] = changes.GitPoller(repourl = {url:?}, branch = "main", pollInterval = 0.2)
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "all", builderNames = ["check"])]
f = util.BuildFactory([
    steps.Git(repourl = {url:?}, mode = "incremental"),
    steps.ShellCommand(name = "show", command = ["cat", "README"]),
])
g = util.BuildFactory([steps.ShellCommand(name = "long", command = ["sleep", "600"])])
c["builders"] = [
    util.BuilderConfig(name = "check", workernames = ["*"], factory = f),
    util.BuilderConfig(name = "b", workernames = ["*"], factory = g),
]
"#,
        url = repo.url()
    );
    t.configure(m, &text).await;
    t.worker("w1", &t.master_url(m), 2).await;
    t.polled().await;
    repo.commit("README", "under a role\n", "a commit");
    let (build, results): (i64, i16) = wait_until("the build to be final", || async {
        let row = sqlx::query_as("select id, results from builds where state = 'finished'")
            .fetch_optional(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        row.ok_or_else(|| "none yet".to_owned())
    })
    .await;
    assert_eq!(results, 0);
    assert_eq!(t.log(m, build, 2, "stdio").await, b"under a role\n");

    // A stop, a withdrawn request, and a build whose worker is gone.
    let request = t.force(m, "b").await;
    let running = t.build_of(request, "running").await;
    t.api(m).post(&format!("builds/{running}/stop"), serde_json::json!({ "reason": "enough" })).await.unwrap();
    assert_eq!(t.result_of(request).await, 6);
    let request = t.force(m, "b").await;
    let running = t.build_of(request, "running").await;
    t.workers[0].process.kill9();
    wait_until("the lost build to be reaped", || async {
        let lost: Option<i16> = sqlx::query_scalar("select results from builds where id = $1")
            .bind(running)
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if lost == Some(5) { Ok(()) } else { Err(format!("{lost:?}")) }
    })
    .await;
    t.api(m).post(&format!("buildrequests/{request}/cancel"), serde_json::json!({})).await.unwrap();
    assert_eq!(t.result_of(request).await, 6);
    crate::facts::told(&t).await;
    let log = t.masters[m].process.output();
    assert!(!log.contains("permission denied"), "{log}");
    assert!(t.masters[m].process.terminate().success());
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_beside_the_database_work_for_the_master_role_and_not_for_the_reader() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project::ticking(1)).await;
    assert_eq!(migrate(&t, &["--roles"]).0, Some(0));
    let builders = |role: &str| {
        outcome(
            Command::new(program("tidemill"))
                .args(["builders", "--database"])
                .env("TIDEMILL_DATABASE_URL", t.database_as(role))
                .env("TIDEMILL_STATE_HOME", t.dir()),
        )
    };
    let (code, text) = builders("tidemill_master");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains('b'), "{text}");
    let (code, text) = builders("tidemill_reader");
    assert_eq!(code, Some(9), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_that_are_not_public_are_granted_listed_and_taken_back_by_command() {
    let t = Cluster::start().await;
    assert_eq!(migrate(&t, &["--roles"]).0, Some(0));
    let report = |args: &[&str]| {
        outcome(
            Command::new(program("tidemill")).arg("report").args(args).env("TIDEMILL_DATABASE_URL", t.postgres.url()),
        )
    };
    sqlx::raw_sql("insert into projects (name, public) values ('backend', false); create role alice login")
        .execute(t.db.pool())
        .await
        .expect("the owner makes roles");

    let (code, text) = report(&["grant", "alice", "backend"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("alice sees project backend") && text.contains("grant tidemill_reporter to"), "{text}");
    sqlx::raw_sql("grant tidemill_reporter to alice").execute(t.db.pool()).await.expect("a role is granted");
    let (code, text) = report(&["grant", "alice", "backend"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("as before") && !text.contains("may not read"), "{text}");

    let (code, text) = report(&["grants", "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let listed: serde_json::Value = serde_json::from_str(&text).expect("one document");
    let alice = listed.as_array().expect("a list").iter().find(|g| g["role"] == "alice").expect("alice has one");
    assert_eq!((&alice["project"], &alice["reads"]), (&"backend".into(), &true.into()), "{text}");

    for (args, expected) in [
        (&["grant", "nobody", "backend"][..], "create role"),
        (&["grant", "alice", "frontend"], "util.Project"),
        (&["revoke", "alice", "frontend"], "report grants"),
    ] {
        let (code, text) = report(args);
        assert_eq!(code, Some(7), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(report(&["grant", "alice"]).0, Some(2), "a project, or --all");
    let (code, text) = report(&["grant", "alice", "--all"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = report(&["revoke", "alice", "backend"]);
    assert!(code == Some(0) && text.contains("goes on seeing it"), "{text}");
    let (code, text) = report(&["revoke", "alice", "--all"]);
    assert!(code == Some(0) && text.contains("1 grant taken back"), "{text}");
    let (_, text) = report(&["grants"]);
    assert!(!text.contains("alice") && text.contains("tidemill_master"), "{text}");
}
