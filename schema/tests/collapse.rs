//! Pending requests that become one.

mod common;

use common::*;
use sqlx::{Postgres, Transaction};
use tidemill_model::{RequestId, Results};
use tidemill_schema::collapse::{CollapseBy, CollapseKey, collapse_lock, requests_collapse, requests_collapse_into};
use tidemill_schema::requests::{NewBuildset, Submitted, buildset_insert, requests_cancel};
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

fn set(builders: &[&str], key: u8) -> NewBuildset {
    let by = CollapseBy::Key(CollapseKey([key; 16]));
    NewBuildset {
        builders: builders.iter().map(|b| (*b).to_owned()).collect(),
        collapse: builders.iter().map(|b| ((*b).to_owned(), by)).collect(),
        ..NewBuildset::default()
    }
}

async fn submit_merging(t: &TestDb, new: &NewBuildset) -> Submitted {
    run_tx!(t.db, "test", |c| {
        let made = buildset_insert(c, new).await?;
        collapse_lock(c, &made.fresh, &[]).await?;
        requests_collapse(c, &made.fresh).await?;
        Ok::<_, tidemill_schema::Error>(made)
    })
    .unwrap()
}

async fn request(t: &TestDb, id: RequestId) -> (Option<i64>, Option<i16>) {
    sqlx::query_as("select collapsed_into, results from build_requests where id = $1")
        .bind(id.0)
        .fetch_one(t.db.pool())
        .await
        .unwrap()
}

async fn open(t: &TestDb) -> Vec<i64> {
    sqlx::query_scalar("select request_id from request_queue order by 1").fetch_all(t.db.pool()).await.unwrap()
}

#[tokio::test]
async fn the_newest_survives_and_the_older_ones_take_its_result() {
    let t = TestDb::new().await;
    project(&t.db, &["linux", "mac"]).await;
    let session = worker(&t.db, "w").await;
    let mut made = vec![];
    for _ in 0..3 {
        made.push(submit_merging(&t, &set(&["linux"], 1)).await);
    }
    let other = submit_merging(&t, &set(&["linux"], 2)).await.requests[0];
    let elsewhere = submit_merging(&t, &set(&["mac"], 1)).await.requests[0];
    let ids: Vec<RequestId> = made.iter().map(|m| m.requests[0]).collect();
    assert_eq!(open(&t).await, [ids[2].0, other.0, elsewhere.0]);
    assert_eq!(request(&t, ids[0]).await, (Some(ids[1].0), None));
    assert_eq!(request(&t, ids[1]).await, (Some(ids[2].0), None));

    let claims = claim(&t.db, session, 1, 9, 0).await;
    let survivor = claims.iter().find(|c| c.request == ids[2].0).unwrap();
    finish(&t.db, survivor, Results::Failure).await;
    for id in &ids {
        assert_eq!(request(&t, *id).await.1, Some(Results::Failure.code()));
    }
    let sets: Vec<Option<i16>> =
        sqlx::query_scalar("select results from buildsets order by id limit 3").fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(sets, [Some(2); 3]);
    let told: i64 = sqlx::query_scalar("select count(*) from events where kind = 'buildrequests.collapsed'")
        .fetch_one(t.db.pool())
        .await
        .unwrap();
    assert_eq!(told, 2);
    t.drop().await;
}

#[tokio::test]
async fn what_a_worker_has_is_left_alone() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let first = submit_merging(&t, &set(&["linux"], 1)).await.requests[0];
    let claims = claim(&t.db, session, 1, 1, 0).await;
    assert_eq!(claims[0].request, first.0);
    let second = submit_merging(&t, &set(&["linux"], 1)).await.requests[0];
    assert_eq!(open(&t).await, [second.0]);
    assert_eq!(request(&t, first).await, (None, None));
    // Lost and waiting for its next attempt, it is pending again.
    finish(&t.db, &claims[0], Results::Retry).await;
    let third = submit_merging(&t, &set(&["linux"], 1)).await.requests[0];
    assert_eq!(request(&t, first).await.0, Some(third.0));
    assert_eq!(request(&t, second).await.0, Some(third.0));
    assert_eq!(open(&t).await, [third.0]);
    t.drop().await;
}

#[tokio::test]
async fn of_two_makers_at_once_one_request_survives_whoever_commits_first() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let new = set(&["linux"], 1);
    let mut early: Transaction<'_, Postgres> = t.db.pool().begin().await.unwrap();
    let lower = buildset_insert(&mut early, &new).await.unwrap();
    let higher = submit_merging(&t, &new).await.requests[0];
    collapse_lock(&mut early, &lower.fresh, &[]).await.unwrap();
    assert_eq!(requests_collapse(&mut early, &lower.fresh).await.unwrap(), 1);
    early.commit().await.unwrap();
    assert!(lower.requests[0] < higher);
    assert_eq!(open(&t).await, [higher.0]);
    assert_eq!(request(&t, lower.requests[0]).await.0, Some(higher.0));
    t.drop().await;
}

