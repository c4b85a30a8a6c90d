//! Reports on a read replica: a real standby that streams from the test's Postgres.

use crate::report_commands::{history, report_at};
use serde_json::{Value, json};
use std::process::Command;
use tidemill_tests::postgres::Postgres;
use tidemill_tests::process::program;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, wait_until};

async fn sql(t: &Cluster, statements: &'static str) {
    sqlx::raw_sql(statements).execute(t.db.pool()).await.unwrap();
}

/// A report of all of the history, asked of a database: its rows.
fn rows(url: &str, name: &str, more: &[&str]) -> Value {
    let database = format!("--database={url}");
    let mut args = vec![name, &database, "--since", "2026-01-01", "--until", "2026-03-01", "--json"];
    args.extend(more);
    report_at("postgres://nobody@127.0.0.1:1/none", &args).good().json()["rows"].clone()
}

/// Waits until the standby has replayed what makes this report so long.
async fn replayed(standby: &Postgres, role: &str, name: &str, more: &[&str], wanted: usize) {
    wait_until("the standby to replay", || async {
        let found = rows(&standby.url_as(role), name, more);
        holds(found.as_array().is_some_and(|rows| rows.len() == wanted), found)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_replica_answers_every_report_as_the_first_server_does_and_follows_it() {
    let t = Cluster::start().await;
    let url = t.postgres.url().to_owned();
    history(&t).await;
    report_at(&url, &["backfill"]).good();
    let migrated = Command::new(program("tidemill"))
        .args(["migrate", "--roles", "ci"])
        .env("TIDEMILL_DATABASE_URL", &url)
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    let Some(standby) = t.postgres.standby(&t.dir().join("standby")) else { return };
    let replica = tidemill_schema::Db::connect(standby.url(), 2).await.unwrap();
    let replays: bool = sqlx::query_scalar("select pg_is_in_recovery()").fetch_one(replica.pool()).await.unwrap();
    assert!(replays, "it is no server of its own");

    // By the role that reads the views and nothing else.
    let reporter = standby.url_as("ci_reporter");
    let listed = report_at(&url, &["--database", "--json"]).good().json();
    let names: Vec<&str> = listed["reports"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert!(names.len() >= 20, "{names:?}");
    for name in &names {
        let database = format!("--database={reporter}");
        let there = report_at("postgres://nobody@127.0.0.1:1/none", &[name, &database, "--json"]).good();
        assert!(there.json()["rows"].is_array(), "{name}");
    }
    let of_months = ["--set", "every=month"];
    let (here, there) = (rows(&url, "builder-trend", &of_months), rows(&reporter, "builder-trend", &of_months));
    assert_eq!((here.as_array().unwrap().len(), &there), (2, &here), "January and February");

    // What comes later, comes later.
    sql(
        &t,
        "with s as (insert into buildsets (reason, submitted_at, complete_at, results)
                    values ('r', '2025-12-09 12:00Z', '2025-12-09 13:00Z', 0) returning id),
              r as (insert into build_requests (buildset_id, builder_id, submitted_at, complete_at, results)
                    select id, 1, '2025-12-09 12:00Z', '2025-12-09 13:00Z', 0 from s returning id)
         insert into builds (builder_id, number, request_id, worker_id, session_id, poll, attempt, token, revision_id,
                             settings_id, state, started_at, complete_at, results)
         select 1, 1000, id, 1, 1, 1, 1, '', 1, 1, 'finished', '2025-12-09 12:01Z', '2025-12-09 12:30Z', 0 from r",
    )
    .await;
    report_at(&url, &["backfill"]).good();
    let longer = ["--set", "every=month", "--since", "2025-12-01"];
    let since = |url: &str| {
        let database = format!("--database={url}");
        let args = ["builder-trend", &database, "--until", "2026-03-01", "--json"];
        let args: Vec<&str> = args.into_iter().chain(longer).collect();
        report_at("postgres://nobody@127.0.0.1:1/none", &args).good().json()["rows"].clone()
    };
    let here = since(&url);
    assert_eq!(here.as_array().unwrap().len(), 3);
    wait_until("the standby to replay the build of December", || async {
        let there = since(&reporter);
        holds(there == here, there)
    })
    .await;

    // So do grants: a project that is not public, and who may see it.
    sql(
        &t,
        "insert into projects (name, active, public) values ('secret', true, false);
         update builders set project = 'secret';
         create role ada login in role ci_reporter",
    )
    .await;
    // Totals of all builders keep what was public when it ended; those of one are hidden with it.
    let of_builder = ["--set", "every=month", "--builder", "b"];
    replayed(&standby, "ci_reporter", "builder-trend", &of_builder, 0).await;
    report_at(&url, &["grant", "ada", "secret"]).good();
    replayed(&standby, "ada", "builder-trend", &of_builder, 2).await;
    assert_eq!(rows(&reporter, "builder-trend", &of_builder), json!([]));

    // It is only read.
    let refused = report_at(standby.url(), &["backfill"]);
    assert_eq!(refused.code, Some(9), "{} {}", refused.out, refused.talk);
    assert!(refused.talk.contains("recovery") || refused.talk.contains("read-only"), "{}", refused.talk);
    let left: i64 = sqlx::query_scalar("select count(*) from build_facts").fetch_one(replica.pool()).await.unwrap();
    assert_eq!(left, 41);
    replica.pool().close().await;
}
