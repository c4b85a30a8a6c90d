//! A transaction held open elsewhere in the same Postgres.

use crate::project;
use sqlx::Connection;
use tidemill_tests::{Cluster, invariants, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_held_open_in_another_database_delays_scheduling_and_not_claims_logs_or_leases() {
    let mut t = Cluster::with(false, 6).await;
    let m = t.master().await;
    let text = format!(
        "{}c[\"schedulers\"] = [schedulers.SingleBranchScheduler(name = \"s\", builderNames = [\"b\"])]\n",
        project::ticking(8)
    );
    t.configure(m, &text).await;
    t.worker("w", &t.master_url(m), 2).await;

    let elsewhere = t.postgres.url().replace("/tidemill?", "/postgres?");
    let mut other = sqlx::PgConnection::connect(&elsewhere).await.unwrap();
    let mut open = other.begin().await.unwrap();
    sqlx::raw_sql("create table held (i int)").execute(&mut *open).await.unwrap();

    t.api(m).post("changes", serde_json::json!({ "revision": "late" })).await.unwrap();
    // A forced build is claimed, logs and keeps its lease (it is longer than one) meanwhile.
    let request = t.force(m, "b").await;
    assert_eq!(t.result_of(request).await, 0);
    let build = t.build_of(request, "finished").await;
    assert_eq!(t.log(m, build, 1, "stdio").await, project::ticks(8));
    let scheduled: i64 =
        sqlx::query_scalar("select count(*) from buildset_changes").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(scheduled, 0, "the change waits for the horizon");

    open.rollback().await.unwrap();
    other.close().await.unwrap();
    wait_until("the change to be scheduled", || async {
        let n: i64 = sqlx::query_scalar("select count(*) from buildset_changes")
            .fetch_one(t.db.pool())
            .await
            .map_err(|e| e.to_string())?;
        if n == 1 { Ok(()) } else { Err(format!("{n}")) }
    })
    .await;
    invariants::check(&t.db).await;
}
