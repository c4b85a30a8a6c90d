//! `tidemill try` in working copies of Mercurial and Subversion: a file of each
//! kind of change comes to the builders as it is, and the copy stays as it was.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidemill_schema::tokens::{Scope, user_token_create_for};
use tidemill_tests::process::{outcome, program};
use tidemill_tests::{Cluster, invariants};

/// Runs a program that must succeed; what it said.
fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    command.current_dir(dir).env("HGRCPATH", "").env("HGPLAIN", "1").env("HGUSER", "Ada <ada@example.org>");
    let output = command.args(args).output().unwrap_or_else(|e| panic!("{program} is installed: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

const OLD: &[u8] = b"old\0\x01\xff";
const NEW: &[u8] = b"new\0\x02\xfe\r\n";

fn write(work: &Path, files: &[(&str, &[u8])]) {
    for (name, text) in files {
        let path = work.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// What is committed.
fn first(work: &Path) {
    let files: [(&str, &[u8]); 7] = [
        ("kept", b"kept\n"),
        ("modified", b"one\ntwo\nthree\n"),
        ("deleted", b"x\n"),
        ("folder/gone", b"x\n"),
        ("image", OLD),
        ("no image", OLD),
        ("at@2", b"at\n"),
    ];
    write(work, &files);
}

/// What is changed, but for what version control has to be told of.
fn changed(work: &Path) {
    let files: [(&str, &[u8]); 9] = [
        ("modified", "one\n2 \u{fc} <b>\nthree".as_bytes()),
        ("added", b"added\n"),
        ("added image", NEW),
        ("empty", b""),
        ("run", b"#!/bin/sh\necho it runs\n"),
        ("image", NEW),
        ("at@2", b"at two\n"),
        ("unknown/of nobody", b"unknown\n"),
        ("unknown/image", NEW),
    ];
    write(work, &files);
    std::fs::set_permissions(work.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The project's check: every file that there is, with its bytes.
const LOOK: &str = "find . -type f ! -path './.hg/*' ! -path './.svn/*' ! -name '.tidemill-*' | LC_ALL=C sort | \
                    while read -r f; do echo \"$f: $(od -An -v -tx1 \"$f\" | tr -d ' \\n')\"; done; ./run";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the check prints of [`changed`].
fn wanted(untracked: bool) -> String {
    let mut files: Vec<(&str, &[u8])> = vec![
        ("./added", b"added\n"),
        ("./added image", NEW),
        ("./at@2", b"at two\n"),
        ("./empty", b""),
        ("./image", NEW),
        ("./kept", b"kept\n"),
        ("./modified", "one\n2 \u{fc} <b>\nthree".as_bytes()),
        ("./run", b"#!/bin/sh\necho it runs\n"),
    ];
    if untracked {
        files.push(("./unknown/image", NEW));
        files.push(("./unknown/of nobody", b"unknown\n"));
    }
    let lines: Vec<String> = files.iter().map(|(name, bytes)| format!("{name}: {}\n", hex(bytes))).collect();
    lines.concat() + "it runs\n"
}

struct Site {
    t: Cluster,
    m: usize,
    token: String,
    work: PathBuf,
}

impl Site {
    /// `make` makes a repository and a working copy in a folder; the copy, and the step that checks out.
    async fn new(make: impl FnOnce(&Path) -> (PathBuf, String)) -> Site {
        let mut t = Cluster::start().await;
        let (work, checkout) = make(t.dir());
        let m = t.master().await;
        let text = format!(
            "c = {{}}\nf = util.BuildFactory([\n    {checkout},\n    \
             steps.ShellCommand(name = \"look\", command = [\"sh\", \"-c\", {LOOK:?}]),\n])\n\
             c[\"builders\"] = [util.BuilderConfig(name = \"check\", workernames = [\"*\"], factory = f)]\n\
             c[\"schedulers\"] = [schedulers.Try_Userpass(name = \"try\", builderNames = [\"check\"])]\n"
        );
        t.configure(m, &text).await;
        t.worker("w1", &t.master_url(m), 1).await;
        let token = user_token_create_for(&t.db, "ada", Scope::Try).await.unwrap();
        Site { t, m, token, work }
    }

    fn cli(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(program("tidemill"));
        command.args(args).current_dir(&self.work).env("TIDEMILL_MASTER", self.t.master_url(self.m));
        command.env("HGRCPATH", "").env("HGUSER", "Ada <ada@example.org>");
        outcome(command.env("TIDEMILL_TOKEN", &self.token).env("NO_COLOR", "1"))
    }

    /// The copy is tried without and with untracked files, and is left as it was.
    async fn tried(&self, status: &[&str]) {
        let before = run(&self.work, status[0], &status[1..]);
        for (build, untracked) in [(1, false), (2, true)] {
            let args = ["try", "--wait", "--untracked"];
            let (code, said) = self.cli(&args[..if untracked { 3 } else { 2 }]);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(said.contains("left out"), !untracked, "{said}");
            let log = self.t.log(self.m, build, 2, "stdio").await;
            let log = String::from_utf8_lossy(&log).into_owned();
            assert!(log.contains(&wanted(untracked)), "{log}\nis not\n{}", wanted(untracked));
        }
        assert_eq!(run(&self.work, status[0], &status[1..]), before, "the copy is as it was");
        invariants::check(&self.t.db).await;
    }

    /// The source stamp of the first try.
    async fn stamp(&self) -> serde_json::Value {
        self.t.api(self.m).list("buildsets/1/sourcestamps").await.unwrap().remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_mercurial_is_tried_with_local_commits_binaries_and_untracked_files() {
    let mut base = String::new();
    let site = Site::new(|dir| {
        let upstream = dir.join("upstream");
        run(dir, "hg", &["init", "upstream"]);
        first(&upstream);
        run(&upstream, "hg", &["commit", "-q", "--addremove", "-m", "first"]);
        base = run(&upstream, "hg", &["log", "-r", ".", "--template", "{node}"]);
        run(dir, "hg", &["clone", "-q", "upstream", "copy"]);
        let checkout = format!(
            "steps.Mercurial(repourl = {:?}, mode = \"full\", method = \"fresh\", branchType = \"inrepo\")",
            upstream.display().to_string()
        );
        (dir.join("copy"), checkout)
    })
    .await;
    changed(&site.work);
    std::fs::write(site.work.join("kept"), "not for long\n").unwrap();
    run(&site.work, "hg", &["add", "-q", "added", "added image", "empty", "run"]);
    run(&site.work, "hg", &["commit", "-q", "-m", "not pushed", "added", "kept"]);
    std::fs::write(site.work.join("kept"), "kept\n").unwrap();
    run(&site.work, "hg", &["remove", "-q", "deleted", "folder/gone", "no image"]);
    site.tried(&["hg", "status"]).await;
    let stamp = site.stamp().await;
    assert_eq!((stamp["revision"].as_str(), stamp["branch"].as_str()), (Some(base.as_str()), Some("default")));
    assert_eq!(stamp["patch"]["author"], "Ada <ada@example.org>");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_subversion_is_tried_with_binaries_empty_and_untracked_files() {
    let site = Site::new(|dir| {
        run(dir, "svnadmin", &["create", "r"]);
        let url = format!("file://{}/r", dir.display());
        run(dir, "svn", &["mkdir", "-q", "-m", "layout", &format!("{url}/trunk"), &format!("{url}/branches")]);
        run(dir, "svn", &["checkout", "-q", &format!("{url}/trunk"), "copy"]);
        let work = dir.join("copy");
        first(&work);
        run(&work, "svn", &["add", "-q", "--force", "."]);
        run(&work, "svn", &["commit", "-q", "-m", "first"]);
        run(&work, "svn", &["update", "-q"]);
        (work, format!("steps.SVN(repourl = \"{url}/trunk\", mode = \"full\", method = \"fresh\")"))
    })
    .await;
    changed(&site.work);
    run(&site.work, "svn", &["add", "-q", "added", "added image", "empty", "run"]);
    run(&site.work, "svn", &["remove", "-q", "deleted", "folder", "no image"]);
    site.tried(&["svn", "status"]).await;
    let stamp = site.stamp().await;
    assert_eq!((stamp["revision"].as_str(), &stamp["branch"]), (Some("2"), &serde_json::Value::Null));

    // A folder of the checkout alone, and what git makes of a replaced file.
    let (code, said) = site.cli(&["try", "--dryrun", "--untracked"]);
    assert_eq!(code, Some(0), "{said}");
    run(&site.work, "svn", &["revert", "-q", "-R", "."]);
    run(&site.work, "svn", &["remove", "-q", "modified"]);
    std::fs::write(site.work.join("modified"), "another\n").unwrap();
    run(&site.work, "svn", &["add", "-q", "modified"]);
    let (code, said) = site.cli(&["try", "--dryrun"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("-two\n") && said.contains("+another\n"), "{said}");
}
