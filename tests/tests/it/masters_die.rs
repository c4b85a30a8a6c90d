//! Masters may all be killed while builds run.

use crate::project;
use std::net::SocketAddr;
use tidemill_tests::cluster::free_port;
use tidemill_tests::haproxy::HaProxy;
use tidemill_tests::{Cluster, invariants, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_outlives_every_master_and_its_log_is_byte_equal() {
    let lease = 8;
    let mut t = Cluster::with(false, lease).await;
    let spare = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let (a, b) = (t.master().await, t.master().await);
    let addresses = [t.masters[a].address, t.masters[b].address, spare];
    let Some(balancer) = HaProxy::start(t.dir(), &addresses) else { return };
    t.configure(a, &project::ticking(20)).await;
    let api = tidemill_tests::api::Api::new(&balancer.url(), &t.token);
    wait_until("the balancer to see a master", || async { api.get("builders").await }).await;
    t.worker("w", &balancer.url(), 2).await;

    let request = t.force(a, "b").await;
    let build = t.build_of(request, "running").await;
    wait_until("some of the log", || async {
        let n: i64 = sqlx::query_scalar("select count(*) from log_chunks")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if n > 2 { Ok(()) } else { Err(format!("{n} chunks")) }
    })
    .await;
    for m in &mut t.masters {
        m.process.kill9();
    }
    // Dead for longer than a lease: by the database's clock, with nobody to beat.
    wait_until("the leases to be past their time", || async {
        let past: bool =
            sqlx::query_scalar("select bool_and(expires_at < tidemill_now() - interval '2 seconds') from leases")
                .fetch_one(t.db.pool())
                .await
                .map_err(|e| e.to_string())?;
        if past { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    t.master_restart(a, spare).await;

    assert_eq!(t.result_of(request).await, 0);
    assert_eq!(t.log(a, build, 1, "stdio").await, project::ticks(20), "the log is byte-equal");
    let builds: i64 = sqlx::query_scalar("select count(*) from builds").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(builds, 1, "one build row");
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_told_to_end_answers_what_is_in_flight_and_ends() {
    let mut t = Cluster::start().await;
    let (a, b) = (t.master().await, t.master().await);
    t.configure(a, &project::ticking(2)).await;
    let addresses = [t.masters[a].address, t.masters[b].address];
    let Some(balancer) = HaProxy::start(t.dir(), &addresses) else { return };
    let api = tidemill_tests::api::Api::new(&balancer.url(), &t.token);
    wait_until("the balancer to see a master", || async { api.get("builders").await }).await;
    t.worker("w", &balancer.url(), 2).await;
    let request = t.force(b, "b").await;
    t.build_of(request, "running").await;
    assert!(t.masters[a].process.terminate().success());
    assert_eq!(t.result_of(request).await, 0);
    invariants::check(&t.db).await;
}
