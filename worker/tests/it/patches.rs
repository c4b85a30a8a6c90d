//! Patches of source stamps on real checkouts.

use crate::git::{commit, git};
use crate::master::{Master, project};
use crate::worker::Worker;
use std::path::{Path, PathBuf};
use tidemill_model::log::Channel;
use tidemill_model::{NewPatch, Patch, Results, SourceStamp};

/// Lets the master know a patch, and gives a stamp with it.
pub fn patched(master: &Master, id: i64, new: NewPatch, stamp: SourceStamp) -> SourceStamp {
    let patch = Patch {
        id,
        hash: new.hash(),
        level: new.level,
        subdir: new.subdir,
        author: new.author,
        comment: new.comment,
        size: new.body.len() as u64,
    };
    master.set(|m| {
        m.patches.insert(id, new.body);
    });
    SourceStamp { patch: Some(patch), ..stamp }
}

fn of(body: impl Into<Vec<u8>>) -> NewPatch {
    NewPatch { body: body.into(), level: 1, author: "ann".into(), ..NewPatch::default() }
}

struct Site {
    master: Master,
    worker: Worker,
    repo: tempfile::TempDir,
    next: std::cell::Cell<i64>,
}

impl Site {
    async fn new() -> Site {
        let repo = tempfile::tempdir().unwrap();
        git(repo.path(), &["init", "-q"]);
        let master = Master::start().await;
        let worker = Worker::start(&master, 1);
        Site { master, worker, repo, next: 1.into() }
    }

    fn path(&self) -> &Path {
        self.repo.path()
    }

    fn workdir(&self) -> PathBuf {
        self.worker.base.path().join("builds/b/build")
    }

    async fn build(&self, options: &str, new: Option<NewPatch>) -> (i64, Results) {
        let id = self.next.replace(self.next.get() + 1);
        let stamp = match new {
            Some(new) => patched(&self.master, id, new, SourceStamp::default()),
            None => SourceStamp::default(),
        };
        let step = format!("steps.Git(repourl = {:?}, {options})", self.path().display().to_string());
        let build = self.master.build_with(&project(&step), "b", vec![stamp]);
        (build, self.master.finished(build).await.0)
    }

    fn summary(&self, build: i64) -> String {
        self.master.with(build, |b| b.steps()[0].2.clone())
    }
}

