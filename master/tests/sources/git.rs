//! The git poller against real repositories.

use crate::server::{Reply, Server};
use crate::{Source, run};
use std::path::Path;
use tidemill_lang::definition::{Branches, ChangeSourceKind, GitPollerDef};
use tidemill_master::pollers::Found;
use tidemill_master::pollers::git::{Heads, poll, poll_in_pages};
use tidemill_service::secrets::Secrets;

fn git(dir: &Path, args: &[&str]) -> String {
    let named = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"];
    run("git", dir, &[&named, args].concat())
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
        use_timestamps: true,
        ..GitPollerDef::default()
    }
}

/// Without functions of a project.
fn plain() -> Source {
    Source::of("", "changes.GitPoller(\"/none\")")
}

fn heads(found: &Found) -> Heads {
    serde_json::from_value(found.cursor.clone()).unwrap()
}

fn comments(found: &Found) -> Vec<String> {
    found.changes.iter().map(|c| c.comments.clone()).collect()
}

async fn found(def: &GitPollerDef, cursor: Option<Heads>, cache: &Path) -> (Vec<String>, Heads) {
    let source = plain();
    let found = poll(def, cursor, &source.world_with(cache, true)).await.unwrap();
    assert!(!found.more);
    (comments(&found), heads(&found))
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
    let source = plain();
    for url in ["--upload-pack=touch /tmp/owned", "ext::sh -c touch% /tmp/owned", "-x", "ftp://localhost/x"] {
        let def = GitPollerDef { repourl: url.into(), ..watching(source.cache.path()) };
        assert!(poll(&def, None, &source.world()).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn an_error_does_not_show_the_password_of_the_address() {
    let source = plain();
    let def = GitPollerDef { repourl: "http://ada:s3cret@127.0.0.1:1/x.git".into(), ..watching(source.cache.path()) };
    let error = poll(&def, None, &source.world()).await.unwrap_err().to_string();
    assert!(!error.contains("s3cret") && error.contains("127.0.0.1"), "{error}");
    let world = source.world_with(source.cache.path(), false);
    let error = poll(&def, None, &world).await.unwrap_err().to_string();
    assert!(!error.contains("s3cret") && error.contains("poll_local_addresses"), "{error}");
}

#[tokio::test]
async fn a_merge_is_one_change_and_a_commit_of_two_branches_is_the_older_ones() {
    let (repo, source) = (repository(), plain());
    let def = GitPollerDef { branches: Branches::Named(vec!["main".into(), "a*".into()]), ..watching(repo.path()) };
    let first = poll(&def, None, &source.world()).await.unwrap();
    git(repo.path(), &["checkout", "--quiet", "-b", "side"]);
    commit(repo.path(), "side one");
    commit(repo.path(), "side two");
    git(repo.path(), &["checkout", "--quiet", "main"]);
    commit(repo.path(), "main one");
    git(repo.path(), &["merge", "--quiet", "--no-ff", "-m", "merged side", "side"]);
    // Sorts before main, and holds what main holds.
    git(repo.path(), &["checkout", "--quiet", "-b", "a-new-one"]);
    let tip = commit(repo.path(), "only here");
    let next = poll(&def, Some(heads(&first)), &source.world()).await.unwrap();
    assert_eq!(comments(&next), ["main one", "merged side", "only here"]);
    let branches: Vec<_> = next.changes.iter().map(|c| c.branch.as_deref().unwrap()).collect();
    assert_eq!(branches, ["main", "main", "a-new-one"]);
    assert_eq!(next.changes[1].parents.len(), 2, "the graph has the merged side");
    assert_eq!(next.changes[2].parents, [next.changes[1].revision.clone().unwrap()]);
    assert_eq!(next.changes[2].revision, Some(tip));
    assert!(next.changes[0].when.is_some());
    let def = GitPollerDef { use_timestamps: false, ..def };
    let again = poll(&def, Some(heads(&first)), &source.world()).await.unwrap();
    assert!(again.changes.iter().all(|c| c.when.is_none()));
}

#[tokio::test]
async fn what_is_found_comes_in_pages_that_end_where_the_next_begins() {
    let (repo, source) = (repository(), plain());
    let def = watching(repo.path());
    let mut at = heads(&poll(&def, None, &source.world()).await.unwrap());
    let mut wanted = Vec::new();
    for i in 0..5 {
        commit(repo.path(), &format!("main {i}"));
        wanted.push(format!("main {i}"));
    }
    git(repo.path(), &["checkout", "--quiet", "-b", "feature"]);
    for i in 0..4 {
        commit(repo.path(), &format!("feature {i}"));
        wanted.push(format!("feature {i}"));
    }
    for page in [1, 2, 3, 4, 5, 9, 10] {
        let (mut all, mut cursor, mut more) = (Vec::new(), at.clone(), true);
        while more {
            let found = poll_in_pages(&def, Some(cursor), &source.world(), page).await.unwrap();
            assert!(found.changes.len() <= page);
            all.extend(comments(&found));
            (cursor, more) = (heads(&found), found.more);
        }
        assert_eq!(all, wanted, "pages of {page}");
        assert_eq!(cursor.0.len(), 2);
    }
    // A force push in between: what is left of the line is no longer there.
    let part = poll_in_pages(&def, Some(at), &source.world(), 7).await.unwrap();
    at = heads(&part);
    git(repo.path(), &["reset", "--quiet", "--hard", "main"]);
    commit(repo.path(), "instead");
    let found = poll(&def, Some(at), &source.world()).await.unwrap();
    assert_eq!(comments(&found), ["instead"]);
}

#[tokio::test]
async fn tags_are_watched_instead_of_branches_where_they_are_asked_for() {
    let (repo, source) = (repository(), plain());
    let def = GitPollerDef { only_tags: true, ..watching(repo.path()) };
    git(repo.path(), &["tag", "v0"]);
    let first = poll(&def, None, &source.world()).await.unwrap();
    assert_eq!(heads(&first).0.keys().collect::<Vec<_>>(), ["refs/tags/v0"]);
    let known = git(repo.path(), &["rev-parse", "HEAD"]);
    git(repo.path(), &["tag", "-a", "-m", "annotated", "v0.1"]);
    let tagged = commit(repo.path(), "three");
    git(repo.path(), &["tag", "-a", "-m", "annotated", "v1"]);
    commit(repo.path(), "no tag");
    let found = poll(&def, Some(heads(&first)), &source.world()).await.unwrap();
    let of: Vec<_> = found.changes.iter().map(|c| (c.branch.clone().unwrap(), c.revision.clone().unwrap())).collect();
    assert_eq!(of, [("refs/tags/v1".to_owned(), tagged.clone())]);
    let def = GitPollerDef { build_pushes_with_no_commits: true, ..def };
    let found = poll(&def, Some(heads(&first)), &source.world()).await.unwrap();
    let of: Vec<_> =
        found.changes.iter().map(|c| (c.branch.as_deref().unwrap(), c.revision.as_deref().unwrap())).collect();
    assert_eq!(of, [("refs/tags/v0.1", known.as_str()), ("refs/tags/v1", &tagged)]);
}

#[tokio::test]
async fn a_function_says_which_refs_are_wanted_and_others_name_project_and_category() {
    let repo = repository();
    git(repo.path(), &["update-ref", "refs/merge-requests/1/head", "HEAD"]);
    let source = Source::of(
        "def _wanted(ref):\n    return ref.startswith(\"refs/merge-requests/\") or ref == \"refs/heads/main\"\n",
        &format!(
            "changes.GitPoller({:?}, branches = _wanted, category = lambda change: change[\"branch\"][:4], \
             project = lambda change: \"p-\" + change[\"comments\"])",
            repo.path().display().to_string()
        ),
    );
    let ChangeSourceKind::GitPoller(def) = &source.kind else { panic!("{:?}", source.kind) };
    assert!(def.category_function && def.project_function);
    git(repo.path(), &["branch", "other"]);
    let first = poll(def, None, &source.world()).await.unwrap();
    assert_eq!(heads(&first).0.keys().collect::<Vec<_>>(), ["main", "refs/merge-requests/1/head"]);
    commit(repo.path(), "three");
    let found = poll(def, Some(heads(&first)), &source.world()).await.unwrap();
    let stamped = source.functions.stamped(found.changes).await.unwrap();
    assert_eq!((stamped[0].category.as_deref(), stamped[0].project.as_str()), (Some("main"), "p-three"));
}

#[tokio::test]
async fn files_are_those_of_each_commit_whatever_their_names() {
    let (repo, source) = (repository(), plain());
    let def = watching(repo.path());
    let first = poll(&def, None, &source.world()).await.unwrap();
    std::fs::create_dir(repo.path().join("d")).unwrap();
    for name in ["d/new\nline", "d/\u{e4}", "-x"] {
        std::fs::write(repo.path().join(name), "x").unwrap();
    }
    git(repo.path(), &["add", "--all"]);
    commit(repo.path(), "files");
    git(repo.path(), &["mv", "d/\u{e4}", "moved"]);
    commit(repo.path(), "moved\n\nwith words");
    let found = poll(&def, Some(heads(&first)), &source.world()).await.unwrap();
    assert_eq!(found.changes[0].files, ["-x", "d/new\nline", "d/\u{e4}"]);
    assert_eq!(found.changes[1].files, ["d/\u{e4}", "moved"]);
    assert_eq!(found.changes[1].comments, "moved\n\nwith words");
}

#[tokio::test]
async fn ten_thousand_branches_cost_a_few_processes() {
    let (repo, source) = (repository(), plain());
    let def = watching(repo.path());
    let tip = git(repo.path(), &["rev-parse", "HEAD"]);
    let input: String = (0..10_000).map(|i| format!("create refs/heads/b{i} {tip}\n")).collect();
    std::fs::write(repo.path().join("refs.txt"), input).unwrap();
    run("sh", repo.path(), &["-c", "git update-ref --stdin < refs.txt && rm refs.txt"]);
    let first = poll(&def, None, &source.world()).await.unwrap();
    assert_eq!(heads(&first).0.len(), 10_001);
    // All of them move, to one commit each two.
    let main = commit(repo.path(), "three");
    let input: String = (0..10_000).map(|i| format!("update refs/heads/b{i} {main}\n")).collect();
    std::fs::write(repo.path().join("refs.txt"), input).unwrap();
    run("sh", repo.path(), &["-c", "git update-ref --stdin < refs.txt && rm refs.txt"]);
    let found = poll(&def, Some(heads(&first)), &source.world()).await.unwrap();
    assert_eq!(comments(&found), ["three"]);
    assert_eq!(heads(&found).0.values().filter(|h| **h == main).count(), 10_001);
}

#[tokio::test]
async fn a_user_and_a_password_from_a_secret_open_a_repository_over_http() {
    let repo = repository();
    // Files of a repository are all that git needs of a simple server.
    git(repo.path(), &["update-server-info"]);
    let root = repo.path().join(".git");
    let server = Server::start(move |asked| {
        if asked.header("authorization") != Some("Basic YWRhOmdlOmhlaW0=") {
            return Reply::status(401).with("www-authenticate", "Basic realm=\"x\"");
        }
        match std::fs::read(root.join(asked.path().trim_start_matches("/x.git/"))) {
            Ok(bytes) => Reply::bytes(bytes),
            Err(_) => Reply::status(404),
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("web"), "ge:heim\n").unwrap();
    run("chmod", dir.path(), &["600", "web"]);
    let url = format!("{}/x.git", server.url());
    let with = |password: &str| {
        let mut source = Source::of(
            "",
            &format!("changes.GitPoller({url:?}, branches = True, auth_credentials = (\"ada\", {password}))"),
        );
        source.secrets = Secrets::new(Some(dir.path().into()));
        source
    };
    let source = with("util.Secret(\"web\")");
    let ChangeSourceKind::GitPoller(def) = &source.kind else { panic!("{:?}", source.kind) };
    assert!(!serde_json::to_string(def).unwrap().contains("ge:heim"), "a definition has names only");
    let first = poll(def, None, &source.world()).await.unwrap();
    assert_eq!(heads(&first).0.keys().collect::<Vec<_>>(), ["main"]);
    commit(repo.path(), "three");
    git(repo.path(), &["update-server-info"]);
    let found = poll(def, Some(heads(&first)), &source.world()).await.unwrap();
    assert_eq!(comments(&found), ["three"]);
    let wrong = with("\"wrong-word\"");
    let ChangeSourceKind::GitPoller(def) = &wrong.kind else { panic!("{:?}", wrong.kind) };
    let error = poll(def, None, &wrong.world()).await.unwrap_err().to_string();
    assert!(!error.contains("wrong-word"), "{error}");
}

#[tokio::test]
async fn what_a_ref_of_pull_requests_has_is_an_outsiders() {
    let (repo, source) = (repository(), plain());
    git(repo.path(), &["update-ref", "refs/pull/5/head", "HEAD"]);
    let named = vec!["main".into(), "refs/pull/5/head".into()];
    let def = GitPollerDef { branches: Branches::Named(named), ..watching(repo.path()) };
    let first = poll(&def, None, &source.world()).await.unwrap();
    commit(repo.path(), "ours");
    git(repo.path(), &["checkout", "--quiet", "--detach", "HEAD~1"]);
    commit(repo.path(), "theirs");
    git(repo.path(), &["update-ref", "refs/pull/5/head", "HEAD"]);
    let found = poll(&def, Some(heads(&first)), &source.world()).await.unwrap();
    let of: Vec<_> = found.changes.iter().map(|c| (c.comments.as_str(), c.outsider.is_some())).collect();
    assert_eq!(of, [("ours", false), ("theirs", true)]);
}

#[tokio::test]
async fn a_repository_that_has_no_refs_for_a_while_makes_nothing_new_of_its_history() {
    let (repo, cache) = (repository(), tempfile::tempdir().unwrap());
    let def = GitPollerDef { branches: Branches::Named(vec!["main".into()]), ..watching(repo.path()) };
    let (_, known) = found(&def, None, cache.path()).await;
    git(repo.path(), &["branch", "-m", "main", "away"]);
    let (changes, kept) = found(&def, Some(known.clone()), cache.path()).await;
    assert_eq!((changes.len(), &kept), (0, &known));
    git(repo.path(), &["branch", "-m", "away", "main"]);
    commit(repo.path(), "three");
    assert_eq!(found(&def, Some(kept), cache.path()).await.0, ["three"]);
}

/// Asks with `changes.KIND(address with a password)`: whoever is asked wants a
/// login, gets it, and finds it in no process's arguments.
async fn logs_in_unseen(kind: &str, ask: impl AsyncFn(&Source) -> String) {
    let seen = std::sync::Arc::new(std::sync::Mutex::new((0, Vec::new())));
    let there = seen.clone();
    let server = Server::start(move |asked| {
        let mut seen = there.lock().unwrap();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
        seen.1.extend(lines.map(|l| String::from_utf8_lossy(&l).into_owned()).filter(|l| l.contains("gehe1m")));
        match asked.header("authorization") {
            Some("Basic YWRhOmdlaGUxbS8=") => {
                seen.0 += 1;
                Reply::status(404)
            }
            _ => Reply::status(401).with("www-authenticate", "Basic realm=\"x\""),
        }
    })
    .await;
    let url = server.url().replace("http://", "http://ada:gehe1m%2F@");
    let source = Source::of("", &format!("changes.{kind}({:?})", format!("{url}/r")));
    let error = ask(&source).await;
    assert!(!error.contains("gehe1m"), "{error}");
    let seen = seen.lock().unwrap();
    assert!(seen.0 > 0, "it logged in: {error}");
    assert_eq!(seen.1, Vec::<String>::new());
}

#[tokio::test]
async fn no_list_of_processes_shows_the_password_of_an_address() {
    logs_in_unseen("GitPoller", async |source| {
        let ChangeSourceKind::GitPoller(def) = &source.kind else { panic!("{:?}", source.kind) };
        poll(def, None, &source.world()).await.unwrap_err().to_string()
    })
    .await;
    logs_in_unseen("HgPoller", async |source| source.ask(None).await.unwrap_err().to_string()).await;
}
