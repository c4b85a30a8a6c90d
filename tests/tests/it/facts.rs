//! What reporting stores of builds, behind the event stream.

use crate::project;
use std::process::Command;
use tidemill_tests::process::{outcome, program};
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, invariants, wait_until};

/// Until a fact of each finished build and complete request is there; returns how many of builds.
pub async fn told(t: &Cluster) -> i64 {
    wait_until("facts of all that is over", || async {
        let left: i64 = sqlx::query_scalar(
            "select (select count(*) from builds b where b.complete_at is not null
                        and not exists (select from build_facts f where f.build_id = b.id))
                  + (select count(*) from build_requests r where r.complete_at is not null
                        and not exists (select from request_facts f where f.request_id = r.id))",
        )
        .fetch_one(t.db.pool())
        .await
        .map_err(|e| e.to_string())?;
        holds(left == 0, format!("{left} have none"))
    })
    .await;
    sqlx::query_scalar("select count(*) from build_facts").fetch_one(t.db.pool()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_told_with_its_step_its_log_and_its_wait() {
    let mut t = Cluster::start().await;
    let a = t.master().await;
    t.configure(a, &project::shell("echo 123456789; exit 3")).await;
    let first = t.force(a, "b").await;
    let url = t.master_url(a);
    t.worker("w", &url, 1).await;
    assert_eq!(t.result_of(first).await, 2);
    assert_eq!(told(&t).await, 1);
    let fact: (i16, Option<String>, i32, bool, bool, String, String) = sqlx::query_as(
        "select f.results, f.failed_step, f.steps, f.log_bytes >= 10, f.started_at >= f.waiting_since, w.name, b.name
           from build_facts f join workers w on w.id = f.worker_id join builders b on b.id = f.builder_id",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(fact, (2, Some("run".into()), 1, true, true, "w".into(), "b".into()));
    let step: (String, i32, i32) =
        sqlx::query_as("select name, runs, bad from step_days").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(step, ("run".into(), 1, 1));

    // Repairs, beside the master.
    let report = |args: &[&str]| {
        let mut command = Command::new(program("tidemill"));
        outcome(command.arg("report").args(args).env("TIDEMILL_DATABASE_URL", t.postgres.url()))
    };
    let (today, later): (String, String) = sqlx::query_as(
        "select to_char(complete_at at time zone 'UTC', 'YYYY-MM-DD'),
                to_char((complete_at + interval '1 day') at time zone 'UTC', 'YYYY-MM-DD') from build_facts",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    sqlx::raw_sql("update build_days set builds = 7; delete from worker_hours").execute(t.db.pool()).await.unwrap();
    let (code, text) = report(&["rebuild", "--since", &today, "--until", &later]);
    assert_eq!((code, text.trim()), (Some(0), "The sums of these days are as the facts say."));
    let (code, text) = report(&["backfill"]);
    assert_eq!((code, text.trim()), (Some(0), "0 builds stored"));
    assert_eq!(report(&["drop", "--before", &today]).0, Some(2), "it wants a yes");
    let (code, text) = report(&["drop", "--before", "2001-01-01", "--yes"]);
    assert_eq!((code, text.trim()), (Some(0), "Nothing is that old."));
    let workers: i64 = sqlx::query_scalar("select count(*) from worker_hours").fetch_one(t.db.pool()).await.unwrap();
    assert!(workers > 0);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_build_is_counted_once_though_the_master_that_counts_is_killed() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(
        a,
        &project::shell("exit $(($(date +%N | cut -c9) % 2))")
            .replace("workernames", "collapseRequests = False,\n    workernames"),
    )
    .await;
    for (name, n) in [("w1", a), ("w2", b)] {
        let url = t.master_url(n);
        t.worker(name, &url, 2).await;
    }
    let mut requests = vec![];
    for killed in [a, b, a, b] {
        let other = if killed == a { b } else { a };
        for _ in 0..6 {
            requests.push(t.force(other, "b").await);
        }
        // While they are counted, whoever does it.
        let first = requests[requests.len() - 6];
        t.result_of(first).await;
        t.masters[killed].process.kill9();
        let address = t.masters[killed].address;
        t.master_restart(killed, address).await;
    }
    for request in &requests {
        t.result_of(*request).await;
    }
    let facts = told(&t).await;
    let sums: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from builds), (select sum(builds)::bigint from build_hours),
                (select sum(builds)::bigint from build_days), (select sum(builds)::bigint from worker_hours)",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(sums, (facts, facts, facts, facts));
    assert!(facts >= requests.len() as i64);
    invariants::check(&t.db).await;
}
