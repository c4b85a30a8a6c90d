//! How the views come into a database, and what stands in their way.

use crate::common::{run, texts};
use tidemill_schema::testing::TestDb;
use tidemill_schema::{Db, migrate};
use tidemill_sql::views::{AFTER, views_apply};

/// Identities of the views, which a replacement keeps, with the row version that it does not.
async fn versions(t: &TestDb) -> Vec<String> {
    let mut c = t.db.pool().acquire().await.unwrap();
    texts(
        &mut c,
        "select relname || ' ' || oid || ' ' || (select max(xmin::text::bigint) from pg_rewrite w where w.ev_class = c.oid) from pg_class c where relnamespace = 'report'::regnamespace order by 1",
    )
    .await
}

async fn apply(t: &TestDb) -> Result<(), String> {
    tidemill_schema::run_tx!(t.db, "test", |c| views_apply(c).await).map_err(|e| e.to_string())
}

#[tokio::test]
async fn views_applied_again_are_not_touched_and_one_that_was_dropped_comes_back() {
    let t = tidemill_sql::testing::db().await;
    let roles = crate::common::roles(&t, "apply").await;
    let before = versions(&t).await;
    // A report that runs holds its views.
    let mut report = crate::common::connect(&t, &roles.reporter).await;
    sqlx::raw_sql("begin; select from report.build_facts; select from report.builder_health")
        .execute(&mut report)
        .await
        .unwrap();
    tidemill_sql::migrate(&t.db).await.unwrap();
    assert_eq!(versions(&t).await, before, "nothing is to do, and nobody waits");
    drop(report);

    run(&t, "drop view report.build_facts").await;
    tidemill_sql::migrate(&t.db).await.unwrap();
    let after = versions(&t).await;
    assert_eq!(after.len(), before.len());
    run(&t, "select from report.build_facts").await;

    // As by another release, and with views of somebody's own.
    run(&t, "create schema mine; create view mine.seen as select builder, seconds from report.build_facts").await;
    run(&t, "comment on schema report is 'Tidemill: other'").await;
    tidemill_sql::migrate(&t.db).await.unwrap();
    let oids = |versions: &[String]| -> Vec<String> {
        versions.iter().map(|v| v.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let replaced = versions(&t).await;
    assert_eq!(oids(&replaced), oids(&after), "replaced, so that rights and what depends on them stay");
    run(&t, "select from mine.seen").await;
    let mut reporter = crate::common::connect(&t, &roles.reporter).await;
    assert_eq!(crate::common::code(&mut reporter, "select from report.build_facts").await, "");
    drop(reporter);
    let mut c = t.db.pool().acquire().await.unwrap();
    let comment = texts(&mut c, "select obj_description('report'::regnamespace, 'pg_namespace')").await.remove(0);
    assert!(comment.contains("Version 1, by release "), "{comment}");
    drop(c);
    crate::common::end(t, roles).await;
}

#[tokio::test]
async fn two_that_migrate_at_once_both_end_well() {
    let t = TestDb::new().await;
    let (a, b) = tokio::join!(tidemill_sql::migrate(&t.db), tidemill_sql::migrate(&t.db));
    a.unwrap();
    b.unwrap();
    run(&t, "select from report.builder_health").await;
    t.drop().await;
}

#[tokio::test]
async fn a_migration_cannot_take_away_what_a_view_reads() {
    let t = tidemill_sql::testing::db().await;
    let mut c = t.db.pool().acquire().await.unwrap();
    for statement in [
        "alter table build_facts drop column log_bytes",
        "alter table build_facts alter column branch type varchar(10)",
        "drop table test_states",
        "alter table builders drop column project",
        "drop function results_word(smallint)",
    ] {
        let code = crate::common::code(&mut c, statement).await;
        assert!(["2BP01", "0A000"].contains(&code.as_str()), "{statement}: {code}");
    }
    drop(c);
    // One that drops the view too is found out by the next: the file says which.
    run(&t, "drop view report.test_states; alter table test_states drop column since").await;
    let error = apply(&t).await.unwrap_err();
    assert!(error.starts_with("sql/views/31_test_states.sql: ") && error.contains("since"), "{error}");
    t.drop().await;
}

#[tokio::test]
async fn a_schema_report_of_somebody_else_is_left_alone() {
    let t = TestDb::new().await;
    run(&t, "create schema report; create table report.sales (x int)").await;
    let error = tidemill_sql::migrate(&t.db).await.unwrap_err().to_string();
    assert!(error.contains("alter schema report rename to"), "{error}");
    run(&t, "select x from report.sales; alter schema report rename to mine").await;
    tidemill_sql::migrate(&t.db).await.unwrap();
    t.drop().await;
}

#[tokio::test]
async fn an_owner_that_may_make_no_schema_is_told_what_to_run() {
    let t = TestDb::new().await;
    let owner = format!("s{}_owner", std::process::id());
    let hand_over = format!(
        "create role {owner} login; create schema own authorization {owner}; alter role {owner} set search_path = own"
    );
    run(&t, &hand_over).await;
    let url = t.url.replacen("//tidemill@", &format!("//{owner}@"), 1);
    let db = Db::connect(&url, 2).await.unwrap();
    let error = migrate::migrate_with(&db, AFTER).await.unwrap_err().to_string();
    let remedy = format!("create schema report authorization {owner}");
    assert!(error.contains(&remedy), "{error}");
    run(&t, &remedy).await;
    // Of tables that are not in `public`.
    migrate::migrate_with(&db, AFTER).await.unwrap();
    sqlx::raw_sql("set search_path = pg_catalog; select from report.build_facts; select from report.builder_health")
        .execute(db.pool())
        .await
        .unwrap();
    db.pool().close().await;
    run(&t, &format!("drop owned by {owner} cascade; drop role {owner}")).await;
    t.drop().await;
}
