//! Postgres may be killed while builds run.

use crate::project;
use std::time::Duration;
use tidemill_tests::{Cluster, invariants, wait_until};

async fn killed_for(seconds: u64) {
    let mut t = Cluster::with(true, 8).await;
    let m = t.master().await;
    let text = project::steps(
        r#"        steps.ShellCommand(name = "first", command = ["sh", "-c", "i=0; while [ $i -lt 60 ]; do echo first $i; i=$((i+1)); sleep 0.05; done"]),
        steps.ShellCommand(name = "second", command = ["sh", "-c", "i=0; while [ $i -lt 60 ]; do echo second $i; i=$((i+1)); sleep 0.05; done"]),"#,
    );
    t.configure(m, &text).await;
    t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    let build = t.build_of(request, "running").await;
    t.postgres.kill9();
    // The length of the outage is the input of this test, not a wait for something.
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    t.postgres.restart();

    assert_eq!(t.result_of(request).await, 0);
    for (step, name) in [(1, "first"), (2, "second")] {
        let expected: String = (0..60).map(|i| format!("{name} {i}\n")).collect();
        assert_eq!(String::from_utf8(t.log(m, build, step, "stdio").await).unwrap(), expected);
    }
    // The worker takes the next one, and the master heals without a restart.
    let next = t.force(m, "b").await;
    assert_eq!(t.result_of(next).await, 0);
    wait_until("the master to be ready again", || async {
        let status = reqwest::get(format!("{}/readyz", t.master_url(m))).await.map_err(|e| e.to_string())?.status();
        if status.is_success() { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_byte_is_missing_after_postgres_was_dead_for_five_seconds() {
    killed_for(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_build_may_pass_while_postgres_is_dead() {
    killed_for(9).await;
}
