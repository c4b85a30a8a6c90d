//! Where the code of the examples' steps lives, and what another revision makes of it (C-100 to C-107).

use super::{Files, Origin, edited, files};
use serde_json::json;
use tidemill_tests::invariants;

impl Origin {
    /// What `tidemill reconfig --dry-run` says of these files.
    fn dry_run(&self, files: &Files) -> String {
        let folder = tempfile::tempdir_in(self.t.dir()).unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let (code, text) = self.cli(&["reconfig", "--dry-run", folder.path().to_str().unwrap()]);
        assert_eq!(code, Some(0), "{text}");
        text
    }

    /// The versions of all rows of builders.
    async fn builder_rows(&self) -> Vec<(String, String)> {
        sqlx::query_as("select name, concat_ws(' ', xmin, ctid) from builders order by name")
            .fetch_all(self.t.db.pool())
            .await
            .unwrap()
    }

    async fn revision(&self) -> i64 {
        self.t.api(self.m).get("config").await.unwrap()["revision"].as_i64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_timeout_changes_one_builder_and_a_running_build_keeps_its_revision() {
    let mut o = Origin::start().await;
    let go = o.t.dir().join("go");
    // It ends with the test's folder too, should the test fail.
    let wait = format!("while [ -d {} ] && [ ! -e {} ]; do sleep 0.05; done", o.t.dir().display(), go.display());
    o.t.stand_in("make", &wait);
    o.worker("w", 2).await;
    let old = files("c-105-reconfig");
    o.apply_files(old.clone()).await;
    let request = o.force("slow", json!({})).await;
    o.t.build_of(request, "running").await;
    let before = o.builder_rows().await;
    let first = o.revision().await;

    let new = edited(old, "TIMEOUT = 600", "TIMEOUT = 60");
    let said = o.dry_run(&new);
    let changed: Vec<_> = said.lines().filter(|l| l.contains("builder ")).collect();
    assert_eq!(changed, ["~ builder slow"], "{said}");
    assert!(said.contains("\n    step shell, timeout: 600 -> 60\n"), "{said}");
    o.apply_files(new).await;
    let after = o.builder_rows().await;
    assert_eq!((&after[0], after[0].0.as_str()), (&before[0], "quick"), "its row is not written");

    let next = o.force("slow", json!({})).await;
    o.t.build_of(next, "running").await;
    std::fs::write(&go, "").unwrap();
    let mut revisions = vec![];
    for (request, timeout) in [(request, 600), (next, 60)] {
        let built = o.built(request).await;
        assert_eq!(built.row["results"], 0);
        let header = o.with_headers(&built, "shell", "stdio").await;
        assert!(header.contains(&format!("(timeout {timeout} s)")), "its own time limit: {header}");
        let of: i64 = sqlx::query_scalar("select revision_id from builds where id = $1")
            .bind(built.id)
            .fetch_one(o.t.db.pool())
            .await
            .unwrap();
        revisions.push(of);
    }
    assert_eq!(revisions, [first, first + 1]);
    invariants::check(&o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_in_the_file_makes_no_builder_look_changed_and_an_edited_library_is_read_again() {
    let mut o = Origin::start().await;
    o.worker("w", 2).await;
    let name = "c-101-in-the-file";
    o.apply(name).await;
    let before = o.builder_rows().await;
    let moved = edited(files(name), "def _count", "# moved down\n\ndef _count");
    let said = o.dry_run(&moved);
    assert!(!said.contains("builder "), "{said}");
    o.apply_files(moved).await;
    assert_eq!(o.builder_rows().await, before, "C-102");
    let said = o.dry_run(&edited(files(name), "\"FNURRRGH!\"", "\"FNURRRGH\""));
    assert!(said.contains("~ builder whimsy") && !said.contains("builder plain"), "{said}");
    let built = o.build("whimsy").await;
    assert_eq!(built.step("Framboozle")["progress"], json!({ "tests": 2 }));

    let mut library = files("c-103-in-a-library");
    o.apply_files(library.clone()).await;
    let built = o.build("whimsy").await;
    assert_eq!(built.step("again")["progress"], json!({ "tests": 2 }));
    let text = library.get_mut("lib/framboozle.star").unwrap();
    *text = text.replace("[\"framboozler\"]", "[\"echo\", \"FNURRRGH!\", \"from the edited file\"]");
    o.apply_files(library).await;
    let built = o.build("whimsy").await;
    assert_eq!(built.log("Framboozle", "stdio"), "FNURRRGH! from the edited file\n");
    assert_eq!(built.step("Framboozle")["progress"], json!({ "tests": 1 }));
    invariants::check(&o.t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_taken_with_its_hash_and_refused_when_its_files_are_others() {
    let mut o = Origin::start().await;
    o.worker("w", 1).await;
    let mut package = files("c-107-package");
    o.apply_files(package.clone()).await;
    let built = o.build("whimsy").await;
    assert_eq!(built.step("Framboozle")["progress"], json!({ "tests": 2 }));
    let text = package.get_mut("packages/framboozle/steps.star").unwrap();
    *text = text.replace("FNURRRGH!", "FNURRRGH");
    let error = o.t.configure_files(o.m, &package).await.expect_err("it is not what the hash says");
    assert!(error.contains("422") && error.contains("are not those of version 1.2.0"), "{error}");
    assert_eq!(o.revision().await, 1, "the good one stays");
    assert_eq!(o.build("whimsy").await.row["results"], 0);
    invariants::check(&o.t.db).await;
}
