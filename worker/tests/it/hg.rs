//! `steps.Mercurial` with the real hg and real repositories.

use crate::master::{Master, project};
use crate::patches::patched;
use crate::worker::Worker;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidemill_model::log::Channel;
use tidemill_model::{NewPatch, Results, SourceStamp};

fn hg(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("hg");
    command.current_dir(dir).env("HGRCPATH", "").env("HGPLAIN", "1").env("HGUSER", "ada").args(args);
    let output = command.output().unwrap();
    assert!(output.status.success(), "hg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

struct Site {
    master: Master,
    worker: Worker,
    repo: tempfile::TempDir,
}

impl Site {
    async fn new() -> Site {
        let repo = tempfile::tempdir().unwrap();
        hg(repo.path(), &["init"]);
        let master = Master::start().await;
        let worker = Worker::start(&master, 1);
        Site { master, worker, repo }
    }

    fn commit(&self, text: &str) -> String {
        std::fs::write(self.repo.path().join("a"), text).unwrap();
        hg(self.repo.path(), &["commit", "--addremove", "-q", "-m", text]);
        hg(self.repo.path(), &["log", "-r", ".", "--template", "{node}"])
    }

    fn workdir(&self) -> PathBuf {
        self.worker.base.path().join("builds/b/build")
    }

    async fn build_of(&self, url: &str, options: &str, stamp: SourceStamp) -> (i64, Results) {
        let step = format!("steps.Mercurial(repourl = {url:?}, {options})");
        let build = self.master.build_with(&project(&step), "b", vec![stamp]);
        (build, self.master.finished(build).await.0)
    }

    async fn build(&self, options: &str, stamp: SourceStamp) -> (i64, Results) {
        self.build_of(&self.repo.path().display().to_string(), options, stamp).await
    }

    fn got(&self, build: i64) -> serde_json::Value {
        self.master.with(build, |b| b.property("got_revision").unwrap_or_default())
    }

    fn header(&self, build: i64) -> String {
        self.master.with(build, |b| b.header(1))
    }

    fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.workdir().join(file)).ok()
    }

    async fn end(self) {
        self.worker.end(&self.master).await;
    }
}

fn at(revision: &str) -> SourceStamp {
    SourceStamp { revision: Some(revision.into()), ..Default::default() }
}

