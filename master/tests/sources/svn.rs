//! The Subversion poller against real repositories and a real server.

use crate::eventually::eventually;
use crate::{Source, run};
use serde_json::json;
use std::path::{Path, PathBuf};
use tidemill_master::pollers::Found;
use tidemill_model::NewChange;
use tidemill_service::secrets::Secrets;

struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    fn new(folders: &[&str]) -> Repository {
        let dir = tempfile::tempdir().unwrap();
        run("svnadmin", dir.path(), &["create", "r"]);
        let this = Repository { dir };
        let urls: Vec<String> = folders.iter().map(|f| format!("{}/{f}", this.url())).collect();
        let mut args = vec!["mkdir", "--quiet", "--parents", "--username", "ada", "-m", "layout"];
        args.extend(urls.iter().map(String::as_str));
        run("svn", this.dir.path(), &args);
        run("svn", this.dir.path(), &["checkout", "--quiet", &this.url(), "work"]);
        this
    }

    fn url(&self) -> String {
        format!("file://{}", self.dir.path().join("r").display())
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// Writes these files and commits them as one revision.
    fn commit(&self, files: &[&str], message: &str) {
        for file in files {
            let path = self.work().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, message).unwrap();
        }
        self.svn(&["add", "--quiet", "--force", "."]);
        self.svn(&["commit", "--quiet", "--username", "ada", "-m", message]);
        self.svn(&["update", "--quiet"]);
    }

    fn svn(&self, args: &[&str]) -> String {
        run("svn", &self.work(), args)
    }
}

/// (project, branch, files)
fn shape(change: &NewChange) -> (&str, Option<&str>, Vec<&str>) {
    (&change.project, change.branch.as_deref(), change.files.iter().map(String::as_str).collect())
}

async fn begun(source: &Source) -> Found {
    let first = source.poll(None).await;
    assert!(first.changes.is_empty() && !first.more, "the first poll only records where it begins");
    first
}

#[tokio::test]
async fn a_trunk_alone_gives_changes_of_the_default_branch() {
    let repo = Repository::new(&["trunk"]);
    let source = Source::of(
        "",
        &format!(
            "changes.SVNPoller(\"{}/trunk\", project = \"amanda\", category = \"c\", revlinktmpl = \"https://example.org/r%s\")",
            repo.url()
        ),
    );
    let first = begun(&source).await;
    repo.commit(&["trunk/common-src/a@b.c"], "one <b>\nmore");
    repo.commit(&["elsewhere"], "outside of what is watched");
    let found = source.poll(Some(first.cursor)).await;
    let [change] = found.changes.as_slice() else { panic!("{:?}", found.changes) };
    assert_eq!(shape(change), ("amanda", None, vec!["common-src", "common-src/a@b.c"]));
    assert_eq!((change.comments.as_str(), change.revision.as_deref()), ("one <b>\nmore", Some("2")));
    assert_eq!((change.author.as_str(), change.category.as_deref()), ("ada", Some("c")));
    assert_eq!(change.revlink.as_deref(), Some("https://example.org/r2"));
    assert_eq!(change.repository, format!("{}/trunk", repo.url()));
    assert!(change.when.is_some());
    assert_eq!(source.poll(Some(found.cursor.clone())).await, Found { changes: vec![], ..found });
}

#[tokio::test]
async fn a_splitter_tells_branches_apart_and_a_removed_branch_is_no_change() {
    let repo = Repository::new(&["trunk", "branches"]);
    let source =
        Source::of("", &format!("changes.SVNPoller({:?}, split_file = util.svn.split_file_branches)", repo.url()));
    let first = begun(&source).await;
    repo.commit(&["trunk/a"], "on trunk");
    repo.svn(&["copy", "--quiet", "trunk", "branches/3_3"]);
    repo.commit(&[], "a branch");
    // One revision on both.
    repo.commit(&["trunk/b", "branches/3_3/b"], "on both");
    repo.svn(&["rm", "--quiet", "branches/3_3"]);
    repo.commit(&[], "removed");
    let found = source.poll(Some(first.cursor)).await;
    let shapes: Vec<_> = found.changes.iter().map(|c| (c.comments.as_str(), shape(c))).collect();
    assert_eq!(
        shapes,
        [
            ("on trunk", ("", None, vec!["a"])),
            ("a branch", ("", Some("branches/3_3"), vec![""])),
            ("on both", ("", Some("branches/3_3"), vec!["b"])),
            ("on both", ("", None, vec!["b"])),
        ]
    );
}

