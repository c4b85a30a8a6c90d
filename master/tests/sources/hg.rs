//! The Mercurial poller against real repositories.

use crate::{Source, run};
use std::path::Path;
use tidemill_master::pollers::Found;
use tidemill_master::pollers::hg::poll_in_pages;

fn hg(dir: &Path, args: &[&str]) -> String {
    run("hg", dir, args)
}

fn commit(dir: &Path, file: &str, message: &str) -> String {
    std::fs::write(dir.join(file), message).unwrap();
    hg(dir, &["commit", "--quiet", "--addremove", "-m", message]);
    hg(dir, &["log", "-r", ".", "-T", "{node}"])
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    hg(dir.path(), &["init"]);
    commit(dir.path(), "a", "one");
    dir
}

fn watching(repo: &Path, more: &str) -> Source {
    Source::of("", &format!("changes.HgPoller({:?}{more})", repo.display().to_string()))
}

fn comments(found: &Found) -> Vec<&str> {
    found.changes.iter().map(|c| c.comments.as_str()).collect()
}

#[tokio::test]
async fn new_changesets_of_a_branch_come_oldest_first_with_their_parents() {
    let repo = repository();
    let source = watching(repo.path(), ", project = \"p\"");
    let first = source.poll(None).await;
    assert!(first.changes.is_empty());
    let two = commit(repo.path(), "with space", "two\n\nwords");
    commit(repo.path(), "b", "three");
    let found = source.poll(Some(first.cursor)).await;
    assert_eq!(comments(&found), ["two\n\nwords", "three"]);
    let change = &found.changes[1];
    assert_eq!((change.branch.as_deref(), change.project.as_str()), (Some("default"), "p"));
    assert_eq!(
        (change.author.as_str(), change.parents.as_slice()),
        ("Ada <ada@example.org>", [two.clone()].as_slice())
    );
    assert_eq!(found.changes[0].files, ["with space"]);
    assert_eq!(found.changes[0].revision, Some(two));
    assert!(source.poll(Some(found.cursor)).await.changes.is_empty());
}

#[tokio::test]
async fn a_branch_with_several_heads_gives_nothing_until_they_are_merged() {
    let repo = repository();
    let source = watching(repo.path(), "");
    let first = source.poll(None).await;
    commit(repo.path(), "b", "left");
    hg(repo.path(), &["update", "--quiet", "0"]);
    commit(repo.path(), "c", "right");
    let heads = source.poll(Some(first.cursor.clone())).await;
    assert_eq!((heads.changes.len(), &heads.cursor), (0, &first.cursor));
    hg(repo.path(), &["merge", "--quiet"]);
    commit(repo.path(), "d", "merged");
    let found = source.poll(Some(heads.cursor)).await;
    assert_eq!(comments(&found), ["left", "right", "merged"]);
    assert_eq!(found.changes[2].parents.len(), 2);
}

#[tokio::test]
async fn branches_and_bookmarks_are_watched_by_name_and_no_name_is_an_option() {
    let repo = repository();
    hg(repo.path(), &["bookmark", "feature"]);
    hg(repo.path(), &["branch", "--quiet", "stable"]);
    commit(repo.path(), "s", "begins stable");
    let source = watching(repo.path(), ", branches = [\"default\", \"stable\"], bookmarks = [\"feature\"]");
    let first = source.poll(None).await;
    commit(repo.path(), "t", "on stable");
    let found = source.poll(Some(first.cursor)).await;
    // The bookmark moved with it; a changeset is one change.
    assert_eq!(comments(&found), ["on stable"]);
    assert_eq!(found.changes[0].branch.as_deref(), Some("stable"));
    let error = watching(repo.path(), ", branch = \"--config=ui.ssh=touch\"").ask(None).await.unwrap_err().to_string();
    assert!(error.contains("hg pull failed"), "{error}");
    for url in ["--config=x", "static-http://x/y", "ssh://-oProxyCommand=x/y"] {
        assert!(Source::of("", &format!("changes.HgPoller({url:?})")).ask(None).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn pages_of_lines_that_were_merged_hold_each_changeset_once() {
    let repo = repository();
    let source = watching(repo.path(), "");
    let first = source.poll(None).await.cursor;
    for (file, side) in [("b", "left"), ("c", "right")] {
        hg(repo.path(), &["update", "--quiet", "--clean", "0"]);
        for i in 0..4 {
            commit(repo.path(), file, &format!("{side} {i}"));
        }
    }
    hg(repo.path(), &["merge", "--quiet"]);
    commit(repo.path(), "d", "merged");
    for page in 1..=10 {
        let (mut all, mut cursor, mut more) = (Vec::new(), first.clone(), true);
        while more {
            let found = poll_in_pages(source.declared(), Some(cursor), &source.world(), page).await.unwrap();
            assert!(found.changes.len() <= page);
            all.extend(found.changes.into_iter().map(|c| c.comments));
            (cursor, more) = (found.cursor, found.more);
        }
        all.sort();
        let mut wanted: Vec<String> = (0..4).flat_map(|i| [format!("left {i}"), format!("right {i}")]).collect();
        wanted.push("merged".into());
        wanted.sort();
        assert_eq!(all, wanted, "pages of {page}");
        assert!(source.poll(Some(cursor)).await.changes.is_empty());
    }
}
