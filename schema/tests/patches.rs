//! Patches of source stamps: stored once, given to whoever builds them.

mod common;
use common::*;
use tidemill_model::{BuildId, NewPatch, Results, SourceStamp};
use tidemill_schema::patches::{Fetched, patch_body, patch_intern, patch_of_build};
use tidemill_schema::requests::NewBuildset;
use tidemill_schema::run_tx;
use tidemill_schema::testing::TestDb;

fn new(body: &[u8]) -> NewPatch {
    NewPatch { body: body.into(), level: 1, author: "ann\0".into(), comment: "try".into(), subdir: String::new() }
}

#[tokio::test]
async fn equal_patches_are_one_and_a_stamp_with_one_is_another_stamp() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    let store = async |body: &[u8]| run_tx!(t.db, "test", |c| patch_intern(c, &new(body)).await).unwrap();
    let one = store(b"one \xff").await;
    assert_eq!(store(b"one \xff").await, one);
    assert_ne!(store(b"two").await.id, one.id);
    assert_eq!((one.size, one.author.as_str()), (5, "ann\u{fffd}"));
    assert!(one.is_of(b"one \xff"), "a worker finds the same hash");
    for patch in [None, Some(one.clone()), None, Some(one.clone())] {
        let stamp = SourceStamp { patch, ..SourceStamp::default() };
        let set = NewBuildset { sourcestamps: vec![stamp], builders: vec!["b".into()], ..NewBuildset::default() };
        submit_set(&t.db, &set).await;
    }
    assert_eq!(scalar::<i64>(&t, "select count(*) from sourcestamps").await, 2);
    let session = worker(&t.db, "w").await;
    let claims = claim(&t.db, session, 1, 4, 0).await;
    let patches: Vec<_> = claims.iter().map(|c| c.sourcestamps[0].patch.clone()).collect();
    assert_eq!(patches, [None, Some(one.clone()), None, Some(one)]);
}

#[tokio::test]
async fn only_who_holds_a_build_of_a_patch_gets_its_body() {
    let t = TestDb::new().await;
    project(&t.db, &["b"]).await;
    let one = run_tx!(t.db, "test", |c| patch_intern(c, &new(b"one")).await).unwrap();
    let other = run_tx!(t.db, "test", |c| patch_intern(c, &new(b"other")).await).unwrap();
    let stamp = SourceStamp { patch: Some(one.clone()), ..SourceStamp::default() };
    let set = NewBuildset { sourcestamps: vec![stamp], builders: vec!["b".into()], ..NewBuildset::default() };
    submit_set(&t.db, &set).await;
    let session = worker(&t.db, "w").await;
    let held = claim(&t.db, session, 1, 1, 0).await.remove(0);
    let mut c = t.db.pool().acquire().await.unwrap();
    let mut ask =
        async |build: i64, token: &str, patch: i64| patch_of_build(&mut c, BuildId(build), token, patch).await.unwrap();
    assert_eq!(ask(held.build, &held.token, one.id).await, Fetched::Body(b"one".into()));
    assert_eq!(ask(held.build, &held.token, other.id).await, Fetched::Unknown);
    assert_eq!(ask(held.build, "guessed\0", one.id).await, Fetched::LeaseLost);
    assert_eq!(ask(held.build + 1, &held.token, one.id).await, Fetched::LeaseLost);
    finish(&t.db, &held, Results::Success).await;
    assert_eq!(ask(held.build, &held.token, one.id).await, Fetched::LeaseLost);
    assert_eq!(patch_body(&mut c, one.id).await.unwrap().unwrap(), b"one");
    assert_eq!(patch_body(&mut c, 999).await.unwrap(), None);
}
