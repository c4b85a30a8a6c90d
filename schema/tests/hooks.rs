//! Deliveries of hooks, and changes that wait.

mod common;

use serde_json::json;
use sha2::{Digest, Sha256};
use tidemill_model::{NewChange, SourceStamp};
use tidemill_schema::changes::changes_insert;
use tidemill_schema::hooks::{
    Begun, Delivery, NewHeld, change_hold, deliveries_prune, delivery_answer, delivery_begin, held_approve,
};
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

fn delivery(id: &str, body: u8, once: bool) -> Delivery {
    Delivery { dialect: "github".into(), id: Some(id.into()), body: [body; 32], once }
}

async fn taken(t: &TestDb, d: &Delivery) -> Begun {
    run_tx!(t.db, "test", |c| {
        let begun = delivery_begin(c, d).await?;
        if let Begun::New(row) = begun {
            delivery_answer(c, row, 202, &json!({ "of": d.id })).await?;
        }
        Ok::<_, tidemill_schema::Error>(begun)
    })
    .unwrap()
}

fn held(revision: &str) -> NewHeld {
    let change = NewChange {
        revision: Some(revision.into()),
        branch: Some("refs/pull/1/head\0".into()),
        outsider: Some("eve".into()),
        ..NewChange::default()
    };
    NewHeld { dialect: "github".into(), pull: "o/r#1".into(), change, why: "eve".into() }
}

#[tokio::test]
async fn a_delivery_is_known_by_its_id_and_a_signed_one_by_its_body_until_its_days_are_over() {
    let t = TestDb::new().await;
    assert!(matches!(taken(&t, &delivery("a", 1, true)).await, Begun::New(_)));
    let first = Begun::Again { status: 202, answer: json!({ "of": "a" }) };
    assert_eq!(taken(&t, &delivery("a", 1, true)).await, first);
    assert_eq!(taken(&t, &delivery("b", 1, true)).await, first, "the same body under another id");
    assert_eq!(taken(&t, &delivery("a", 2, true)).await, Begun::Other);
    assert!(matches!(taken(&t, &delivery("c", 3, false)).await, Begun::New(_)));
    assert!(matches!(taken(&t, &delivery("d", 3, false)).await, Begun::New(_)), "unsigned ones differ by their id");
    run_tx!(t.db, "test", |c| change_hold(c, None, &held("r1")).await).unwrap();
    sqlx::query("update hook_deliveries set received_at = tidemill_now() - interval '31 days' where delivery <> 'd'")
        .execute(t.db.pool())
        .await
        .unwrap();
    deliveries_prune(&t.db, 30).await.unwrap();
    let left: Vec<String> =
        sqlx::query_scalar("select delivery from hook_deliveries").fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(left, ["d"]);
    let waiting: i64 = sqlx::query_scalar("select count(*) from held_changes").fetch_one(t.db.pool()).await.unwrap();
    assert_eq!(waiting, 1, "what an outsider announced stays known");
    assert!(matches!(taken(&t, &delivery("a", 1, true)).await, Begun::New(_)));
    t.drop().await;
}

#[tokio::test]
async fn of_many_pushes_to_one_pull_request_at_once_one_waits_and_it_alone_is_approved() {
    let t = TestDb::new().await;
    let mut pushes = tokio::task::JoinSet::new();
    for i in 0..16 {
        let db = t.db.clone();
        pushes.spawn(
            async move { run_tx!(db, "test", |c| change_hold(c, None, &held(&format!("r{i}"))).await).unwrap() },
        );
    }
    pushes.join_all().await;
    let rows: Vec<(i64, String, String)> = sqlx::query_as("select id, revision, state from held_changes order by id")
        .fetch_all(t.db.pool())
        .await
        .unwrap();
    let (waiting, over): (Vec<_>, Vec<_>) = rows.iter().partition(|r| r.2 == "waiting");
    assert_eq!((waiting.len(), over.len()), (1, 15));
    assert!(over.iter().all(|r| r.2 == "superseded"));
    let mut approvals = tokio::task::JoinSet::new();
    for (id, revision, _) in rows.iter().cycle().take(64).cloned() {
        let db = t.db.clone();
        approvals.spawn(async move { run_tx!(db, "test", |c| held_approve(c, id, &revision, "ada").await).ok() });
    }
    let made: std::collections::BTreeSet<_> = approvals.join_all().await.into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let stored: Vec<(String, String)> =
        sqlx::query_as("select revision, branch from changes").fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(stored, [(waiting[0].1.clone(), "refs/pull/1/head\u{fffd}".to_owned())]);
    t.drop().await;
}

/// The question of each claimed buildset, where outsiders announced much.
#[tokio::test]
async fn whether_a_buildset_is_trusted_is_told_by_indexes_at_a_hundred_thousand_rows() {
    let t = TestDb::new().await;
    sqlx::raw_sql(
        "insert into sourcestamps (hash, codebase, repository, project, branch, revision)
         select sha256(n::text::bytea), '', 'r', '', 'refs/pull/' || n || '/head', 'rev' || n from generate_series(1, 100000) n;
         insert into changes (author, comments, files, branch, revision, repository, project, codebase, sourcestamp_id, outsider)
         select '', '', '{}', branch, revision, repository, '', '', id, case when id % 2 = 0 then 'eve' end from sourcestamps;
         insert into buildsets (reason) select '' from generate_series(1, 100000);
         insert into buildset_sourcestamps select id, id from sourcestamps;
         insert into buildset_changes select id, id from changes;
         analyze",
    )
    .execute(t.db.pool())
    .await
    .unwrap();
    let trusted: Vec<bool> = sqlx::query_scalar("select buildset_trusted(n) from generate_series(49999, 50000) n")
        .fetch_all(t.db.pool())
        .await
        .unwrap();
    assert_eq!(trusted, [true, false]);
    let mut c = t.db.pool().acquire().await.unwrap();
    let plan: Vec<String> = sqlx::query_scalar("explain (analyze, buffers, timing off) select buildset_trusted(50001)")
        .fetch_all(&mut *c)
        .await
        .unwrap();
    let pages: u64 = plan
        .iter()
        .filter_map(|line| line.trim().strip_prefix("Buffers: shared hit="))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .max()
        .unwrap_or(u64::MAX);
    assert!(pages < 400, "it reads {pages} pages: {plan:#?}");
    drop(c);
    t.drop().await;
}