/// What `git diff` says of everything in the tree, new files too; the tree is as before.
fn difference(repo: &Path) -> Vec<u8> {
    git(repo, &["add", "-A"]);
    let output = std::process::Command::new("git")
        .current_dir(repo)
        .args(["diff", "--binary", "--cached", "HEAD"])
        .output()
        .unwrap();
    git(repo, &["reset", "-q", "--hard"]);
    output.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_is_applied_with_new_and_binary_files_and_the_next_build_is_without_it() {
    let site = Site::new().await;
    std::fs::create_dir(site.path().join("sub")).unwrap();
    std::fs::write(site.path().join("sub/b"), "b\n").unwrap();
    let id = commit(site.path(), "a", "one\n");
    let blob: Vec<u8> = (0..=255).cycle().take(3000).collect();
    std::fs::write(site.path().join("a"), b"t\xffwo\n").unwrap();
    std::fs::write(site.path().join("blob"), &blob).unwrap();
    let patch = difference(site.path());
    for mode in ["", "mode = \"full\""] {
        let (build, results) = site.build(mode, Some(of(patch.clone()))).await;
        assert_eq!(results, Results::Success, "{}", site.summary(build));
        assert_eq!(std::fs::read(site.workdir().join("a")).unwrap(), b"t\xffwo\n");
        assert_eq!(std::fs::read(site.workdir().join("blob")).unwrap(), blob);
        site.master.with(build, |b| {
            assert_eq!(b.property("got_revision").unwrap(), id.as_str(), "the base");
            assert!(b.header(1).contains("applying the patch of ann"), "{}", b.header(1));
            assert_eq!(b.bytes(1, "patch", Channel::Stdout), patch);
        });
    }
    let (_, results) = site.build("", None).await;
    assert_eq!(results, Results::Success);
    assert_eq!(std::fs::read_to_string(site.workdir().join("a")).unwrap(), "one\n");
    assert!(!site.workdir().join("blob").exists(), "nothing of it is left");
    let left: Vec<_> = std::fs::read_dir(site.workdir().parent().unwrap()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");

    let of_folder = NewPatch { level: 0, subdir: "sub".into(), ..of("--- b\n+++ b\n@@ -1 +1 @@\n-b\n+c\n") };
    let (build, results) = site.build("", Some(of_folder)).await;
    assert_eq!(results, Results::Success, "{}", site.summary(build));
    assert_eq!(std::fs::read_to_string(site.workdir().join("sub/b")).unwrap(), "c\n");
    site.worker.end(&site.master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_patch_writes_outside_of_the_checkout_or_into_version_control() {
    let site = Site::new().await;
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), site.path().join("link")).unwrap();
    commit(site.path(), "a", "one\n");
    let new = |path: &str| {
        format!(
            "diff --git a/{path} b/{path}\nnew file mode 100644\nindex 0000000..257cc56\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+evil\n"
        )
    };
    let plain = |path: &str| format!("--- {path}\n+++ {path}\n@@ -0,0 +1 @@\n+evil\n");
    let through = format!(
        "diff --git a/way b/way\nnew file mode 120000\nindex 0000000..1\n--- /dev/null\n+++ b/way\n@@ -0,0 +1 @@\n+{}\n\\ No newline at end of file\n{}",
        outside.path().display(),
        new("way/evil")
    );
    let absolute = outside.path().join("evil").display().to_string();
    let renamed = "diff --git a/a b/../evil\nsimilarity index 100%\nrename from a\nrename to ../evil\n";
    // With the level at which it is refused; at the other one it may name something harmless.
    let hostile = [
        (1, new("../evil")),
        (1, new("x/../../evil")),
        (1, new("link/evil")),
        (1, new(".git/hooks/post-checkout")),
        (1, new("sub/.GIT/config")),
        (1, new(".hg/hgrc")),
        (1, through),
        (0, plain(&absolute)),
        (0, plain("../evil")),
        (1, renamed.into()),
        (1, "no patch at all\n".into()),
    ];
    for (refused, text) in hostile {
        for level in [0, 1] {
            let (build, results) = site.build("mode = \"full\"", Some(NewPatch { level, ..of(text.clone()) })).await;
            let base = site.worker.base.path();
            assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "{text}");
            assert!(!base.join("builds/b/evil").exists() && !base.join("builds/evil").exists(), "{text}");
            for inside in [".git/hooks/post-checkout", ".hg/hgrc", "sub/.GIT/config"] {
                assert!(!site.workdir().join(inside).exists(), "{text}");
            }
            if level == refused {
                assert_eq!(results, Results::Failure, "{text}: {}", site.summary(build));
            }
        }
    }
    for subdir in ["..", "/", ".git"] {
        let (_, results) = site.build("", Some(NewPatch { subdir: subdir.into(), ..of(new("x")) })).await;
        assert_eq!(results, Results::Failure, "{subdir}");
    }
    site.worker.end(&site.master).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_does_not_apply_fails_the_step_and_another_body_is_refused() {
    let site = Site::new().await;
    commit(site.path(), "a", "one\n");
    let stale = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-three\n+four\n";
    let (build, results) = site.build("", Some(of(stale))).await;
    assert_eq!(results, Results::Failure);
    assert!(site.summary(build).contains("the patch does not apply"), "{}", site.summary(build));
    assert_eq!(std::fs::read_to_string(site.workdir().join("a")).unwrap(), "one\n");

    std::fs::write(site.path().join("a"), "two\n").unwrap();
    std::fs::write(site.path().join("blob"), b"\0binary").unwrap();
    let whole = difference(site.path());
    let (build, results) = site.build("mode = \"full\"", Some(of(whole[..whole.len() - 8].to_vec()))).await;
    assert_eq!(results, Results::Failure, "a patch that is cut off: {}", site.summary(build));
    assert_eq!(std::fs::read_to_string(site.workdir().join("a")).unwrap(), "one\n", "all or nothing");

    let stamp = patched(&site.master, 99, of(stale), SourceStamp::default());
    site.master.set(|m| {
        m.patches.insert(99, b"something else".into());
    });
    let step = format!("steps.Git(repourl = {:?})", site.path().display().to_string());
    let build = site.master.build_with(&project(&step), "b", vec![stamp]);
    assert_eq!(site.master.finished(build).await.0, Results::Exception);
    assert!(site.master.with(build, |b| b.text(1, "err.text", Channel::Stdout)).contains("not the one of this build"));
    site.worker.end(&site.master).await;
}
