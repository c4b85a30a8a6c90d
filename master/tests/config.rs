//! What a replica says of config revisions, and what it does with an active one
//! that it cannot evaluate.

mod common;

use common::*;
use serde_json::json;
use tidemill_lang::{Limits, Project};
use tidemill_model::revision::Files;
use tidemill_schema::config::{By, Wanted, revision_activate_by, revision_insert};
use tidemill_schema::run_tx;

const GOOD: &str = r#"
c = {}
c["builders"] = [util.BuilderConfig(name = "b", workernames = ["*"], factory = util.BuildFactory([
    steps.ShellCommand(command = ["true"]),
]))]
c["schedulers"] = [schedulers.SingleBranchScheduler(name = "s", builderNames = ["b"])]
c["change_source"] = changes.GitPoller(repourl = "/nowhere")
"#;

fn wanted(files: &Files) -> Wanted {
    tidemill_master::projects::wanted(Project::evaluate(files, &Limits::default()).unwrap().definition())
}

/// Stores and activates without asking whether the files are good; returns the revision.
async fn activated(world: &World, files: &Files, wanted: &Wanted, by: &str) -> i64 {
    let by = By { name: by, comment: "why" };
    run_tx!(world.db(), "test", |c| {
        let id = revision_insert(c, files, &json!({ "vocabulary": 1 }), 1, "why", by.name).await?;
        revision_activate_by(c, id, wanted, by).await?;
        Ok::<_, tidemill_schema::Error>(id.0)
    })
    .unwrap()
}

#[tokio::test]
async fn revisions_are_listed_with_who_activated_them_and_given_one_by_one_with_their_files() {
    let world = World::new(1).await;
    let (first, second) = (Files::single(GOOD), Files::single(format!("{GOOD}# more\n")));
    let a = activated(&world, &first, &wanted(&first), "ada").await;
    let b = activated(&world, &second, &wanted(&second), "bob").await;
    assert_eq!(activated(&world, &first, &wanted(&first), "cyd").await, a);
    let m = world.one();
    let listed = m.json("config/revisions?order=-revisionid").await;
    let rows = listed["revisions"].as_array().unwrap();
    let told = |i: usize| {
        json!([
            rows[i]["revisionid"],
            rows[i]["active"],
            rows[i]["created_by"],
            rows[i]["activated_by"],
            rows[i]["activations"]
        ])
    };
    assert_eq!(told(0), json!([b, false, "bob", "bob", 1]));
    assert_eq!(told(1), json!([a, true, "ada", "cyd", 2]));
    assert_eq!(m.json("config/revisions?active=true&field=hash").await["revisions"][0]["hash"], first.hash());
    assert_eq!(m.json(&format!("config/revisions/{b}")).await["revisions"][0]["comment"], "why");
    let content = m.json(&format!("config/revisions/{b}/content")).await;
    assert_eq!(content["files"]["master.star"], second.0["master.star"]);
    assert_eq!(content["definition"]["vocabulary"], 1);
    let active = m.json("config").await;
    assert_eq!(
        (&active["files"]["master.star"], &active["activated_by"]),
        (&json!(first.0["master.star"]), &json!("cyd"))
    );
    // Who shows no token is told which it is, and nothing that stands in it.
    let (status, said) = m.anonymous("/api/v2/config").await;
    assert_eq!((status.as_u16(), &said["hash"], &said["files"]), (200, &json!(first.hash()), &json!(null)));
    let (status, said) = m.anonymous(&format!("/api/v2/config/revisions/{b}/content")).await;
    assert_eq!((status.as_u16(), &said["type"], &said["files"]), (401, &json!("unauthorized"), &json!(null)));
    m.problem("config/revisions/99/content", 404).await;
    m.problem("config/revisions/x/content", 404).await;
    world.end().await;
}

#[tokio::test]
async fn a_replica_evaluates_the_active_revision_ahead_and_says_why_it_cannot() {
    let world = World::new(1).await;
    let good = Files::single(GOOD);
    let id = activated(&world, &good, &wanted(&good), "ada").await;
    let m = world.one();
    let until = async |id: i64, field: &'static str| {
        eventually("the replica to look by itself", async || {
            let active = m.json("config").await;
            (active["revision"] == id && !active[field].is_null() && active[field] != false).then_some(active)
        })
        .await
    };
    assert!(until(id, "ready").await["error"].is_null());
    // As if a replica of another release had applied it.
    let bad = activated(&world, &Files::single("c = words.OfTomorrow()\n"), &wanted(&good), "bob").await;
    let said = until(bad, "error").await;
    assert_eq!(said["ready"], false);
    assert!(said["error"].as_str().unwrap().contains("words"), "{said}");
    let (_, said) = m.anonymous("/api/v2/config").await;
    assert!(!said["error"].as_str().unwrap().contains("words"), "{said}");
    // The replica goes on with all that needs no project.
    assert_eq!(m.get("/readyz").await.status(), 200);
    world.end().await;
}

/// As after a fail-over to a standby that was behind: the id is given once more, to other files.
#[tokio::test]
async fn an_id_that_means_other_files_now_is_evaluated_anew() {
    let world = World::new(1).await;
    let good = Files::single(GOOD);
    let id = activated(&world, &good, &wanted(&good), "ada").await;
    let m = world.one();
    let until = async |what: &str, field: &str| {
        eventually(what, async || {
            let active = m.json("config").await;
            (!active[field].is_null() && active[field] != false).then_some(())
        })
        .await
    };
    until("the first is ready", "ready").await;
    let bad = Files::single("c = words.OfTomorrow()\n");
    sqlx::query("update config_revisions set hash = $2, files = $3 where id = $1")
        .bind(id)
        .bind(bad.hash())
        .bind(serde_json::to_value(&bad).unwrap())
        .execute(world.db().pool())
        .await
        .unwrap();
    until("the other files are looked at", "error").await;
    world.end().await;
}

#[test]
fn a_definition_that_moved_to_another_line_wants_the_same_rows() {
    let (here, there) = (wanted(&Files::single(GOOD)), wanted(&Files::single(format!("# a\n# b\n{GOOD}"))));
    assert_eq!(here.schedulers, there.schedulers);
    assert_eq!(here.change_sources, there.change_sources);
    assert_eq!((here.schedulers.len(), here.change_sources.len()), (1, 1));
}
