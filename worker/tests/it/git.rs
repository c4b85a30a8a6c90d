//! `steps.Git` with the real git and real repositories.

use crate::master::{Master, project};
use crate::worker::Worker;
use std::path::Path;
use std::process::Command;
use tidemill_model::log::Channel;
use tidemill_model::{Results, SourceStamp};

/// Runs git in a folder and gives what it prints.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(["-c", "protocol.file.allow=always"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub fn commit(dir: &Path, file: &str, text: &str) -> String {
    std::fs::write(dir.join(file), text).unwrap();
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", text]);
    git(dir, &["rev-parse", "HEAD"])
}

struct Site {
    master: Master,
    worker: Worker,
    repo: tempfile::TempDir,
}

impl Site {
    async fn new() -> Site {
        let repo = tempfile::tempdir().unwrap();
        git(repo.path(), &["init", "-q"]);
        let master = Master::start().await;
        let worker = Worker::start(&master, 1);
        Site { master, worker, repo }
    }

    fn path(&self) -> &Path {
        self.repo.path()
    }

    fn workdir(&self) -> std::path::PathBuf {
        self.worker.base.path().join("builds/b/build")
    }

    async fn build(&self, options: &str, stamp: SourceStamp) -> (i64, Results) {
        let step = format!("steps.Git(repourl = {:?}, {options})", self.path().display().to_string());
        let build = self.master.build_with(&project(&step), "b", vec![stamp]);
        (build, self.master.finished(build).await.0)
    }