#[tokio::test]
async fn a_splitter_of_the_project_picks_projects_in_branches_first_layouts() {
    // C-23 to C-25.
    let repo = Repository::new(&["trunk/Nevow", "trunk/Quotient", "branches/1.5.x/Nevow"]);
    let splitter = "
def my_file_splitter(path):
    parts = path.split(\"/\")
    if parts[0] == \"trunk\":
        branch, parts = None, parts[1:]
    elif parts[0] == \"branches\" and len(parts) > 1:
        branch, parts = \"branches/\" + parts[1], parts[2:]
    else:
        return None
    if not parts or parts[0] not in [\"Nevow\", \"Quotient\"]:
        return None
    return {\"project\": parts[0], \"branch\": branch, \"path\": \"/\".join(parts[1:])}
";
    let source = Source::of(splitter, &format!("changes.SVNPoller({:?}, split_file = my_file_splitter)", repo.url()));
    let first = begun(&source).await;
    repo.commit(&["trunk/Nevow/a", "trunk/Quotient/b", "branches/1.5.x/Nevow/c", "README"], "all");
    let found = source.poll(Some(first.cursor)).await;
    let mut shapes: Vec<_> = found.changes.iter().map(shape).collect();
    shapes.sort();
    assert_eq!(
        shapes,
        [("Nevow", None, vec!["a"]), ("Nevow", Some("branches/1.5.x"), vec!["c"]), ("Quotient", None, vec!["b"]),]
    );
}

#[tokio::test]
async fn many_revisions_come_in_pages_of_histmax() {
    let repo = Repository::new(&["trunk"]);
    let source = Source::of("", &format!("changes.SVNPoller({:?}, histmax = 2)", repo.url()));
    let mut found = begun(&source).await;
    for i in 0..5 {
        repo.commit(&["trunk/a"], &format!("{i}"));
    }
    let mut pages = Vec::new();
    loop {
        found = source.poll(Some(found.cursor)).await;
        pages.push(found.changes.iter().map(|c| c.comments.clone()).collect::<Vec<_>>().join(""));
        if !found.more {
            break;
        }
    }
    assert_eq!(pages, ["01", "23", "4"]);
    assert_eq!(found.cursor, json!({ "last": 6 }));
}

#[tokio::test]
async fn a_server_with_a_password_is_asked_with_it_and_no_error_shows_it() {
    let repo = Repository::new(&["trunk"]);
    let conf = repo.dir.path().join("r/conf");
    std::fs::write(
        conf.join("svnserve.conf"),
        "[general]\nanon-access = none\nauth-access = read\npassword-db = passwd\nrealm = x\n",
    )
    .unwrap();
    std::fs::write(conf.join("passwd"), "[users]\nci = ge heim\n").unwrap();
    let port = free_port();
    let server = std::process::Command::new("svnserve")
        .args(["--daemon", "--foreground", "--listen-host=127.0.0.1", &format!("--listen-port={port}"), "--root"])
        .arg(repo.dir.path())
        .spawn()
        .unwrap();
    let _server = Ended(server);
    until_listens(port).await;
    let secrets = tempfile::tempdir().unwrap();
    put(secrets.path(), "svn", "ge heim\n");
    put(secrets.path(), "wrong", "not this\n");
    let with = |secret: &str| {
        let mut source = Source::of(
            "",
            &format!(
                "changes.SVNPoller(\"svn://127.0.0.1:{port}/r\", svnuser = \"ci\", svnpasswd = util.Secret(\"{secret}\"))"
            ),
        );
        source.secrets = Secrets::new(Some(secrets.path().into()));
        source
    };
    let source = with("svn");
    let first = begun(&source).await;
    repo.commit(&["trunk/a"], "over the net");
    let found = source.poll(Some(first.cursor)).await;
    assert_eq!(found.changes[0].comments, "over the net");
    let error = with("wrong").ask(None).await.unwrap_err().to_string();
    assert!(error.contains("svn info failed") && !error.contains("not this"), "{error}");
}

#[tokio::test]
async fn what_could_run_something_else_is_refused() {
    let ask = async |args: &str| {
        Source::of("", &format!("changes.SVNPoller({args})")).ask(None).await.unwrap_err().to_string()
    };
    for url in ["svn+sh://x/y", "--config-option=x", "/srv/x", "svn+ssh://-oProxyCommand=x/y", "ext::x"] {
        let error = ask(&format!("{url:?}")).await;
        assert!(error.contains('`'), "{url}: {error}");
    }
    let error = ask("\"svn://127.0.0.1/x\", extra_args = [\"--config-option=config:tunnels:x=sh\"]").await;
    assert!(error.contains("extra_args"), "{error}");
}

#[tokio::test]
async fn a_mirror_that_lags_behind_repeats_nothing() {
    let repo = Repository::new(&["trunk"]);
    let source = Source::of("", &format!("changes.SVNPoller(\"{}\")", repo.url()));
    let error = source.ask(Some(json!({ "last": 5 }))).await.unwrap_err().to_string();
    assert!(error.contains("r5 was seen before"), "{error}");
    assert!(source.poll(Some(json!({ "last": 1 }))).await.changes.is_empty());
}

fn put(dir: &Path, name: &str, value: &str) {
    std::fs::write(dir.join(name), value).unwrap();
    run("chmod", dir, &["600", name]);
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn until_listens(port: u16) {
    eventually("svnserve to listen", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
}

struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
