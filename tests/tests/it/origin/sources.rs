//! Where the changes of the examples come from (C-07, C-26 to C-33).

use super::{Origin, edited, files};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use tidemill_tests::wait::holds;
use tidemill_tests::{Repository, invariants, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_outside_sends_changes_and_the_scheduler_takes_what_is_for_it() {
    let mut o = Origin::start().await;
    o.worker("w", 1).await;
    o.apply("c-28-external-notifier").await;
    for (category, branch, file) in
        [("mail", "main", "a.c"), ("vault", "next", "a.c"), ("vault", "main", "docs/a"), ("vault", "main", "src/a.c")]
    {
        let (code, text) = o.cli(&["sendchange", "-C", category, "--branch", branch, "-W", "Ada", file]);
        assert_eq!(code, Some(0), "{text}");
    }
    let set = o.rows("buildsets", 1).await.remove(0);
    assert_eq!(set["reason"].as_str().map(|r| r.contains("vault")), Some(true), "{set}");
    let build = o.rows("builds?complete=true", 1).await.remove(0);
    assert_eq!((&build["results"], &build["buildername"]), (&json!(0), &json!("vault")));
    let blamed = o.t.api(o.m).list(&format!("builds/{}/changes", build["buildid"])).await.unwrap();
    let last = blamed.last().unwrap();
    assert_eq!((&last["author"], &last["files"]), (&json!("Ada"), &json!(["src/a.c"])));
    assert_eq!(o.rows("changes", 4).await.len(), 4);
    invariants::check(&o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_polled_change_carries_all_its_fields_and_comes_once() {
    let mut o = Origin::start().await;
    o.worker("w", 1).await;
    let polls = o.t.dir().join("polls");
    let feed = std::fs::read_to_string(o.t.dir().join("bin/feed")).unwrap();
    o.t.stand_in("feed", &format!("echo poll >> {}\n{feed}", polls.display()));
    o.apply_files(edited(files("c-31-change-with-all-fields"), "pollInterval = 60", "pollInterval = 0.1")).await;
    let changes = o.rows("changes?order=changeid", 2).await;
    let wanted = json!({
        "author": "Ada <ada@example.org>", "committer": "bob", "files": ["a.c"], "comments": "why not",
        "revision": "r1", "branch": "main", "repository": format!("{}/r", o.site), "project": "core",
        "codebase": "lib", "category": "feed", "revlink": format!("{}/r/r1", o.site),
        "when_timestamp": 1_769_860_800, "properties": { "ticket": [1, "Change"] },
    });
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(&changes[0][field], value, "{field}");
    }
    // Some polls later there are no more of them.
    wait_until("more polls", || async {
        let done = std::fs::read_to_string(&polls).map_err(|e| e.to_string())?.lines().count();
        holds(done >= 4, done)
    })
    .await;
    o.rows("changes", 2).await;
    let sets = o.rows("buildsets?order=bsid", 2).await;
    let stamp = &sets[0]["sourcestamps"][0];
    assert_eq!((&stamp["codebase"], &stamp["revision"]), (&json!("lib"), &json!("r1")));
    o.rows("buildsets?complete=true", 2).await;
    invariants::check(&o.t.db).await;
}

/// Row versions and what was polled, by name.
async fn source_rows(o: &Origin) -> Vec<(String, String)> {
    sqlx::query_as("select name, concat_ws(' ', xmin, ctid, polled_at, cursor) from change_sources order by name")
        .fetch_all(o.t.db.pool())
        .await
        .unwrap()
}

async fn all_polled(o: &Origin) {
    wait_until("each source to be polled", || async {
        let rows = o.t.api(o.m).list("changesources").await?;
        holds(!rows.is_empty() && rows.iter().all(|s| !s["polled_at"].is_null()), json!(rows))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_whose_arguments_are_the_same_stays_as_it_is() {
    let o = Origin::start().await;
    let repository = Repository::create(o.t.dir());
    o.pages.say("/tags", json!(["v1"]));
    let name = "c-32-sources-that-stay";
    let first = edited(files(name), "https://example.org/r.git", &repository.url());
    o.apply_files(first.clone()).await;
    all_polled(&o).await;
    let before = source_rows(&o).await;
    // A revision in which nothing of the sources differs touches neither.
    o.apply_files(edited(first.clone(), "SECONDS may change", "SECONDS still may change")).await;
    assert_eq!(source_rows(&o).await, before);
    o.apply_files(edited(first, "SECONDS = 300", "SECONDS = 200")).await;
    let after = source_rows(&o).await;
    assert_eq!((after[0].0.as_str(), &after[0]), ("git", &before[0]), "it goes on as if nothing had happened");
    assert_ne!(after[1], before[1], "the one that uses SECONDS is another one");
    let changes = o.t.api(o.m).list("changes").await.unwrap();
    assert!(changes.iter().all(|c| c["author"] == "tags" && c["revision"] == "v1"), "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poller_looks_again_and_again_remembers_and_goes_on_after_an_error() {
    let mut o = Origin::start().await;
    let w = o.worker("w", 1).await;
    // The program that the project expects in the folder of its builder.
    let build = o.t.workers[w].base.join("builds/tarballs/build");
    std::fs::create_dir_all(&build).unwrap();
    std::fs::write(build.join("unpack-and-test"), "#!/bin/sh\necho unpacked\n").unwrap();
    std::fs::set_permissions(build.join("unpack-and-test"), std::fs::Permissions::from_mode(0o755)).unwrap();

    o.pages.say("/shelf.txt", "a-1.tar b-1.tar\n");
    o.apply_files(edited(files("c-33-poller"), "15 * 60", "0.1")).await;
    all_polled(&o).await;
    assert!(o.t.api(o.m).list("changes").await.unwrap().is_empty(), "the first poll only looks");
    o.pages.say("/shelf.txt", "a-1.tar b-1.tar a-2.tar\n");
    let change = o.rows("changes", 1).await.remove(0);
    assert_eq!((&change["revision"], &change["comments"]), (&json!("a-2.tar"), &json!("new on the shelf: a-2.tar")));
    let row = o.rows("builds?complete=true", 1).await.remove(0);
    let built = o.built(row["buildrequestid"].as_i64().unwrap()).await;
    assert_eq!((&built.row["results"], built.log("shell", "stdio")), (&json!(0), "unpacked\n"));
    let set = o.t.api(o.m).list(&format!("buildsets/{}", built.row["buildsetid"])).await.unwrap().remove(0);
    assert_eq!(set["sourcestamps"][0]["revision"], "a-2.tar");

    // An error is shown, and stores nothing: what it missed is found by the next good poll.
    o.pages.forget("/shelf.txt");
    wait_until("the error to be shown", || async {
        let source = o.t.api(o.m).list("changesources").await?.remove(0);
        let said = source["error"].as_str().unwrap_or_default().to_owned();
        holds(said.contains("the shelf says 404"), said)
    })
    .await;
    o.pages.say("/shelf.txt", "a-1.tar b-1.tar a-2.tar c-1.tar\n");
    let changes = o.rows("changes?order=changeid", 2).await;
    assert_eq!(changes[1]["revision"], "c-1.tar");
    o.rows("builds?complete=true", 2).await;
    invariants::check(&o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_fetches_the_facts_of_a_change_and_they_travel_with_it() {
    let o = Origin::start().await;
    let entry = |id: i64, files: &[&str]| json!({ "id": id, "author": "ada", "files": files });
    o.pages.say("/commits.json", json!([entry(5, &["src/a.c", "src/b.c"]), entry(6, &["docs/x", "web/y"])]));
    o.apply("c-07-merge-on-fetched-facts").await;
    let changes = o.rows("changes?order=changeid", 2).await;
    let found: Vec<Value> = changes.iter().map(|c| json!([c["revision"], c["properties"]["component"][0]])).collect();
    assert_eq!(found, [json!(["5", "engine"]), json!(["6", "several"])]);
}
