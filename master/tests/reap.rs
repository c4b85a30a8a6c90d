//! Builds of silent workers, whatever was stored of them.

mod common;

use common::*;

/// What cannot be ended as usual (here a trigger says so) is ended by the last
/// resort, and holds up neither the other builds nor what waits for its back-off.
#[tokio::test]
async fn one_build_that_cannot_be_ended_as_usual_holds_up_no_other() {
    let world = World::new(1).await;
    project(world.db(), &["linux"]).await;
    let session = worker(world.db(), "w").await;
    let mut builds = Vec::new();
    for _ in 0..3 {
        submit(world.db(), "linux", "r").await;
        let claim = claim(world.db(), session).await;
        builds.push(claim.build);
        Running::begin(world.db(), claim, "s").await;
    }
    let sql = format!(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
         create trigger refuse before update of bytes on logs for each row
             when (new.build_id = {}) execute function refuse();
         update leases set expires_at = now() - interval '1 hour';
         update beats set resumed_at = now() - interval '1 hour'",
        builds[1]
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(world.db().pool()).await.unwrap();
    eventually("all to be lost and tried again", async || {
        let lost: Vec<i64> = sqlx::query_scalar("select id from builds where results = 5 order by id")
            .fetch_all(world.db().pool())
            .await
            .unwrap();
        let queued: i64 =
            sqlx::query_scalar("select count(*) from request_queue").fetch_one(world.db().pool()).await.unwrap();
        (lost == builds && queued == 3).then_some(())
    })
    .await;
    let open: i64 = sqlx::query_scalar("select count(*) from logs where not (complete and incomplete)")
        .fetch_one(world.db().pool())
        .await
        .unwrap();
    assert_eq!(open, 0);
    world.end().await;
}