fn on(branch: &str) -> SourceStamp {
    SourceStamp { branch: Some(branch.into()), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_follows_the_source_stamp_and_a_new_branch_is_cloned_anew() {
    let site = Site::new().await;
    let first = site.commit("one");
    let second = site.commit("two");
    hg(site.repo.path(), &["branch", "-q", "side"]);
    let side = site.commit("side");
    hg(site.repo.path(), &["update", "-q", "default"]);
    for (stamp, id, text) in [
        (SourceStamp::default(), &second, "two"),
        (at(&first), &first, "one"),
        (at(&first[..12]), &first, "one"),
        (on("side"), &side, "side"),
        (SourceStamp { branch: Some("default".into()), ..at(&second) }, &second, "two"),
    ] {
        let (build, results) = site.build("", stamp.clone()).await;
        assert_eq!(
            (results, site.got(build)),
            (Results::Success, id.as_str().into()),
            "{stamp:?}: {}",
            site.header(build)
        );
        assert_eq!(site.read("a").as_deref(), Some(text));
    }
    std::fs::write(site.workdir().join("litter"), "").unwrap();
    let (build, _) = site.build("clobberOnBranchChange = False", on("side")).await;
    assert_eq!((site.got(build), site.workdir().join("litter").exists()), (side.as_str().into(), true));
    let (_, results) = site.build("", SourceStamp::default()).await;
    assert_eq!((results, site.workdir().join("litter").exists()), (Results::Success, false));
    let third = site.commit("three");
    let (build, _) = site.build("alwaysUseLatest = True", at(&first)).await;
    assert_eq!(site.got(build), third.as_str());

    // A folder for each branch.
    let (above, name) = (site.repo.path().parent().unwrap(), site.repo.path().file_name().unwrap());
    let (build, results) = site
        .build_of(
            &above.display().to_string(),
            "branchType = \"dirname\", codebase = \"x\"",
            SourceStamp { codebase: "x".into(), ..on(&name.to_string_lossy().replace('%', "")) },
        )
        .await;
    assert_eq!(
        (results, site.got(build)),
        (Results::Success, serde_json::json!({ "x": third })),
        "{}",
        site.header(build)
    );
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_differ_in_what_they_leave_and_a_patch_is_gone_in_the_next_build() {
    let site = Site::new().await;
    std::fs::write(site.repo.path().join(".hgignore"), "syntax: glob\n*.o\n").unwrap();
    let id = site.commit("one\n");
    for (options, left) in [
        ("", [".hgignore", "a", "new", "x.o"].as_slice()),
        ("mode = \"full\", method = \"clean\"", &[".hgignore", "a", "x.o"]),
        ("mode = \"full\", method = \"fresh\"", &[".hgignore", "a"]),
        ("mode = \"full\", method = \"clobber\"", &[".hgignore", "a"]),
    ] {
        site.build("mode = \"full\", method = \"clobber\"", SourceStamp::default()).await;
        std::fs::write(site.workdir().join("x.o"), "").unwrap();
        std::fs::write(site.workdir().join("new"), "").unwrap();
        std::fs::write(site.workdir().join("a"), "changed").unwrap();
        let (build, results) = site.build(options, SourceStamp::default()).await;
        assert_eq!((results, site.read("a").as_deref()), (Results::Success, Some("one\n")), "{}", site.header(build));
        let names = std::fs::read_dir(site.workdir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| n != ".hg").collect();
        names.sort();
        assert_eq!(names, left, "{options}");
    }
    std::fs::write(site.repo.path().join("a"), "tried\n").unwrap();
    std::fs::write(site.repo.path().join("new"), b"\0bin").unwrap();
    hg(site.repo.path(), &["add", "-q", "new"]);
    // A blank line ends a binary file.
    let body = hg(site.repo.path(), &["diff", "--git"]) + "\n\n";
    let new = NewPatch { body: body.into(), level: 1, ..NewPatch::default() };
    let stamp = patched(&site.master, 1, new, SourceStamp::default());
    let (build, results) = site.build("", stamp).await;
    assert_eq!((results, site.got(build)), (Results::Success, id.as_str().into()), "{}", site.header(build));
    let applied = (site.read("a"), site.read("new"));
    assert_eq!(applied, (Some("tried\n".into()), Some("\0bin".into())), "{}", site.header(build));
    let (build, results) = site.build("", SourceStamp::default()).await;
    assert_eq!(results, Results::Success, "{}", site.header(build));
    assert_eq!((site.read("a").as_deref(), site.read("new")), (Some("one\n"), None));
    let hook = "--- /dev/null\n+++ b/.hg/hgrc\n@@ -0,0 +1 @@\n+[hooks]\n";
    let hostile = NewPatch { body: hook.into(), level: 1, ..NewPatch::default() };
    let before = site.read(".hg/hgrc");
    let (_, results) = site.build("", patched(&site.master, 2, hostile, SourceStamp::default())).await;
    assert_eq!((results, site.read(".hg/hgrc")), (Results::Failure, before));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_failure_and_what_hg_would_misread_an_exception() {
    let site = Site::new().await;
    site.commit("one");
    site.build("", SourceStamp::default()).await;
    std::fs::write(site.workdir().join("keep"), "").unwrap();
    for stamp in [at("0123456789ab0123456789ab0123456789ab0123"), at("v9")] {
        let (build, results) = site.build("", stamp.clone()).await;
        assert_eq!((results, site.got(build)), (Results::Failure, serde_json::Value::Null), "{stamp:?}");
    }
    assert!(site.workdir().join("keep").exists(), "a folder that is not to blame is kept");
    for stamp in [on("--config=x"), at("--all"), at("last(all())")] {
        let (build, results) = site.build("", stamp.clone()).await;
        assert_eq!(results, Results::Exception, "{stamp:?}");
        assert!(site.master.with(build, |b| b.text(1, "err.text", Channel::Stdout)).contains("is not"));
    }
    for url in ["--config=alias.clone=!touch pwned", "evil://h/x", "bundle:x", "ssh://-oProxyCommand=x/y"] {
        assert_eq!(site.build_of(url, "", SourceStamp::default()).await.1, Results::Exception, "{url}");
    }
    let (build, results) = site.build_of("https://me:hunter2@127.0.0.1:1/x", "", SourceStamp::default()).await;
    assert_eq!(results, Results::Failure);
    assert!(!site.header(build).contains("hunter2"), "{}", site.header(build));
    let left = std::fs::read_dir(site.worker.base.path().join("builds/b")).unwrap().count();
    assert_eq!(left, 1, "the login is not kept");
    // A clone that was left broken is made anew.
    site.build("", SourceStamp::default()).await;
    std::fs::write(site.workdir().join(".hg/requires"), "nonsense\n").unwrap();
    let (build, results) = site.build("", SourceStamp::default()).await;
    assert_eq!(results, Results::Success, "{}", site.header(build));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_patch_brings_a_file_from_outside_of_the_checkout() {
    let site = Site::new().await;
    site.commit("one");
    let outside = site.worker.base.path().join("key");
    std::fs::write(&outside, "hunter2\n").unwrap();
    let absolute = outside.display().to_string();
    for (id, from) in ["../../../key", &absolute, ".hg/hgrc", "\"../../\\056./key\""].into_iter().enumerate() {
        for how in ["copy", "rename"] {
            let body = format!("diff --git a/x b/leak\nsimilarity index 100%\n{how} from {from}\n{how} to leak\n");
            let new = NewPatch { body: body.clone().into(), level: 1, ..NewPatch::default() };
            let stamp = patched(&site.master, id as i64 + 1, new, SourceStamp::default());
            let (build, results) = site.build("mode = \"full\", method = \"fresh\"", stamp).await;
            assert_eq!(results, Results::Failure, "{body}: {}", site.header(build));
            assert!(!site.workdir().join("leak").exists() && outside.exists(), "{body}");
        }
    }
    site.end().await;
}
