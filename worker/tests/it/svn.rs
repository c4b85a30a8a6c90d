//! `steps.SVN` with the real svn and real repositories.

use crate::master::{Master, project};
use crate::patches::patched;
use crate::worker::Worker;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use tidemill_model::log::Channel;
use tidemill_model::{NewPatch, Results, SourceStamp};

/// Runs a program and gives what it prints.
fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).current_dir(dir).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

struct Site {
    master: Master,
    worker: Worker,
    dir: tempfile::TempDir,
}

impl Site {
    /// A repository with `trunk/a` in revision 1 and `branches/x/a` in revision 2.
    async fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), "svnadmin", &["create", "repo"]);
        let master = Master::start().await;
        let worker = Worker::start(&master, 1);
        let site = Site { master, worker, dir };
        run(site.dir.path(), "svn", &["checkout", "-q", &site.url(), "work"]);
        for folder in ["trunk", "branches"] {
            std::fs::create_dir_all(site.work().join(folder)).unwrap();
        }
        std::fs::write(site.work().join("trunk/a"), "one\n").unwrap();
        site.svn(&["add", "-q", "trunk", "branches"]);
        site.commit();
        site.svn(&["copy", "-q", "trunk", "branches/x"]);
        std::fs::write(site.work().join("branches/x/a"), "branch\n").unwrap();
        site.commit();
        site
    }

    fn url(&self) -> String {
        format!("file://{}/repo", self.dir.path().display())
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn svn(&self, args: &[&str]) -> String {
        run(&self.work(), "svn", args)
    }

    fn commit(&self) {
        self.svn(&["commit", "-q", "-m", "change"]);
        self.svn(&["update", "-q"]);
    }

    fn workdir(&self) -> PathBuf {
        self.worker.base.path().join("builds/b/build")
    }

    async fn build_of(&self, url: &str, options: &str, stamp: SourceStamp) -> (i64, Results) {
        let step = format!("steps.SVN(repourl = {url:?}, {options})");
        let build = self.master.build_with(&project(&step), "b", vec![stamp]);
        (build, self.master.finished(build).await.0)
    }

    async fn build(&self, options: &str, stamp: SourceStamp) -> (i64, Results) {
        self.build_of(&self.url(), &format!("defaultBranch = \"trunk\", {options}"), stamp).await
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
async fn the_folder_follows_the_source_stamp_from_build_to_build() {
    let site = Site::new().await;
    std::fs::write(site.work().join("trunk/a"), "three\n").unwrap();
    site.commit();
    for (stamp, revision, text) in [
        (SourceStamp::default(), "3", "three\n"),
        (at("1"), "1", "one\n"),
        (on("branches/x"), "3", "branch\n"),
        (SourceStamp { branch: Some("trunk".into()), ..at("2") }, "2", "one\n"),
        (SourceStamp::default(), "3", "three\n"),
    ] {
        let (build, results) = site.build("", stamp.clone()).await;
        assert_eq!(
            (results, site.got(build)),
            (Results::Success, revision.into()),
            "{stamp:?}: {}",
            site.header(build)
        );
        assert_eq!(site.read("a").as_deref(), Some(text));
    }
    let (build, _) = site.build("alwaysUseLatest = True, preferLastChangedRev = True", at("1")).await;
    assert_eq!(site.got(build), "3");
    let anywhere = format!("{}/%%BRANCH%%/", site.url());
    let (build, results) = site.build_of(&anywhere, "", on("branches/x")).await;
    assert_eq!((results, site.read("a").as_deref()), (Results::Success, Some("branch\n")), "{}", site.header(build));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_differ_in_what_they_leave() {
    let site = Site::new().await;
    site.svn(&["propset", "-q", "svn:ignore", "*.o", "trunk"]);
    site.commit();
    for (options, left) in [
        ("", ["a", "new", "x.o", "keep"].as_slice()),
        ("mode = \"full\", method = \"clean\"", &["a", "x.o"]),
        ("mode = \"full\", method = \"fresh\"", &["a"]),
        ("mode = \"full\", method = \"fresh\", keep_on_purge = [\"keep\"]", &["a", "keep"]),
        ("mode = \"full\", method = \"clobber\"", &["a"]),
        ("mode = \"full\", method = \"copy\"", &["a"]),
        ("mode = \"full\", method = \"export\"", &["a"]),
    ] {
        site.build("mode = \"full\", method = \"clobber\"", SourceStamp::default()).await;
        std::fs::write(site.workdir().join("x.o"), "").unwrap();
        std::fs::write(site.workdir().join("keep"), "").unwrap();
        std::fs::create_dir_all(site.workdir().join("new/sub")).unwrap();
        std::os::unix::fs::symlink(site.dir.path(), site.workdir().join("new/link")).unwrap();
        if options.contains("full") {
            std::fs::write(site.workdir().join("a"), "changed").unwrap();
        }
        let (build, results) = site.build(options, SourceStamp::default()).await;
        assert_eq!(results, Results::Success, "{options}: {}", site.header(build));
        assert_eq!((site.got(build), site.read("a").as_deref()), ("3".into(), Some("one\n")), "{options}");
        let mut names: Vec<String> = std::fs::read_dir(site.workdir())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n != ".svn")
            .collect();
        names.sort();
        let mut left = left.to_vec();
        left.sort();
        assert_eq!(names, left, "{options}");
        assert_eq!(site.workdir().join(".svn").exists(), !options.contains("export"), "{options}");
        assert!(site.dir.path().join("repo/format").exists(), "a link is removed, not followed");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_failure_and_what_svn_would_misread_an_exception() {
    let site = Site::new().await;
    site.build("", SourceStamp::default()).await;
    std::fs::write(site.workdir().join("keep"), "").unwrap();
    let (build, results) = site.build("retry = (0.01, 2)", at("99")).await;
    assert_eq!((results, site.got(build)), (Results::Failure, serde_json::Value::Null));
    assert_eq!(site.header(build).matches("trying again").count(), 2, "{}", site.header(build));
    let (_, results) = site.build("", on("branches/none")).await;
    assert_eq!(results, Results::Failure);
    for stamp in [on("--config-dir=/x"), on("../../x"), at("--force"), at("1:2")] {
        let (build, results) = site.build("", stamp.clone()).await;
        assert_eq!(results, Results::Exception, "{stamp:?}");
        assert!(site.master.with(build, |b| b.text(1, "err.text", Channel::Stdout)).contains("is not"));
    }
    for url in ["svn+evil://h/x", "--version", "svn://-oProxyCommand=x/y"] {
        assert_eq!(site.build_of(url, "", SourceStamp::default()).await.1, Results::Exception, "{url}");
    }
    let (_, results) =
        site.build("workdir = util.Interpolate(\"%(kw:x)s\", x = \"../../out\")", SourceStamp::default()).await;
    assert_eq!(results, Results::Exception);
    assert!(!site.worker.base.path().join("out").exists() && !site.worker.base.path().join("builds/out").exists());

    // A checkout that a killed svn left broken is made anew.
    site.build("", SourceStamp::default()).await;
    std::fs::write(site.workdir().join(".svn/wc.db"), "broken").unwrap();
    let (build, results) = site.build("", SourceStamp::default()).await;
    assert_eq!((results, site.read("a").as_deref()), (Results::Success, Some("one\n")), "{}", site.header(build));
    site.end().await;
}

/// Ends with the test.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_reaches_the_server_and_no_command_line() {
    let site = Site::new().await;
    let conf = site.dir.path().join("repo/conf");
    std::fs::write(
        conf.join("svnserve.conf"),
        "[general]\nanon-access = none\nauth-access = write\npassword-db = passwd\n",
    )
    .unwrap();
    std::fs::write(conf.join("passwd"), "[users]\nada = hunter2\n").unwrap();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let root = site.dir.path().display().to_string();
    let args = ["--daemon", "--foreground", "--listen-host", "127.0.0.1", "--root", &root];
    let _served =
        Served(Command::new("svnserve").args(args).args(["--listen-port", &port.to_string()]).spawn().unwrap());
    let url = format!("svn://127.0.0.1:{port}/repo/trunk");
    let login = "username = \"ada\", password = util.Secret(\"svn\")";
    site.master.set(|m| {
        m.secrets.insert("svn".into(), "hunter2".into());
    });
    // The server may not listen yet.
    let (build, results) = site.build_of(&url, &format!("{login}, retry = (0.1, 100)"), SourceStamp::default()).await;
    assert_eq!((results, site.read("a").as_deref()), (Results::Success, Some("one\n")), "{}", site.header(build));
    let header = site.header(build);
    assert!(header.contains("--username ada --password-from-stdin") && !header.contains("hunter2"), "{header}");
    let (build, results) = site.build_of(&url, "mode = \"full\", method = \"clobber\"", SourceStamp::default()).await;
    assert_eq!(results, Results::Failure, "nothing was kept of the login: {}", site.header(build));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_is_applied_and_the_next_build_is_without_it() {
    let site = Site::new().await;
    let trunk = site.work().join("trunk");
    std::fs::write(trunk.join("a"), "tried\n").unwrap();
    std::fs::write(trunk.join("new"), "new\n").unwrap();
    run(&trunk, "svn", &["add", "-q", "new"]);
    let body = run(&trunk, "svn", &["diff", "--internal-diff", "--patch-compatible"]) + "\n";
    let new = |body: &str| NewPatch { body: body.as_bytes().into(), author: "ada".into(), ..NewPatch::default() };
    for (id, options) in ["", "mode = \"full\", method = \"export\""].into_iter().enumerate() {
        let stamp = patched(&site.master, id as i64 + 1, new(&body), SourceStamp::default());
        let (build, results) = site.build(options, stamp).await;
        assert_eq!(results, Results::Success, "{}", site.header(build));
        assert_eq!((site.read("a").as_deref(), site.read("new").as_deref()), (Some("tried\n"), Some("new\n")));
        assert_eq!(site.got(build), "2");
        let (build, results) = site.build("", SourceStamp::default()).await;
        assert_eq!(results, Results::Success, "{}", site.header(build));
        assert_eq!((site.read("a").as_deref(), site.read("new")), (Some("one\n"), None));
    }
    let outside = tempfile::tempdir().unwrap();
    let link = format!(
        "diff --git a/way b/way\nnew file mode 120000\n--- /dev/null\n+++ b/way\n@@ -0,0 +1 @@\n+{}\n\\ No newline at end of file\n",
        outside.path().display()
    );
    let evil = |path: &str| format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+evil\n");
    for (n, body) in [format!("{link}{}", evil("way/evil")), evil("../evil"), evil(".svn/evil")].iter().enumerate() {
        let hostile = NewPatch { level: 1, ..new(body) };
        let stamp = patched(&site.master, n as i64 + 10, hostile, SourceStamp::default());
        let (build, results) = site.build("", stamp).await;
        assert_eq!(results, Results::Failure, "{body}: {}", site.header(build));
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        assert!(!site.workdir().join("../evil").exists() && !site.workdir().join(".svn/evil").exists());
    }
    site.end().await;
}
