//! The wire between workers and masters may be cut at any byte.

use crate::project;
use tidemill_tests::proxy::{Fault, Proxy};
use tidemill_tests::{Cluster, invariants, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn replies_lost_and_connections_cut_lose_no_build_and_repeat_none() {
    let mut t = Cluster::with(false, 20).await;
    let m = t.master().await;
    // Sixty builds of one source: they are not to become one.
    let file = project::shell("echo one; echo two >&2; echo three") + "c[\"collapseRequests\"] = False\n";
    t.configure(m, &file).await;
    let proxy = Proxy::start(t.masters[m].address).await;
    t.worker("w", &proxy.url(), 4).await;
    let mut requests = Vec::new();
    for _ in 0..60 {
        requests.push(t.force(m, "b").await);
    }
    let mut turn = 0;
    wait_until("all builds to be final", || {
        turn += 1;
        // Faults alternate while work goes on; each look is some milliseconds long.
        match turn % 8 {
            0 => proxy.set(Fault::SwallowAnswers),
            2 => {
                proxy.cut();
                proxy.set(Fault::None);
            }
            4 => proxy.cut(),
            6 => proxy.set(Fault::Refuse),
            7 => proxy.set(Fault::None),
            _ => {}
        }
        let db = t.db.clone();
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            let open: i64 = sqlx::query_scalar("select count(*) from build_requests where complete_at is null")
                .fetch_one(db.pool())
                .await
                .map_err(|e| e.to_string())?;
            if open == 0 { Ok(()) } else { Err(format!("{open} are open")) }
        }
    })
    .await;
    proxy.set(Fault::None);
    let builds: i64 = sqlx::query_scalar("select count(*) from builds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(builds, 60, "no build was repeated");
    for request in requests {
        assert_eq!(t.result_of(request).await, 0);
        let build = t.build_of(request, "finished").await;
        // Channels are read by turns, so what went to one may stand before what went to the other.
        let log = t.log(m, build, 1, "stdio").await;
        let mut lines: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
        lines.sort();
        assert_eq!(lines, [b"one\n" as &[u8], b"three\n", b"two\n"], "{}", String::from_utf8_lossy(&log));
    }
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_cut_off_past_its_lease_loses_the_build_and_another_takes_it() {
    let mut t = Cluster::with(false, 6).await;
    let m = t.master().await;
    t.configure(m, &project::ticking(4)).await;
    let proxy = Proxy::start(t.masters[m].address).await;
    t.worker("far", &proxy.url(), 1).await;
    let request = t.force(m, "b").await;
    t.build_of(request, "running").await;
    proxy.set(Fault::Stall);
    t.worker("near", &t.master_url(m), 1).await;
    assert_eq!(t.result_of(request).await, 0);
    let last: (i16, String) = sqlx::query_as(
        "select b.results, w.name from builds b join workers w on w.id = b.worker_id order by b.id desc limit 1",
    )
    .fetch_one(t.db.pool())
    .await
    .unwrap();
    assert_eq!(last, (0, "near".to_owned()));
    proxy.set(Fault::None);
    invariants::check(&t.db).await;
}
