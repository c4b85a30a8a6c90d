//! The git poller against real repositories.

use std::path::Path;
use std::process::Command;
use tidemill_lang::definition::{Branches, GitPollerDef};
use tidemill_master::pollers::git::{Heads, poll};

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn commit(dir: &Path, message: &str) -> String {
    git(dir, &["commit", "--quiet", "--allow-empty", "-m", message]);
    git(dir, &["rev-parse", "HEAD"])
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "--quiet", "-b", "main", "."]);
    commit(dir.path(), "one");
    commit(dir.path(), "two");
    dir
}

fn watching(repo: &Path) -> GitPollerDef {
    GitPollerDef {
        repourl: repo.display().to_string(),
        branches: Branches::All,
        poll_interval_us: 1,
        build_pushes_with_no_commits: false,
        project: String::new(),
        codebase: String::new(),
        category: None,
    }
}

async fn found(def: &GitPollerDef, cursor: Option<Heads>, cache: &Path) -> (Vec<String>, Heads) {
    let found = poll(def, cursor, cache).await.unwrap();
    (found.changes.iter().map(|c| c.comments.clone()).collect(), found.heads)
}

#[tokio::test]
async fn the_first_poll_only_records_heads_and_a_branch_with_known_commits_is_no_change() {
    let (repo, cache) = (repository(), tempfile::tempdir().unwrap());
    let def = watching(repo.path());
    let (changes, heads) = found(&def, None, cache.path()).await;
    assert_eq!((changes.len(), heads.0.len()), (0, 1));
    git(repo.path(), &["branch", "known"]);
    commit(repo.path(), "three <b>");
    let (changes, heads) = found(&def, Some(heads), cache.path()).await;
    assert_eq!(changes, ["three <b>"]);
    assert_eq!(heads.0.len(), 2);
    let again = found(&def, Some(heads.clone()), cache.path()).await;
    assert_eq!(again, (vec![], heads));
}

#[tokio::test]
async fn a_replica_with_an_empty_copy_finds_the_same_new_commits() {
    let (repo, cache) = (repository(), tempfile::tempdir().unwrap());
    let def = watching(repo.path());
    let (_, heads) = found(&def, None, cache.path()).await;
    git(repo.path(), &["checkout", "--quiet", "-b", "feature", "HEAD~1"]);
    commit(repo.path(), "only this is new");
    let elsewhere = tempfile::tempdir().unwrap();
    let (changes, _) = found(&def, Some(heads), elsewhere.path()).await;
    assert_eq!(changes, ["only this is new"]);
}

#[tokio::test]
async fn a_branch_whose_name_begins_with_a_deleted_one_does_not_stop_the_source() {
    let (repo, cache) = (repository(), tempfile::tempdir().unwrap());
    let def = watching(repo.path());
    let (_, heads) = found(&def, None, cache.path()).await;
    git(repo.path(), &["checkout", "--quiet", "-b", "fix"]);
    commit(repo.path(), "on fix");
    let (changes, heads) = found(&def, Some(heads), cache.path()).await;
    assert_eq!(changes, ["on fix"]);
    git(repo.path(), &["checkout", "--quiet", "main"]);
    git(repo.path(), &["branch", "-D", "fix"]);
    git(repo.path(), &["checkout", "--quiet", "-b", "fix/123"]);
    commit(repo.path(), "on fix/123");
    let (changes, heads) = found(&def, Some(heads), cache.path()).await;
    assert_eq!(changes, ["on fix/123"]);
    assert!(!heads.0.contains_key("fix"), "a deleted branch is forgotten");
}

#[tokio::test]
async fn a_force_pushed_branch_gives_its_new_commits() {
    let (repo, cache) = (repository(), tempfile::tempdir().unwrap());
    let def = watching(repo.path());
    let (_, heads) = found(&def, None, cache.path()).await;
    git(repo.path(), &["reset", "--quiet", "--hard", "HEAD~1"]);
    commit(repo.path(), "instead");
    let (changes, _) = found(&def, Some(heads), cache.path()).await;
    assert_eq!(changes, ["instead"]);
}

#[tokio::test]
async fn an_address_that_would_be_an_option_or_another_protocol_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    for url in ["--upload-pack=touch /tmp/owned", "ext::sh -c touch% /tmp/owned", "-x"] {
        let def = GitPollerDef { repourl: url.into(), ..watching(cache.path()) };
        assert!(poll(&def, None, cache.path()).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn an_error_does_not_show_the_password_of_the_address() {
    let cache = tempfile::tempdir().unwrap();
    let def = GitPollerDef { repourl: "http://ada:s3cret@127.0.0.1:1/x.git".into(), ..watching(cache.path()) };
    let error = poll(&def, None, cache.path()).await.unwrap_err().to_string();
    assert!(!error.contains("s3cret"), "{error}");
}