#[tokio::test]
async fn a_collapsed_request_is_cancelled_alone() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let mut ids = vec![];
    for _ in 0..3 {
        ids.push(submit_merging(&t, &set(&["linux"], 1)).await.requests[0]);
    }
    let gone = run_tx!(t.db, "test", |c| requests_cancel(c, &ids[1..2], "no need").await).unwrap();
    assert_eq!(gone, ids[1..2]);
    assert_eq!(request(&t, ids[1]).await.1, Some(Results::Cancelled.code()));
    assert_eq!(request(&t, ids[0]).await, (Some(ids[2].0), None));
    let again = run_tx!(t.db, "test", |c| requests_cancel(c, &ids[1..2], "no need").await).unwrap();
    assert_eq!(again, []);
    let claims = claim(&t.db, session, 1, 9, 0).await;
    finish(&t.db, &claims[0], Results::Success).await;
    assert_eq!(request(&t, ids[0]).await.1, Some(Results::Success.code()));
    assert_eq!(request(&t, ids[1]).await.1, Some(Results::Cancelled.code()));
    t.drop().await;
}

#[tokio::test]
async fn a_cancelled_survivor_takes_the_others_with_it() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let first = submit_merging(&t, &set(&["linux"], 1)).await.requests[0];
    let second = submit_merging(&t, &set(&["linux"], 1)).await.requests[0];
    let gone = run_tx!(t.db, "test", |c| requests_cancel(c, &[second], "no need").await).unwrap();
    assert_eq!(gone, [second]);
    assert_eq!(request(&t, first).await.1, Some(Results::Cancelled.code()));
    t.drop().await;
}

#[tokio::test]
async fn what_a_rule_of_pairs_named_merges_only_while_all_are_pending() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let taken = submit(&t.db, "linux").await.requests[0];
    claim(&t.db, session, 1, 1, 0).await;
    let older = submit(&t.db, "linux").await.requests[0];
    let newer = submit(&t.db, "linux").await.requests[0];
    let merged = run_tx!(t.db, "test", |c| requests_collapse_into(c, newer, &[taken, older]).await).unwrap();
    assert_eq!(merged, 1);
    assert_eq!(request(&t, taken).await.0, None);
    assert_eq!(request(&t, older).await.0, Some(newer.0));
    claim(&t.db, session, 2, 9, 1).await;
    let late = submit(&t.db, "linux").await.requests[0];
    let merged = run_tx!(t.db, "test", |c| requests_collapse_into(c, newer, &[late]).await).unwrap();
    assert_eq!(merged, 0, "the survivor is with a worker");
    t.drop().await;
}

