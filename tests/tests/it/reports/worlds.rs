//! A history several times side by side, as benches have it.

use super::now;
use tidemill_schema::facts::facts_backfill;
use tidemill_tests::history::{Loader, Shape, beside};

#[tokio::test]
async fn worlds_beside_each_other_add_up() {
    let t = tidemill_sql::testing::db().await;
    let shape = Shape { builds: 2_000, thin: true, ..Shape::small(now()) };
    let mut loader = Loader::begin(&t.db, shape, false).await.unwrap();
    while loader.advance(&t.db, i64::MAX).await.unwrap() {}
    loader.finish(&t.db).await.unwrap();
    let one = facts_backfill(&t.db, 0).await.unwrap() as i64;
    beside(&t.db, 3).await.unwrap();
    for sum in [
        "(select count(*) from build_facts)",
        "(select sum(builds) from build_hours)",
        "(select sum(builds) from build_days d join builders b on b.id = d.builder_id)",
        "(select sum(builds) from build_months)",
        "(select sum(builds) from branch_months)",
        "(select sum(builds) from worker_months m join workers w on w.id = m.worker_id)",
        "(select sum(builds) from total_hours)",
        "(select sum(builds) from total_days where project not in (select name from projects where public))",
        "(select sum(x & 16777215) from total_days, unnest(spans) x)",
        "(select count(*) from build_facts f join builders b on b.id = f.builder_id left join projects p on p.name = b.project)",
    ] {
        let many: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select {sum}::bigint")))
            .fetch_one(t.db.pool())
            .await
            .unwrap();
        assert_eq!(many, 3 * one, "{sum}");
    }
    let twice = "select count(*) from (select name from projects group by 1 having count(*) > 1) x";
    assert_eq!(sqlx::query_scalar::<_, i64>(twice).fetch_one(t.db.pool()).await.unwrap(), 0);
    t.drop().await;
}
