//! Pollers of real repositories on two masters, of which the one that polls dies.

use crate::project;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tidemill_tests::cluster::free_port;
use tidemill_tests::wait::wait_for;
use tidemill_tests::{Cluster, invariants, wait_until};

/// A lease of a poll is 30 s.
const TAKEN_OVER: Duration = Duration::from_secs(180);

fn run(program: &str, dir: &Path, args: &[&str]) {
    let said = Command::new(program).current_dir(dir).args(args).output().expect("Subversion is installed");
    assert!(said.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&said.stderr));
}

/// A server of Subversion that can be made to keep still.
struct Svnserve(std::process::Child);

impl Svnserve {
    fn signal(&self, name: &str) {
        run("kill", Path::new("/"), &[name, &self.0.id().to_string()]);
    }
}

impl Drop for Svnserve {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_of_subversion_become_changes_once_though_masters_are_killed() {
    let mut t = Cluster::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = format!("file://{}/r", dir.path().display());
    run("svnadmin", dir.path(), &["create", "r"]);
    run(
        "svn",
        dir.path(),
        &["mkdir", "--quiet", "-m", "layout", &format!("{file}/trunk"), &format!("{file}/branches")],
    );
    let port = free_port();
    let server = Command::new("svnserve")
        .args(["--daemon", "--foreground", "--threads", "--listen-host=127.0.0.1"])
        .arg(format!("--listen-port={port}"))
        .arg("--root")
        .arg(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .expect("Subversion is installed");
    let server = Svnserve(server);
    let (a, b) = (t.master().await, t.master().await);
    let text = project::ticking(0)
        + &format!(
            "\nc[\"change_source\"] = changes.SVNPoller(\"svn://127.0.0.1:{port}/r\", name = \"svn\", pollInterval = 0.1, \
             histmax = 2, split_file = util.svn.split_file_branches)\n"
        );
    t.configure(a, &text).await;
    let seen = async |wanted: &'static str| {
        wait_until("the source to have polled", || async {
            let last: Option<String> =
                sqlx::query_scalar("select cursor ->> 'last' from change_sources where name = 'svn'")
                    .fetch_one(t.db.pool())
                    .await
                    .map_err(|e| e.to_string())?;
            if last.as_deref() == Some(wanted) { Ok(()) } else { Err(format!("{last:?}")) }
        })
        .await;
    };
    seen("1").await;

    // A poll that hangs is held by one of the two, which dies then.
    server.signal("-STOP");
    let mkdir = |name: &str| run("svn", dir.path(), &["mkdir", "--quiet", "-m", name, &format!("{file}/{name}")]);
    for name in ["trunk/a", "trunk/b", "branches/x", "branches/x/c", "trunk/d"] {
        mkdir(name);
    }
    let holder = wait_until("a poll that hangs", || async {
        let held: Option<i64> = sqlx::query_scalar(
            "select holder from change_sources where polled_at < tidemill_now() - interval '2 seconds' and held_until > tidemill_now()",
        )
        .fetch_optional(t.db.pool())
        .await
        .map_err(|e| e.to_string())?
        .flatten();
        held.ok_or("none".to_owned())
    })
    .await;
    let names: Vec<i64> =
        sqlx::query_scalar("select id from masters order by id").fetch_all(t.db.pool()).await.unwrap();
    let dies = if names[0] == holder { a } else { b };
    t.masters[dies].process.kill9();
    server.signal("-CONT");

    let stored = "select comments from changes order by id";
    wait_for(TAKEN_OVER, "the other master to go on", || async {
        let found: Vec<String> = sqlx::query_scalar(stored).fetch_all(t.db.pool()).await.map_err(|e| e.to_string())?;
        if found.len() >= 4 { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    seen("6").await;
    let found: Vec<String> = sqlx::query_scalar(stored).fetch_all(t.db.pool()).await.unwrap();
    assert_eq!(found, ["trunk/a", "trunk/b", "branches/x", "branches/x/c", "trunk/d"], "each once, in order");

    // People see how it goes, and ask for a look now.
    let lives = if dies == a { b } else { a };
    let api = t.api(lives);
    let polled = api.post("changesources/svn/poll", serde_json::json!({})).await.unwrap();
    assert_eq!(polled["polling"], serde_json::json!(["svn"]));
    assert!(api.post("changesources/none/poll", serde_json::json!({})).await.is_err());
    let source = &api.list("changesources").await.unwrap()[0];
    assert_eq!((&source["kind"], &source["errors"]), (&serde_json::json!("SVNPoller"), &serde_json::json!(0)));
    assert!(source["good_at"].is_number() && source["next_at"].is_number() && source["seen"]["last"] == 6, "{source}");
    let page = reqwest::get(format!("{}/changesources", t.master_url(lives))).await.unwrap().text().await.unwrap();
    assert!(page.contains("SVNPoller") && page.contains("good"), "{page}");
    invariants::check(&t.db).await;
}
