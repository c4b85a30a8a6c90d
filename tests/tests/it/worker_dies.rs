//! Workers may be killed, or fall silent and come back.

use crate::project;
use nix::sys::signal::Signal;
use tidemill_tests::{Cluster, invariants, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_workers_build_is_built_again_and_is_no_test_failure() {
    let mut t = Cluster::with(false, 6).await;
    let m = t.master().await;
    t.configure(m, &project::ticking(3)).await;
    let first = t.worker("first", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    let lost = t.build_of(request, "running").await;
    t.workers[first].process.kill9();
    t.worker("second", &t.master_url(m), 1).await;

    assert_eq!(t.result_of(request).await, 0);
    let attempts: Vec<(i64, i16, String, i32)> =
        sqlx::query_as("select id, results, state_string, attempt from builds order by id")
            .fetch_all(t.db.pool())
            .await
            .unwrap();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
    assert_eq!((attempts[0].0, attempts[0].1), (lost, 5));
    assert!(
        attempts[0].2.contains("first") && attempts[0].2.contains("lost"),
        "the lost attempt says why: {}",
        attempts[0].2
    );
    assert_eq!((attempts[1].1, attempts[1].3), (0, 2));
    let failures: i64 =
        sqlx::query_scalar("select count(*) from builds where results = 2").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(failures, 0);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_restarted_after_a_kill_reports_its_build_lost_long_before_the_lease_runs_out() {
    let mut t = Cluster::with(false, 60).await;
    let m = t.master().await;
    t.configure(m, &project::shell("sleep 1; echo done")).await;
    let url = t.master_url(m);
    let w = t.worker("w", &url, 1).await;
    let request = t.force(m, "b").await;
    t.build_of(request, "running").await;
    t.workers[w].process.kill9();
    t.worker_restart(w, &url, 1);
    // The patience of a wait is longer than the lease of 60 s: that it ended sooner is asked apart.
    assert_eq!(t.result_of(request).await, 0);
    let early: bool =
        sqlx::query_scalar("select complete_at - started_at < interval '40 seconds' from builds order by id limit 1")
            .fetch_one(t.db.pool())
            .await
            .unwrap();
    assert!(early, "the build was returned by its lease, not by the worker");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stopped_past_its_lease_is_fenced_and_its_processes_die() {
    let mut t = Cluster::with(false, 6).await;
    let m = t.master().await;
    // The command writes its process group's children where the test finds them.
    let marker = t.dir().join("pid");
    let line = format!("sleep 300 & echo $! > {}; echo begun; wait", marker.display());
    t.configure(m, &project::shell(&line)).await;
    let first = t.worker("first", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    let lost = t.build_of(request, "running").await;
    let child: i32 = wait_until("the command to begin", || async {
        std::fs::read_to_string(&marker).map_err(|e| e.to_string())?.trim().parse::<i32>().map_err(|e| e.to_string())
    })
    .await;
    t.workers[first].process.signal(Signal::SIGSTOP);
    wait_until("the lease to be lost", || async {
        let state: String = sqlx::query_scalar("select state from builds where id = $1")
            .bind(lost)
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if state == "finished" { Ok(()) } else { Err(state) }
    })
    .await;
    t.configure(m, &project::shell("echo second attempt")).await;
    t.worker("second", &t.master_url(m), 1).await;
    assert_eq!(t.result_of(request).await, 0);
    let before: Vec<(i64, Option<i16>, String)> =
        sqlx::query_as("select id, results, state_string from builds order by id")
            .fetch_all(t.db.pool())
            .await
            .unwrap();

    t.workers[first].process.signal(Signal::SIGCONT);
    wait_until("the fenced worker's command to be dead", || async {
        let path = format!("/proc/{child}/stat");
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        // Gone, or a zombie that its parent has yet to reap.
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    })
    .await;
    let after: Vec<(i64, Option<i16>, String)> =
        sqlx::query_as("select id, results, state_string from builds order by id")
            .fetch_all(t.db.pool())
            .await
            .unwrap();
    assert_eq!(before, after, "nothing that the fenced worker wrote counts");
    // It is a good worker again: it takes the next build.
    t.workers[1].process.terminate();
    let next = t.force(m, "b").await;
    assert_eq!(t.result_of(next).await, 0);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_ends_cancelled_and_its_whole_process_tree_dies() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let marker = t.dir().join("pid");
    let line = format!("setsid sh -c 'echo $$ > {}; sleep 300' & echo begun; sleep 300", marker.display());
    t.configure(m, &project::shell(&line)).await;
    t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    let build = t.build_of(request, "running").await;
    let grandchild: i32 = wait_until("the grandchild to begin", || async {
        std::fs::read_to_string(&marker).map_err(|e| e.to_string())?.trim().parse::<i32>().map_err(|e| e.to_string())
    })
    .await;
    t.api(m).post(&format!("builds/{build}/stop"), serde_json::json!({ "reason": "enough" })).await.unwrap();
    assert_eq!(t.result_of(request).await, 6);
    wait_until("the grandchild to be dead", || async {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    })
    .await;
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_in_order_finishes_its_build_is_offline_at_once_and_leaves_its_name() {
    let mut t = Cluster::start().await;
    let m = t.master().await;
    t.configure(m, &project::ticking(2)).await;
    let w = t.worker("w", &t.master_url(m), 1).await;
    let request = t.force(m, "b").await;
    t.build_of(request, "running").await;
    assert!(t.workers[w].process.terminate().success());
    assert_eq!(t.result_of(request).await, 0, "what ran was finished and delivered before the end");
    let connected = t.api(m).list("workers").await.unwrap()[0]["connected"].clone();
    assert_eq!(connected, false);
    // Another installation under the name needs no patience.
    std::fs::remove_dir_all(&t.workers[w].base).unwrap();
    t.worker("w", &t.master_url(m), 1).await;
    invariants::check(&t.db).await;
}