    fn got(&self, build: i64) -> serde_json::Value {
        self.master.with(build, |b| b.property("got_revision").unwrap_or_default())
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
    let first = commit(site.path(), "a", "one");
    let second = commit(site.path(), "a", "two");
    git(site.path(), &["checkout", "-q", "-b", "side/1"]);
    let side = commit(site.path(), "a", "side");
    git(site.path(), &["checkout", "-q", "main"]);
    for (stamp, id, text) in [
        (SourceStamp::default(), &second, "two"),
        (at(&first), &first, "one"),
        (on("side/1"), &side, "side"),
        (SourceStamp { branch: Some("main".into()), ..at(&second) }, &second, "two"),
        (at(&side[..10]), &side, "side"),
    ] {
        let (build, results) = site.build("", stamp.clone()).await;
        assert_eq!((results, site.got(build)), (Results::Success, id.as_str().into()), "{stamp:?}");
        assert_eq!(std::fs::read_to_string(site.workdir().join("a")).unwrap(), text);
    }
    let third = commit(site.path(), "a", "three");
    let (build, _) = site.build("alwaysUseLatest = True", at(&first)).await;
    assert_eq!(site.got(build), third.as_str());
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_differ_in_what_they_leave() {
    let site = Site::new().await;
    std::fs::write(site.path().join(".gitignore"), "*.o\n").unwrap();
    commit(site.path(), "a", "one");
    let litter = || {
        std::fs::write(site.workdir().join("x.o"), "").unwrap();
        std::fs::write(site.workdir().join("new"), "").unwrap();
        std::fs::create_dir_all(site.workdir().join("dir/sub")).unwrap();
        std::fs::write(site.workdir().join("a"), "changed").unwrap();
    };
    site.build("", SourceStamp::default()).await;
    for (mode, ignored, new) in [
        ("mode = \"incremental\"", true, true),
        ("mode = \"full\", method = \"clean\"", true, false),
        ("mode = \"full\", method = \"fresh\"", false, false),
        ("mode = \"full\", method = \"clobber\"", false, false),
    ] {
        litter();
        let (_, results) = site.build(mode, SourceStamp::default()).await;
        assert_eq!(results, Results::Success, "{mode}");
        let has = |name: &str| site.workdir().join(name).exists();
        assert_eq!((has("x.o"), has("new"), has("a")), (ignored, new, true), "{mode}");
        assert_eq!(std::fs::read_to_string(site.workdir().join("a")).unwrap(), "one", "{mode}");
    }
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_folder_is_made_usable_again() {
    let site = Site::new().await;
    commit(site.path(), "a", "one");
    site.build("", SourceStamp::default()).await;
    let git_dir = site.workdir().join(".git");
    // A git that was killed.
    std::fs::write(git_dir.join("index.lock"), "").unwrap();
    let id = commit(site.path(), "a", "two");
    let (build, results) = site.build("", SourceStamp::default()).await;
    assert_eq!((results, site.got(build)), (Results::Success, id.as_str().into()));
    // A disk that lost data.
    std::fs::write(git_dir.join("index"), "garbage").unwrap();
    std::fs::write(git_dir.join("HEAD"), "").unwrap();
    let id = commit(site.path(), "a", "three");
    let (build, results) = site.build("", SourceStamp::default()).await;
    let header = site.master.with(build, |b| b.header(1));
    assert_eq!((results, site.got(build)), (Results::Success, id.as_str().into()), "{header}");
    assert!(header.contains("making it anew"), "{header}");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_folder_gets_older_revisions_when_they_are_asked_for() {
    let site = Site::new().await;
    let first = commit(site.path(), "a", "one");
    for n in 2..6 {
        commit(site.path(), "a", &n.to_string());
    }
    // By path git would copy everything.
    let step = format!("steps.Git(repourl = \"file://{}\", shallow = True)", site.path().display());
    for (stamp, depth) in [(SourceStamp::default(), "1"), (at(&first), "1")] {
        let build = site.master.build_with(&project(&step), "b", vec![stamp]);
        assert_eq!(site.master.finished(build).await.0, Results::Success);
        assert_eq!(git(&site.workdir(), &["rev-list", "--count", "HEAD"]), depth);
    }
    assert_eq!(std::fs::read_to_string(site.workdir().join("a")).unwrap(), "one");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_are_brought_along() {
    let site = Site::new().await;
    let sub = tempfile::tempdir().unwrap();
    git(sub.path(), &["init", "-q"]);
    commit(sub.path(), "inside", "deep");
    git(site.path(), &["submodule", "add", "-q", &sub.path().display().to_string(), "sub"]);
    commit(site.path(), "a", "with a submodule");
    let (build, results) =
        site.build("submodules = True, mode = \"full\", method = \"fresh\"", SourceStamp::default()).await;
    assert_eq!(results, Results::Success, "{}", site.master.with(build, |b| b.text(1, "stdio", Channel::Stderr)));
    assert_eq!(std::fs::read_to_string(site.workdir().join("sub/inside")).unwrap(), "deep");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_a_failure_and_what_git_would_misread_an_exception() {
    let site = Site::new().await;
    let id = commit(site.path(), "a", "one");
    site.build("", SourceStamp::default()).await;
    std::fs::write(site.workdir().join("keep"), "").unwrap();
    let missing = "0123456789012345678901234567890123456789";
    for stamp in [on("nothing"), at(missing), at("v9")] {
        let (build, results) = site.build("retry = (0.01, 2)", stamp.clone()).await;
        assert_eq!(results, Results::Failure, "{stamp:?}");
        assert_eq!(site.got(build), serde_json::Value::Null);
    }
    assert!(site.workdir().join("keep").exists(), "a folder that is not to blame is kept");
    for stamp in [on("--upload-pack=touch x"), at("--all"), on("a:b")] {
        let (build, results) = site.build("", stamp.clone()).await;
        assert_eq!(results, Results::Exception, "{stamp:?}");
        assert!(site.master.with(build, |b| b.text(1, "err.text", Channel::Stdout)).contains("is not"));
    }
    let evil = site.master.build("steps.Git(repourl = \"ext::sh -c 'touch /tmp/pwned'\")");
    assert_eq!(site.master.finished(evil).await.0, Results::Exception);
    // A branch that is gone, at a revision that is known.
    let (build, results) = site.build("", SourceStamp { branch: Some("gone".into()), ..at(&id) }).await;
    assert_eq!((results, site.got(build)), (Results::Success, id.as_str().into()));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fetch_is_tried_again_and_a_stop_ends_the_waiting() {
    let site = Site::new().await;
    commit(site.path(), "a", "one");
    let away = site.path().with_extension("away");
    std::fs::rename(site.path(), &away).unwrap();
    let step = format!("steps.Git(repourl = {:?}, retry = (0.05, 1000))", site.path().display().to_string());
    let build = site.master.build_with(&project(&step), "b", vec![SourceStamp::default()]);
    site.master
        .until("a second try", |m| {
            let record = m.builds.get(&build)?;
            record.header(1).contains("trying again").then_some(())
        })
        .await;
    std::fs::rename(&away, site.path()).unwrap();
    assert_eq!(site.master.finished(build).await.0, Results::Success);

    std::fs::rename(site.path(), &away).unwrap();
    let step = format!("steps.Git(repourl = {:?}, retry = (1000, 3))", site.path().display().to_string());
    let build = site.master.build_with(&project(&step), "b", vec![SourceStamp::default()]);
    site.master
        .until("a wait", |m| m.builds.get(&build)?.header(1).contains("trying again in 1000 s").then_some(()))
        .await;
    site.master.stop(build, Results::Cancelled);
    assert_eq!(site.master.finished(build).await.0, Results::Cancelled);
    std::fs::rename(&away, site.path()).unwrap();
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codebases_have_each_their_revision() {
    let site = Site::new().await;
    let id = commit(site.path(), "a", "one");
    let url = site.path().display().to_string();
    let step = |name: &str| format!("steps.Git(repourl = {url:?}, codebase = {name:?}, workdir = {name:?})");
    let stamps = ["x", "y"].map(|c| SourceStamp { codebase: c.into(), ..Default::default() });
    let build = site.master.build_with(&project(&format!("{}, {}", step("x"), step("y"))), "b", stamps.to_vec());
    assert_eq!(site.master.finished(build).await.0, Results::Success);
    assert_eq!(site.got(build), serde_json::json!({"x": id, "y": id}));
    site.end().await;
}

/// How often somebody logged in, and arguments of processes with the password.
type Seen = std::sync::Arc<std::sync::Mutex<(u32, Vec<String>)>>;

/// Answers everybody who logs in with 404, and others with a question; looks at
/// the arguments of all processes meanwhile. Gives its port, and what it saw.
fn asks_who_it_is(password: &'static str) -> (u16, Seen) {
    use std::io::{BufRead, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let there = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let lines: Vec<String> =
                std::io::BufReader::new(&stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            let mut seen = there.lock().unwrap();
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            let arguments = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
            let arguments = arguments.map(|a| String::from_utf8_lossy(&a).into_owned());
            seen.1.extend(arguments.filter(|a| a.contains(password)));
            let known = lines.iter().any(|l| l.to_ascii_lowercase().starts_with("authorization: basic "));
            seen.0 += u32::from(known);
            let head = match known {
                true => "404 Not Found",
                false => "401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"",
            };
            let _ = write!(&stream, "HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (port, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_reaches_the_server_and_neither_a_process_list_nor_the_clone() {
    let site = Site::new().await;
    let (port, seen) = asks_who_it_is("hunt3r2");
    let step = format!("steps.Git(repourl = \"http://me:hunt3r2@127.0.0.1:{port}/x\")");
    let build = site.master.build_with(&project(&step), "b", vec![SourceStamp::default()]);
    assert_eq!(site.master.finished(build).await.0, Results::Failure);
    let (logins, arguments) = seen.lock().unwrap().clone();
    assert!(logins > 0, "{}", site.master.with(build, |b| b.header(1)));
    assert_eq!(arguments, Vec::<String>::new());
    let config = std::fs::read_to_string(site.workdir().join(".git/config")).unwrap();
    assert!(!config.contains("hunt3r2"), "{config}");
    site.master.with(build, |b| assert!(!format!("{:?}", b.events()).contains("hunt3r2")));
    let left = std::fs::read_dir(site.workdir().parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "the login is not kept");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outsiders_build_is_of_its_revision_whatever_the_step_prefers() {
    let site = Site::new().await;
    let approved = commit(site.path(), "a", "looked at");
    commit(site.path(), "a", "pushed later");
    site.master.set(|m| m.outsiders = true);
    let (build, results) = site.build("alwaysUseLatest = True", at(&approved)).await;
    assert_eq!((results, site.got(build)), (Results::Success, approved.as_str().into()));
    site.end().await;
}
