//! Cancellers of the project, on two replicas.

mod common;

use common::*;
use tidemill_lang::{Limits, Project};
use tidemill_master::projects::wanted;
use tidemill_model::revision::Files;
use tidemill_model::{BuildId, NewChange, RequestId, Results, SourceStamp};
use tidemill_schema::Db;
use tidemill_schema::changes::changes_insert;
use tidemill_schema::config::{revision_activate, revision_insert};
use tidemill_schema::requests::{NewBuildset, buildset_insert};
use tidemill_schema::run_tx;

const PROJECT: &str = r#"
factory = util.BuildFactory([steps.ShellCommand(command = "true")])
def builder(name):
    return util.BuilderConfig(name = name, workernames = ["*"], factory = factory, collapseRequests = False)
c = {
    "builders": [builder(n) for n in ["linux", "mac", "docs"]],
    "services": [
        util.OldBuildCanceller("old", [(["linux", "mac"], util.SourceStampFilter(branch_not_eq = "main"))]),
        util.FailingBuildsetCanceller("failing", [("linux", ["mac"], util.SourceStampFilter(branch = "release"))]),
    ],
}
"#;

async fn apply(db: &Db, text: &str) {
    let files = Files::single(text);
    let project = Project::evaluate(&files, &Limits::default()).unwrap();
    assert!(project.warnings().is_empty(), "{:?}", project.warnings());
    let definition = serde_json::to_value(project.definition()).unwrap();
    let wanted = wanted(project.definition());
    run_tx!(db, "test", |c| {
        let id = revision_insert(c, &files, &definition, 1, "", "test").await?;
        revision_activate(c, id, &wanted).await
    })
    .unwrap();
}

/// As a scheduler makes it of a change; the requests in the order of the builders.
async fn change(db: &Db, branch: Option<&str>, revision: &str, builders: &[&str]) -> Vec<RequestId> {
    let change = NewChange {
        author: "ada".into(),
        repository: "r".into(),
        branch: branch.map(str::to_owned),
        revision: Some(revision.into()),
        ..NewChange::default()
    };
    run_tx!(db, "test", |c| {
        let ids = changes_insert(c, std::slice::from_ref(&change), None).await?;
        let new = NewBuildset {
            sourcestamps: vec![change.sourcestamp()],
            changes: ids,
            builders: builders.iter().map(|b| (*b).to_owned()).collect(),
            ..NewBuildset::default()
        };
        buildset_insert(c, &new).await
    })
    .unwrap()
    .requests
}

/// Until both replicas have read what was told so far.
async fn read(db: &Db) {
    until(
        db,
        "select coalesce((select not exists (select from events e where (e.xid, e.id) > (r.xid, r.id))
                            from event_readers r where r.name = 'cancellers'), false)",
    )
    .await;
}

async fn results(db: &Db) -> Vec<Option<i16>> {
    sqlx::query_scalar("select results from build_requests order by id").fetch_all(db.pool()).await.unwrap()
}

const CANCELLED: Option<i16> = Some(6);

async fn begin() -> World {
    let world = World::new(2).await;
    apply(world.db(), PROJECT).await;
    until(world.db(), "select exists (select from event_readers where name = 'cancellers')").await;
    world
}

#[tokio::test]
async fn a_newer_change_of_a_branch_ends_older_requests_and_stops_their_builds_once() {
    let world = begin().await;
    let db = world.db();
    let session = worker(db, "w").await;
    let runs = change(db, Some("topic"), "1", &["linux"]).await;
    let running = Running::begin(db, claim(db, session).await, "s").await;
    change(db, Some("topic"), "2", &["linux", "docs"]).await;
    change(db, Some("other"), "3", &["linux"]).await;
    change(db, Some("main"), "4", &["linux"]).await;
    change(db, Some("main"), "5", &["linux"]).await;
    change(db, None, "6", &["linux"]).await;
    change(db, None, "7", &["linux"]).await;
    change(db, Some("topic"), "8", &["mac"]).await;
    change(db, Some("topic"), "9", &["linux"]).await;
    until(db, "select exists (select from builds where stop_reason like 'superseded by change 2 (buildset 2)')").await;
    until(db, "select complete_at is not null from build_requests where id = 2").await;
    read(db).await;
    let open = None;
    let expected = [open, CANCELLED, open, open, open, open, open, open, open, open];
    assert_eq!(results(db).await, expected, "{runs:?}");
    let why: String = sqlx::query_scalar("select complete_reason from build_requests where id = 2")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(why, "superseded by change 9 (buildset 9)");
    running.end(db, Results::Success).await;
    let told: i64 = sqlx::query_scalar("select count(*) from events where kind = 'builds.stop'")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(told, 1, "asked once");
    world.end().await;
}