/// Makers and claimers race; whatever happens, each request ends once, and what
/// is not built ended with the build of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn makers_and_claimers_at_once_build_or_merge_each_request_and_never_both() {
    let t = TestDb::new().await;
    project(&t.db, &["linux", "mac"]).await;
    let makers = (0..4u8).map(|n| {
        let t = &t;
        async move {
            for i in 0..50u8 {
                submit_merging(t, &set(&["mac", "linux"], (n + i) % 3)).await;
            }
        }
    });
    let claimers = (0..2).map(|n| {
        let t = &t;
        async move {
            let session = worker(&t.db, &format!("w{n}")).await;
            let (mut poll, mut newest, mut idle) = (0, 0, 0);
            while idle < 50 {
                poll += 1;
                let claims = claim(&t.db, session, poll, 3, newest).await;
                idle = if claims.is_empty() { idle + 1 } else { 0 };
                for claim in claims {
                    newest = newest.max(claim.build);
                    finish(&t.db, &claim, Results::Success).await;
                }
            }
        }
    });
    tokio::join!(futures_util::future::join_all(makers), futures_util::future::join_all(claimers));
    // What was made after the claimers found nothing for a while.
    let session = worker(&t.db, "last").await;
    let mut newest = 0;
    for poll in 1.. {
        let claims = claim(&t.db, session, poll, 50, newest).await;
        if claims.is_empty() {
            break;
        }
        for claim in claims {
            newest = newest.max(claim.build);
            finish(&t.db, &claim, Results::Success).await;
        }
    }
    let of = |query: &'static str| sqlx::query_scalar::<_, i64>(query).fetch_one(t.db.pool());
    assert_eq!(of("select count(*) from build_requests").await.unwrap(), 400);
    assert_eq!(of("select count(*) from build_requests where complete_at is null").await.unwrap(), 0);
    assert_eq!(of("select count(*) from build_requests where results <> 0").await.unwrap(), 0);
    assert_eq!(of("select count(*) from buildsets where complete_at is null").await.unwrap(), 0);
    let built_and_merged = of("select count(*) from build_requests r join builds b on b.request_id = r.id
                                where r.collapsed_into is not null");
    assert_eq!(built_and_merged.await.unwrap(), 0);
    let neither = of("select count(*) from build_requests r where r.collapsed_into is null
                        and not exists (select 1 from builds b where b.request_id = r.id)");
    assert_eq!(neither.await.unwrap(), 0);
    let twice = of("select count(*) from (select request_id from builds group by 1 having count(*) > 1) d");
    assert_eq!(twice.await.unwrap(), 0);
    t.drop().await;
}

#[tokio::test]
async fn a_cancel_locks_the_buildsets_of_all_that_end_with_it_in_their_order() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let first = submit_merging(&t, &set(&["linux"], 1)).await;
    let middle = submit_merging(&t, &set(&["linux"], 1)).await;
    let last = submit_merging(&t, &set(&["linux"], 1)).await;
    assert!(first.buildset.0 < middle.buildset.0 && middle.buildset.0 < last.buildset.0);
    let mut other = t.db.pool().begin().await.unwrap();
    let lock =
        |id: i64| sqlx::query_scalar::<_, i64>("select id from buildsets where id = $1 for update nowait").bind(id);
    lock(first.buildset.0).fetch_one(&mut *other).await.unwrap();
    let cancel = {
        let (db, request) = (t.db.clone(), last.requests[0]);
        tokio::spawn(async move { run_tx!(db, "test", |c| requests_cancel(c, &[request], "no need").await) })
    };
    waits_for_a_lock(&t).await;
    // It waits for the first and holds none of the others: whoever comes in order never meets it.
    lock(middle.buildset.0).fetch_one(&mut *other).await.unwrap();
    lock(last.buildset.0).fetch_one(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(cancel.await.unwrap().unwrap(), last.requests);
    assert_eq!(request(&t, first.requests[0]).await.1, Some(Results::Cancelled.code()));
    t.drop().await;
}

#[tokio::test]
async fn a_request_that_another_writer_moves_while_it_ends_ends_all_the_same() {
    let t = TestDb::new().await;
    project(&t.db, &["linux"]).await;
    let session = worker(&t.db, "w").await;
    let first = submit_merging(&t, &set(&["linux"], 1)).await.requests[0];
    let second = submit_merging(&t, &set(&["linux"], 1)).await.requests[0];
    let claims = claim(&t.db, session, 1, 1, 0).await;
    // Writers of `collapsed_into` do not hold the buildset's lock.
    let mut other = t.db.pool().begin().await.unwrap();
    let touched = sqlx::query("update build_requests set collapsed_into = collapsed_into where id = any($1)")
        .bind([first.0, second.0]);
    touched.execute(&mut *other).await.unwrap();
    let end = {
        let (db, claim) = (t.db.clone(), claims[0].clone());
        tokio::spawn(async move { finish(&db, &claim, Results::Success).await })
    };
    waits_for_a_lock(&t).await;
    other.commit().await.unwrap();
    end.await.unwrap();
    for id in [first, second] {
        assert_eq!(request(&t, id).await.1, Some(Results::Success.code()));
    }
    t.drop().await;
}

/// Requests that end are found by their key, whatever the statistics say.
#[tokio::test]
async fn requests_that_end_are_found_by_their_key_whatever_the_statistics_say() {
    let t = TestDb::new().await;
    for analyzed in [false, true] {
        let plan: Vec<String> = sqlx::query_scalar(
            "explain with u as materialized (
                 select u.id, u.results from unnest(array[7, 8]::bigint[], array[0, 0]::smallint[]) u(id, results)
                  cross join lateral (
                        select k.ctid from build_requests k
                         where k.id = u.id and k.complete_at is null for update) r
             )
             update build_requests r set complete_at = tidemill_now(), results = u.results
               from u where r.id = any(array(select id from u)) and r.id = u.id",
        )
        .fetch_all(t.db.pool())
        .await
        .unwrap();
        let plan = plan.join("\n");
        assert_eq!(plan.matches("build_requests_pkey").count(), 2, "{plan}");
        assert_eq!(plan.matches("Index Cond").count(), 2, "{plan}");
        if !analyzed {
            sql(
                &t,
                "insert into buildsets (reason) values ('many');
                 insert into build_requests (buildset_id, builder_id) select 1, 1 from generate_series(1, 50000);
                 analyze build_requests",
            )
            .await;
        }
    }
    t.drop().await;
}