async fn stored(t: &TestDb, change: &NewChange) -> i64 {
    run_tx!(t.db, "test", |c| changes_insert(c, std::slice::from_ref(change), None).await).unwrap()[0].0
}

/// Whether a buildset of this one source is trusted, whoever asks for it.
async fn trusted(t: &TestDb, branch: &str, revision: Option<&str>) -> bool {
    let stamp = SourceStamp {
        repository: "r".into(),
        branch: Some(branch.into()),
        revision: revision.map(str::to_owned),
        ..SourceStamp::default()
    };
    let new = NewBuildset { sourcestamps: vec![stamp], builders: vec!["b".into()], ..NewBuildset::default() };
    let made = run_tx!(t.db, "test", |c| buildset_insert(c, &new).await).unwrap();
    sqlx::query_scalar("select buildset_trusted($1)").bind(made.buildset.0).fetch_one(t.db.pool()).await.unwrap()
}

#[tokio::test]
async fn a_pull_request_of_which_nobody_trusted_announced_anything_is_not_trusted() {
    let t = TestDb::new().await;
    common::project(&t.db, &["b"]).await;
    assert!(trusted(&t, "main", None).await);
    for branch in
        ["refs/pull/5/head", "refs/merge-requests/5/head", "refs/changes/12/12/1", "refs/pull-requests/5/from"]
    {
        assert!(!trusted(&t, branch, None).await, "{branch}");
        assert!(tidemill_model::repository::is_proposal(branch));
    }
    let of = |outsider: Option<&str>, branch: &str, revision: &str| NewChange {
        repository: "r".into(),
        branch: Some(branch.into()),
        revision: Some(revision.into()),
        outsider: outsider.map(str::to_owned),
        ..NewChange::default()
    };
    stored(&t, &of(None, "refs/pull/5/head", "r5")).await;
    assert!(trusted(&t, "refs/pull/5/head", Some("r5")).await, "one of the project's own people");
    assert!(trusted(&t, "refs/pull/5/head", None).await);
    assert!(!trusted(&t, "refs/pull/6/head", None).await);
    stored(&t, &of(Some("eve"), "refs/pull/5/head", "r6")).await;
    assert!(!trusted(&t, "refs/pull/5/head", None).await, "now somebody else pushed to it");
    assert!(trusted(&t, "refs/pull/5/head", Some("r5")).await, "not to what was announced before");
    assert!(!trusted(&t, "main", Some("r6")).await);
    t.drop().await;
}

#[tokio::test]
async fn no_length_of_a_name_stops_what_an_outsider_announces() {
    let t = TestDb::new().await;
    common::project(&t.db, &["b"]).await;
    // Nothing that could be compressed into an index.
    let long: String = (0..200).map(|i: u32| hex::encode(Sha256::digest(i.to_le_bytes()))).collect();
    let change = NewChange {
        repository: long.clone(),
        branch: Some(long.clone()),
        revision: Some(long.clone()),
        outsider: Some("eve".into()),
        when: time::OffsetDateTime::from_unix_timestamp(-300_000_000_000).ok(),
        ..NewChange::default()
    };
    stored(&t, &change).await;
    let new = NewHeld { dialect: "github".into(), pull: "o/r#1".into(), change, why: "eve".into() };
    run_tx!(t.db, "test", |c| change_hold(c, None, &new).await).unwrap();
    assert!(!trusted(&t, "main", Some(&long)).await);
    t.drop().await;
}

#[tokio::test]
async fn what_is_forced_is_never_like_an_outsiders_build() {
    let t = TestDb::new().await;
    common::project(&t.db, &["b"]).await;
    let mut last = 0;
    for (repository, branch, outsider) in [("r", "main", None), ("https://forge/eve/r", "topic", Some("eve"))] {
        let change = NewChange {
            repository: repository.into(),
            branch: Some(branch.into()),
            revision: Some(branch.into()),
            outsider: outsider.map(str::to_owned),
            ..NewChange::default()
        };
        let id = stored(&t, &change).await;
        let new = NewBuildset {
            sourcestamps: vec![change.sourcestamp()],
            changes: vec![tidemill_model::ChangeId(id)],
            builders: vec!["b".into()],
            ..NewBuildset::default()
        };
        last = run_tx!(t.db, "test", |c| buildset_insert(c, &new).await).unwrap().buildset.0;
    }
    let mut c = t.db.pool().acquire().await.unwrap();
    let builder: i64 = sqlx::query_scalar("select builder_id from build_requests where buildset_id = $1")
        .bind(last)
        .fetch_one(&mut *c)
        .await
        .unwrap();
    let stamps = tidemill_schema::read::control::latest_stamps(&mut c, builder).await.unwrap();
    assert_eq!(stamps.iter().map(|s| s.repository.as_str()).collect::<Vec<_>>(), ["r"]);
    drop(c);
    t.drop().await;
}