#[tokio::test]
async fn what_is_no_change_makes_nothing_old() {
    let world = begin().await;
    let db = world.db();
    change(db, Some("topic"), "1", &["linux"]).await;
    // By hand, and again what was before.
    let stamp = SourceStamp { repository: "r".into(), branch: Some("topic".into()), ..SourceStamp::default() };
    let forced = NewBuildset { sourcestamps: vec![stamp], builders: vec!["linux".into()], ..NewBuildset::default() };
    run_tx!(db, "test", |c| buildset_insert(c, &forced).await).unwrap();
    let again = NewBuildset { rebuilt: Some(BuildId(1)), changes: vec![tidemill_model::ChangeId(1)], ..forced };
    run_tx!(db, "test", |c| buildset_insert(c, &again).await).unwrap();
    read(db).await;
    assert_eq!(results(db).await, [None, None, None]);
    world.end().await;
}

#[tokio::test]
async fn the_first_failure_of_a_buildset_cancels_those_that_its_filter_names() {
    let world = begin().await;
    let db = world.db();
    let session = worker(db, "w").await;
    change(db, Some("release"), "1", &["linux", "mac", "docs"]).await;
    change(db, Some("main"), "2", &["linux", "mac"]).await;
    let first = Running::begin(db, claim(db, session).await, "s").await;
    assert_eq!(first.claim.request, 1);
    first.end(db, Results::Failure).await;
    until(db, "select complete_at is not null from build_requests where id = 2").await;
    read(db).await;
    assert_eq!(results(db).await, [Some(2), CANCELLED, None, None, None]);
    let why: String = sqlx::query_scalar("select complete_reason from build_requests where id = 2")
        .fetch_one(db.pool())
        .await
        .unwrap();
    assert_eq!(why, "build linux/1 of the same buildset failed");
    world.end().await;
}

#[tokio::test]
async fn a_project_without_cancellers_forgets_its_place_and_begins_anew() {
    let world = begin().await;
    let db = world.db();
    let without = PROJECT.replace("\"services\"", "\"properties\": {}, \"title\": \"x\", \"locks\": [], \"projects\"");
    let without = without.split("util.OldBuildCanceller").next().unwrap().to_owned() + "] }";
    apply(db, &without).await;
    until(db, "select not exists (select from event_readers where name = 'cancellers')").await;
    change(db, Some("topic"), "1", &["linux"]).await;
    change(db, Some("topic"), "2", &["linux"]).await;
    // It begins at the horizon, which a transaction of another test may hold back.
    settled(db).await;
    apply(db, PROJECT).await;
    until(db, "select exists (select from event_readers where name = 'cancellers')").await;
    change(db, Some("other"), "3", &["linux"]).await;
    read(db).await;
    assert_eq!(results(db).await, [None, None, None], "what was before is left alone");
    world.end().await;
}

/// Two schedulers may build one change on one builder, and a build may start others with its changes.
#[tokio::test]
async fn what_is_of_the_same_change_or_of_a_newer_one_is_not_old() {
    let world = begin().await;
    let db = world.db();
    change(db, Some("topic"), "1", &["linux"]).await;
    change(db, Some("topic"), "2", &["mac"]).await;
    let again = |change| NewBuildset {
        sourcestamps: vec![SourceStamp {
            repository: "r".into(),
            branch: Some("topic".into()),
            revision: Some("1".into()),
            ..SourceStamp::default()
        }],
        changes: vec![tidemill_model::ChangeId(change)],
        builders: vec!["linux".into(), "mac".into()],
        ..NewBuildset::default()
    };
    run_tx!(db, "test", |c| buildset_insert(c, &again(1)).await).unwrap();
    read(db).await;
    assert_eq!(results(db).await, [None; 4]);
    run_tx!(db, "test", |c| buildset_insert(c, &again(2)).await).unwrap();
    read(db).await;
    // What the second change makes old is what the first one led to.
    assert_eq!(results(db).await, [CANCELLED, None, CANCELLED, CANCELLED, None, None]);
    world.end().await;
}
