//! The hook scripts of examples/hooks, run by a real git and a real Subversion.

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidemill_schema::tokens;
use tidemill_tests::process::{installed, program};
use tidemill_tests::{Cluster, Repository, invariants};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/hooks").join(name)
}

/// The script as a server has it, and the file of a user's token.
async fn install(t: &Cluster, name: &str, to: &Path) -> PathBuf {
    std::fs::copy(example(name), to).unwrap();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755)).unwrap();
    let token = t.dir().join("hook token");
    std::fs::write(&token, tokens::user_token_create(&t.db, "hook").await.unwrap()).unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).unwrap();
    token
}

async fn changes(t: &Cluster) -> Vec<Value> {
    t.api(0).list("changes?order=changeid").await.unwrap()
}

fn facts(change: &Value) -> Value {
    json!([change["branch"], change["category"], change["files"], change["comments"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_to_a_bare_repository_is_announced_by_its_post_receive_hook() {
    let mut t = Cluster::start().await;
    let repo = Repository::create(t.dir());
    let m = t.master().await;
    let bare = PathBuf::from(repo.url());
    let token = install(&t, "post-receive", &bare.join("hooks/post-receive")).await;
    for (name, value) in [
        ("tidemill.master", t.master_url(m)),
        ("tidemill.tokenfile", token.display().to_string()),
        ("tidemill.repository", "https://git.example.org/r.git".into()),
        ("tidemill.project", "r".into()),
        ("tidemill.program", program("tidemill").display().to_string()),
    ] {
        repo.git(&["--git-dir", &repo.url(), "config", name, &value]);
    }
    let first = repo.commit_only("a file; $(touch x)", "1\n", "--first\n\n`touch y` \"and\" $HOME");
    let second = repo.commit("näh\"e", "2\n", "second");
    let found = changes(&t).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&found[0]["revision"], &found[1]["revision"]), (&json!(first), &json!(second)));
    assert_eq!(
        facts(&found[0]),
        json!(["main", "push", ["a file; $(touch x)"], "--first\n\n`touch y` \"and\" $HOME\n\n"])
    );
    assert_eq!(found[1]["files"], json!(["näh\"e"]));
    assert_eq!((&found[0]["author"], &found[0]["project"]), (&json!("Ada <ada@example.org>"), &json!("r")));
    assert_eq!(found[0]["repository"], "https://git.example.org/r.git");
    assert!(!bare.join("x").exists() && !bare.join("y").exists(), "nothing of a commit is run");

    // A new branch announces what is new, a tag its commit, a deleted branch nothing.
    repo.git(&["checkout", "--quiet", "-b", "topic/1"]);
    let third = repo.commit("b", "3\n", "third");
    repo.git(&["tag", "--annotate", "--message", "v", "v1"]);
    repo.git(&["push", "--quiet", "origin", "v1"]);
    repo.git(&["push", "--quiet", "origin", ":topic/1"]);
    let found = changes(&t).await;
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!((&found[2]["branch"], &found[2]["revision"]), (&json!("topic/1"), &json!(third)));
    assert_eq!((&found[3]["branch"], &found[3]["category"]), (&json!("v1"), &json!("tag")));
    assert_eq!(found[3]["revision"], json!(third));
    // The same name for a known commit is announced once more: by its head alone.
    repo.git(&["push", "--quiet", "origin", "HEAD:refs/heads/topic/2"]);
    repo.git(&["push", "--quiet", "--force", "origin", &format!("{first}:refs/heads/main")]);
    let found = changes(&t).await;
    assert_eq!((&found[4]["branch"], &found[4]["revision"]), (&json!("topic/2"), &json!(third)));
    assert_eq!((&found[5]["branch"], &found[5]["revision"]), (&json!("main"), &json!(first)));
    assert_eq!(found.len(), 6);
    invariants::check(&t.db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_to_subversion_is_announced_by_its_post_commit_hook() {
    if !installed("svn") || !installed("svnadmin") {
        let said = b"SKIPPED, NOT TESTED: svn is not installed (apt-get install subversion)\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), said);
        return;
    }
    let mut t = Cluster::start().await;
    let m = t.master().await;
    let (repos, work) = (t.dir().join("svn"), t.dir().join("svn-work"));
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program)
            .args(args)
            .current_dir(t.dir())
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", t.dir())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !said.contains("Warning"), "{program} {args:?}: {said}");
    };
    run("svnadmin", &["create", "svn"]);
    let token = install(&t, "post-commit", &repos.join("hooks/post-commit")).await;
    let conf = format!(
        "TIDEMILL_MASTER={}\ntokenfile='{}'\nrepository=https://svn.example.org/r\nproject=r\ntidemill='{}'\n",
        t.master_url(m),
        token.display(),
        program("tidemill").display()
    );
    std::fs::write(repos.join("conf/tidemill.sh"), conf).unwrap();
    let url = format!("file://{}", repos.display());
    run("svn", &["mkdir", "--quiet", "-m", "layout", &format!("{url}/trunk"), &format!("{url}/branches")]);
    run("svn", &["copy", "--quiet", "-m", "branch", &format!("{url}/trunk"), &format!("{url}/branches/1.0")]);
    run("svn", &["checkout", "--quiet", &url, "svn-work"]);
    std::fs::create_dir(work.join("trunk/src")).unwrap();
    std::fs::write(work.join("trunk/src/a $(touch x).c"), "1\n").unwrap();
    std::fs::write(work.join("trunk/näh\"e"), "1\n").unwrap();
    std::fs::write(work.join("branches/1.0/b.c"), "1\n").unwrap();
    run("svn", &["add", "--quiet", "--force", "svn-work/trunk", "svn-work/branches"]);
    run("svn", &["commit", "--quiet", "--username", "ada", "-m", "--two\n\n`branches`", "svn-work"]);

    let found = changes(&t).await;
    let third: Vec<&Value> = found.iter().filter(|c| c["revision"] == "3").collect();
    assert_eq!(third.len(), 2, "{found:?}");
    assert_eq!((&third[0]["branch"], &third[0]["files"]), (&json!("branches/1.0"), &json!(["b.c"])));
    assert_eq!(third[1]["branch"], Value::Null);
    let mut files: Vec<&str> = third[1]["files"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(files, ["näh\"e", "src/", "src/a $(touch x).c"]);
    assert_eq!((&third[1]["author"], &third[1]["project"]), (&json!("ada"), &json!("r")));
    assert_eq!(third[1]["comments"], json!("--two\n\n`branches`\n"));
    assert_eq!(third[1]["repository"], "https://svn.example.org/r");
    let branched = found.iter().find(|c| c["revision"] == "2").unwrap();
    assert_eq!((&branched["branch"], &branched["files"]), (&json!("branches/1.0"), &json!([])));
    assert!(!repos.join("x").exists());
    invariants::check(&t.db).await;
}
