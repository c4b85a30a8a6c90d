//! Dialects against payloads of the shapes that forges publish.

use super::*;
use serde_json::{Value, json};
use tidemill_lang::definition::{Outsiders, PullRequestRef};

/// Headers and a body of its own, with the options of a project.
struct Case {
    headers: HeaderMap,
    query: Vec<(String, String)>,
    body: Vec<u8>,
    hook: HookDef,
    proven: bool,
}

fn hook(name: &str, dialect: HookDialect) -> HookDef {
    HookDef {
        name: name.into(),
        dialect,
        secret: None,
        strict: true,
        outsiders: Outsiders::Approve,
        repositories: vec![],
        insiders: vec![],
        pull_request_ref: PullRequestRef::Merge,
        token: None,
        api: None,
        property_whitelist: vec![],
        skips: vec![r"\[ *skip *ci *\]".into(), r"\[ *ci *skip *\]".into()],
        codebase: None,
        codebase_function: false,
        allowed: None,
        signature_header: None,
        token_header: None,
        attrs: Default::default(),
    }
}

impl Case {
    fn new(dialect: HookDialect, event: (&'static str, &str), payload: &Value) -> Case {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert(event.0, event.1.parse().unwrap());
        let body = serde_json::to_vec(payload).unwrap();
        Case { headers, query: vec![], body, hook: hook("x", dialect), proven: true }
    }

    fn with(mut self, edit: impl FnOnce(&mut HookDef)) -> Case {
        edit(&mut self.hook);
        self
    }

    fn said(&self) -> Result<Said, Refused> {
        read(&Sent {
            headers: &self.headers,
            query: &self.query,
            body: &self.body,
            hook: &self.hook,
            proven: self.proven,
        })
    }

    fn changes(&self) -> Vec<NewChange> {
        match self.said() {
            Ok(Said::Changes(changes)) => changes,
            other => panic!("{other:?}"),
        }
    }

    fn pull(&self) -> (String, NewChange) {
        match self.said() {
            Ok(Said::Pull { key, change: Some(change) }) => (key, *change),
            other => panic!("{other:?}"),
        }
    }

    fn ignored(&self) -> String {
        match self.said() {
            Ok(Said::Ignored(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self) -> String {
        match self.said() {
            Err(Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

const A: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
const B: &str = "b1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
const ZERO: &str = "0000000000000000000000000000000000000000";

fn commit(id: &str, message: &str) -> Value {
    json!({
        "id": id, "message": message, "timestamp": "2026-03-04T05:06:07+01:00", "distinct": true,
        "url": format!("https://forge.example/o/r/commit/{id}"),
        "author": { "name": "Ada", "email": "ada@example.org", "username": "ada" },
        "committer": { "name": "Bob", "email": "bob@example.org" },
        "added": ["new.c"], "removed": ["old.c"], "modified": ["a.c", "new.c"],
    })
}

fn github(event: &str, payload: &Value) -> Case {
    Case::new(HookDialect::Github, ("x-github-event", event), payload)
}

fn github_push() -> Value {
    json!({
        "ref": "refs/heads/main", "before": ZERO, "after": B, "created": false, "deleted": false, "forced": false,
        "repository": { "id": 1, "full_name": "o/r", "html_url": "https://github.com/o/r", "clone_url": "https://github.com/o/r.git" },
        "pusher": { "name": "ada" }, "sender": { "login": "ada", "id": 7 },
        "commits": [commit(A, "first"), commit(B, "second\n\nmore")], "head_commit": commit(B, "second\n\nmore"),
    })
}

fn github_pull(action: &str) -> Value {
    let repo = |id: i64, name: &str| json!({ "id": id, "full_name": name });
    json!({
        "action": action, "number": 5, "repository": github_push()["repository"],
        "sender": { "login": "eve", "id": 66 },
        "pull_request": {
            "number": 5, "title": "Better", "body": "words", "commits": 1, "html_url": "https://github.com/o/r/pull/5",
            "updated_at": "2026-03-04T05:06:07Z", "author_association": "NONE", "merged": false,
            "user": { "login": "eve", "id": 66 },
            "head": { "ref": "topic", "sha": A, "repo": repo(2, "eve/r") },
            "base": { "ref": "main", "sha": B, "repo": repo(1, "o/r") },
        },
    })
}

fn edited(mut payload: Value, edits: &[(&str, Value)]) -> Value {
    for (pointer, value) in edits {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        payload.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    payload
}

#[test]
fn github_a_push_gives_its_commits_oldest_first() {
    let changes = github("push", &github_push()).changes();
    assert_eq!(changes.len(), 2);
    let first = &changes[0];
    assert_eq!(first.author, "Ada <ada@example.org>");
    assert_eq!(first.committer.as_deref(), Some("Bob <bob@example.org>"));
    assert_eq!(first.files, ["new.c", "a.c", "old.c"]);
    assert_eq!((first.branch.as_deref(), first.revision.as_deref()), (Some("main"), Some(A)));
    assert_eq!((first.repository.as_str(), first.project.as_str()), ("https://github.com/o/r", "o/r"));
    assert_eq!(first.when.unwrap().unix_timestamp(), 1_772_597_167);
    assert_eq!(first.properties.get("github_distinct"), Some(&json!(true)));
    assert_eq!((first.category.as_deref(), first.outsider.as_deref()), (None, None));
    assert_eq!(changes[1].comments, "second\n\nmore");
}

#[test]
fn github_a_form_with_a_payload_is_read_as_well() {
    let mut case = github("push", &github_push());
    let text = String::from_utf8(case.body.clone()).unwrap();
    case.body = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &text).finish().into();
    case.headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    assert_eq!(case.changes().len(), 2);
    case.body = b"load=x".to_vec();
    assert!(case.refused().contains("payload"));
}

#[test]
fn github_what_a_push_is_decides_what_becomes_of_it() {
    let push = |edits: &[(&str, Value)]| github("push", &edited(github_push(), edits));
    let tag = push(&[("/ref", json!("refs/tags/v1"))]).changes();
    assert_eq!((tag[0].branch.as_deref(), tag[0].category.as_deref()), (Some("v1"), Some("tag")));
    assert!(push(&[("/deleted", json!(true)), ("/after", json!(ZERO))]).ignored().contains("deleted"));
    assert!(push(&[("/ref", json!("refs/notes/x"))]).ignored().contains("neither a branch nor a tag"));
    let head = push(&[("/commits", json!([]))]).changes();
    assert_eq!((head.len(), head[0].revision.as_deref()), (1, Some(B)), "a branch on a known commit");
    assert!(push(&[("/commits", json!([])), ("/head_commit", Value::Null)]).ignored().contains("no commit"));
    for message in ["fix [skip ci]", "[ci skip] fix", "x [ skip  ci ]"] {
        assert!(push(&[("/head_commit/message", json!(message))]).ignored().contains("matches"), "{message}");
    }
    assert_eq!(push(&[("/head_commit/message", json!("skip ci"))]).changes().len(), 2);
    let own = push(&[("/head_commit/message", json!("WIP: x"))]).with(|h| h.skips = vec!["^WIP".into()]);
    assert!(own.ignored().contains("^WIP"));
    assert!(push(&[("/ref", Value::Null)]).refused().contains("ref"));
    assert!(push(&[("/commits", json!([{"message": "x"}]))]).refused().contains("id"));
    assert!(github("ping", &json!({"zen": "x"})).ignored().contains("works"));
    assert!(github("star", &json!({})).ignored().contains("star"));
}

#[test]
fn github_a_pull_request_is_one_change_of_its_ref() {
    let case = github("pull_request", &github_pull("opened"));
    let (key, change) = case.pull();
    assert_eq!(key, "o/r#5");
    assert_eq!((change.branch.as_deref(), change.revision.as_deref()), (Some("refs/pull/5/merge"), Some(A)));
    assert_eq!((change.category.as_deref(), change.author.as_str()), (Some("pull"), "eve"));
    assert_eq!(change.comments, "GitHub Pull Request #5 (1 commit)\nBetter\nwords");
    for (name, value) in [
        ("github.number", json!(5)),
        ("github.title", json!("Better")),
        ("pullrequesturl", json!("https://github.com/o/r/pull/5")),
        ("basename", json!("main")),
    ] {
        assert_eq!(change.properties.get(name), Some(&value), "{name}");
    }
    assert_eq!(change.properties.get("github.merged"), None);
    let more = case.with(|h| {
        h.property_whitelist = vec!["github.me*".into()];
        h.pull_request_ref = PullRequestRef::Head;
    });
    let (_, change) = more.pull();
    assert_eq!(change.properties.get("github.merged"), Some(&json!(false)));
    assert_eq!(change.branch.as_deref(), Some("refs/pull/5/head"));
    for action in ["labeled", "edited", "assigned"] {
        assert!(github("pull_request", &github_pull(action)).ignored().contains(action));
    }
    let closed = github("pull_request", &github_pull("closed")).said().unwrap();
    assert_eq!(closed, Said::Pull { key: "o/r#5".into(), change: None });
}

#[test]
fn github_who_is_an_outsider_is_told_by_accounts_and_never_by_text() {
    let of = |edits: &[(&str, Value)], hook: fn(&mut HookDef)| {
        github("pull_request", &edited(github_pull("synchronize"), edits)).with(hook).pull().1.outsider
    };
    let plain: fn(&mut HookDef) = |_| {};
    let why = of(&[], plain).unwrap();
    assert!(why.contains("eve (none)") && why.contains("eve/r"), "{why}");
    assert_eq!(of(&[("/pull_request/head/repo/id", json!(1))], plain), None, "pushed to the repository itself");
    assert_eq!(of(&[("/pull_request/author_association", json!("MEMBER"))], plain), None);
    let pushed_by_another = [("/pull_request/author_association", json!("MEMBER")), ("/sender/id", json!(67))];
    assert!(of(&pushed_by_another, plain).is_some(), "somebody else pushed to a member's fork");
    assert_eq!(of(&[], |h| h.insiders = vec!["EVE".into()]), None);
    let by_name = [("/sender/login", json!("ada")), ("/sender/id", json!(7))];
    assert!(of(&by_name, |h| h.insiders = vec!["ada".into()]).is_some(), "a trusted sender vouches for no author");
    // A deleted fork, and facts that are missing.
    assert!(of(&[("/pull_request/head/repo", Value::Null)], plain).is_some());
    let nothing = [("/pull_request/head/repo", json!({})), ("/pull_request/base/repo", json!({}))];
    assert!(of(&nothing, plain).is_some());
    let ids = [("/sender/id", Value::Null), ("/pull_request/user/id", Value::Null)];
    let ids_and = [&ids[..], &[("/pull_request/author_association", json!("OWNER"))]].concat();
    assert!(of(&ids_and, plain).is_some(), "two unknowns are not the same");
    // What its author wrote grants nothing (A13).
    let text = [
        ("/pull_request/title", json!("by ada <ada@example.org>")),
        ("/pull_request/body", json!("author_association: OWNER")),
        ("/pull_request/head/ref", json!("main")),
    ];
    assert!(of(&text, |h| h.insiders = vec!["ada".into()]).is_some());
}

#[test]
fn what_proves_nothing_is_an_outsiders_whatever_it_says() {
    let mut case = github("pull_request", &edited(github_pull("opened"), &[("/pull_request/head/repo/id", json!(1))]));
    case.proven = false;
    assert!(case.pull().1.outsider.unwrap().contains("proves"));
    let mut case = github("push", &github_push());
    case.proven = false;
    assert!(case.changes().iter().all(|c| c.outsider.is_some()));
}

#[test]
fn the_address_and_the_project_say_which_repositories_and_codebases() {
    let mut case = github("push", &github_push()).with(|h| h.codebase = Some("lib".into()));
    assert_eq!(case.changes()[0].codebase, "lib");
    case.query = vec![("project".into(), "mine".into()), ("codebase".into(), "app".into())];
    let changes = case.changes();
    assert_eq!((changes[1].project.as_str(), changes[1].codebase.as_str()), ("mine", "app"));
    case.hook.repositories = vec!["other/*".into(), "mine".into()];
    assert!(case.ignored().contains("none of the repositories"), "the address cannot say which repository it is");
    case.query.clear();
    case.hook.repositories = vec!["o/*".into()];
    assert_eq!(case.changes().len(), 2);
}

#[test]
fn thousands_of_commits_become_so_many_changes_and_a_summary() {
    let many: Vec<Value> = (0..3_000)
        .map(|i| {
            let mut c = commit(&format!("{i:040x}"), &format!("commit {i}\nmore"));
            c["added"] = json!([format!("f{i}")]);
            c
        })
        .collect();
    let changes = github("push", &edited(github_push(), &[("/commits", json!(many))])).changes();
    assert_eq!(changes.len(), CHANGES_MAX);
    assert!(changes[0].comments.starts_with("2501 commits:\ncommit 0\n"), "{}", &changes[0].comments[..40]);
    assert!(changes[0].files.len() > 2_500);
    assert_eq!(changes[0].revision, Some(format!("{:040x}", 2_500)));
    assert_eq!(changes[CHANGES_MAX - 1].revision, Some(format!("{:040x}", 2_999)));
}

#[test]
fn of_many_branches_at_once_none_is_left_out() {
    let repository = json!({ "slug": "r", "project": { "key": "O" } });
    let moved =
        |n: u32| json!({ "ref": { "id": format!("refs/heads/b{n}") }, "toHash": format!("{n:040x}"), "type": "ADD" });
    let push = json!({ "repository": repository, "changes": (1..=700).map(moved).collect::<Vec<_>>() });
    let changes = Case::new(HookDialect::BitbucketServer, ("x-event-key", "repo:refs_changed"), &push).changes();
    let branches: std::collections::BTreeSet<_> = changes.iter().map(|c| c.branch.clone()).collect();
    assert_eq!((changes.len(), branches.len()), (700, 700));
    // A short branch beside a long one.
    let of = |branch: &str, n: usize| {
        let change = NewChange { branch: Some(branch.into()), comments: branch.into(), ..NewChange::default() };
        vec![change; n]
    };
    let all = [of("a", 2), of("b", 900), of("c", 1)].concat();
    let kept = common::bounded_by_branch(all, 100);
    let count = |branch: &str| kept.iter().filter(|c| c.branch.as_deref() == Some(branch)).count();
    assert_eq!((count("a"), count("b"), count("c")), (2, 97, 1));
}

#[test]
fn bodies_that_are_no_payload_are_refused_and_harm_nothing() {
    let deep = "[".repeat(100_000);
    let in_object = format!("{{\"ref\": {}", "{\"a\":".repeat(100_000));
    for dialect in [
        ("x-github-event", HookDialect::Github, "push"),
        ("x-gitlab-event", HookDialect::Gitlab, "Push Hook"),
        ("x-gitea-event", HookDialect::Gitea, "push"),
        ("x-event-key", HookDialect::Bitbucket, "repo:push"),
        ("x-event-key", HookDialect::BitbucketServer, "repo:refs_changed"),
        ("x-none", HookDialect::Gerrit, ""),
    ] {
        let mut case = Case::new(dialect.1, (dialect.0, dialect.2), &json!({}));
        let whole = serde_json::to_vec(&github_push()).unwrap();
        let bodies: [&[u8]; 9] = [
            b"",
            b"{",
            b"[]",
            b"null",
            b"\xff\xfe",
            b"{\"ref\": 1e400}",
            &whole[..whole.len() - 1],
            deep.as_bytes(),
            in_object.as_bytes(),
        ];
        for body in bodies {
            case.body = body.to_vec();
            case.refused();
        }
        // Numbers where texts belong, lists where objects do.
        for odd in
            [json!({"ref": 7}), json!({"ref": ["x"], "commits": {}}), json!({"object_kind": "push", "commits": 3})]
        {
            case.body = serde_json::to_vec(&odd).unwrap();
            assert!(!matches!(case.said(), Ok(Said::Pull { .. })), "{odd}");
        }
    }
}

#[test]
fn names_with_markup_and_control_characters_are_carried_as_data() {
    let nasty = "refs/heads/<script>alert(1)</script>\u{1b}[31m\u{202e}$(x)`y`'\"\u{0}";
    let changes = github("push", &edited(github_push(), &[("/ref", json!(nasty))])).changes();
    assert_eq!(changes[0].branch.as_deref(), nasty.strip_prefix("refs/heads/"));
}

fn gitlab(payload: &Value) -> Case {
    Case::new(HookDialect::Gitlab, ("x-gitlab-event", "x"), payload)
}

fn gitlab_push() -> Value {
    json!({
        "object_kind": "push", "ref": "refs/heads/main", "before": A, "after": B, "checkout_sha": B,
        "user_name": "Ada", "user_username": "ada",
        "project": { "id": 1, "path_with_namespace": "g/r", "git_http_url": "https://gitlab.example/g/r.git" },
        "repository": { "url": "git@gitlab.example:g/r.git" },
        "commits": [commit(A, "first"), commit(B, "second")], "total_commits_count": 2,
    })
}

fn gitlab_merge() -> Value {
    json!({
        "object_kind": "merge_request", "user": { "id": 66, "username": "eve" }, "project": gitlab_push()["project"],
        "object_attributes": {
            "iid": 9, "author_id": 66, "title": "Better", "description": "words", "action": "open", "state": "opened",
            "url": "https://gitlab.example/g/r/-/merge_requests/9",
            "source_branch": "topic", "target_branch": "main", "source_project_id": 2, "target_project_id": 1,
            "source": { "git_http_url": "https://gitlab.example/eve/r.git", "path_with_namespace": "eve/r" },
            "target": { "git_http_url": "https://gitlab.example/g/r.git" },
            "last_commit": commit(A, "first"),
        },
    })
}

#[test]
fn gitlab_pushes_tags_merge_requests_and_comments() {
    let changes = gitlab(&gitlab_push()).changes();
    assert_eq!(changes.len(), 2);
    assert_eq!((changes[0].revision.as_deref(), changes[0].project.as_str()), (Some(A), "g/r"));
    assert_eq!(changes[0].repository, "https://gitlab.example/g/r.git");
    let tag = [("/object_kind", json!("tag_push")), ("/ref", json!("refs/tags/v1")), ("/commits", json!([]))];
    let tag = gitlab(&edited(gitlab_push(), &tag)).changes();
    assert_eq!((tag[0].branch.as_deref(), tag[0].revision.as_deref()), (Some("v1"), Some(B)));
    assert_eq!(tag[0].category.as_deref(), Some("tag_push"));
    assert!(gitlab(&edited(gitlab_push(), &[("/after", json!(ZERO))])).ignored().contains("deleted"));
    assert!(gitlab(&json!({"object_kind": "pipeline"})).ignored().contains("pipeline"));

    let (key, merge) = gitlab(&gitlab_merge()).pull();
    assert_eq!((key.as_str(), merge.branch.as_deref()), ("g/r!9", Some("refs/merge-requests/9/head")));
    assert_eq!((merge.revision.as_deref(), merge.comments.as_str()), (Some(A), "MR#9: Better\n\nwords"));
    assert_eq!(merge.properties.get("target_branch"), Some(&json!("main")));
    assert!(merge.outsider.unwrap().contains("eve/r"));
    let own = edited(gitlab_merge(), &[("/object_attributes/source_project_id", json!(1))]);
    assert_eq!(gitlab(&own).pull().1.outsider, None);
    assert_eq!(gitlab(&gitlab_merge()).with(|h| h.insiders = vec!["eve".into()]).pull().1.outsider, None);
    for other in [json!({ "id": 7, "username": "ada" }), json!({ "username": "ada" })] {
        let reopened = edited(gitlab_merge(), &[("/user", other), ("/object_attributes/action", json!("reopen"))]);
        let by_another = gitlab(&reopened).with(|h| h.insiders = vec!["ada".into()]).pull().1.outsider;
        assert!(by_another.is_some(), "a trusted sender vouches for no author");
    }
    let update = edited(gitlab_merge(), &[("/object_attributes/action", json!("update"))]);
    assert!(gitlab(&update).ignored().contains("no new commit"));
    let update = edited(update, &[("/object_attributes/oldrev", json!(B))]);
    assert_eq!(gitlab(&update).pull().0, "g/r!9");
    let merged = edited(gitlab_merge(), &[("/object_attributes/action", json!("merge"))]);
    assert_eq!(gitlab(&merged).said().unwrap(), Said::Pull { key: "g/r!9".into(), change: None });

    let note = json!({
        "object_kind": "note", "user": { "id": 7, "username": "ada" }, "project": gitlab_push()["project"],
        "object_attributes": { "note": "build this", "url": "https://gitlab.example/note" },
        "merge_request": gitlab_merge()["object_attributes"],
    });
    let (_, change) = gitlab(&note).with(|h| h.insiders = vec!["ada".into()]).pull();
    assert_eq!(change.properties.get("comment"), Some(&json!("build this")));
    assert!(change.outsider.is_some(), "who comments did not push");
    let own = edited(note.clone(), &[("/merge_request/source_project_id", json!(1))]);
    assert!(gitlab(&own).pull().1.outsider.is_some(), "anybody may comment, and what they say is a property");
    assert_eq!(gitlab(&own).with(|h| h.insiders = vec!["ada".into()]).pull().1.outsider, None);
    let author = edited(own, &[("/merge_request/author_id", json!(7))]);
    assert_eq!(gitlab(&author).pull().1.outsider, None);
    let on_issue = edited(note, &[("/merge_request", Value::Null)]);
    assert!(gitlab(&on_issue).ignored().contains("no merge request"));
}

fn gitea(event: &str, payload: &Value) -> Case {
    Case::new(HookDialect::Gitea, ("x-gitea-event", event), payload)
}

#[test]
fn gitea_pushes_come_newest_first_and_pull_requests_from_elsewhere_are_outsiders() {
    let repository = json!({ "id": 1, "full_name": "o/r", "clone_url": "https://gitea.example/o/r.git" });
    let push = json!({
        "ref": "refs/heads/main", "before": ZERO, "after": B, "repository": repository,
        "commits": [commit(B, "second"), commit(A, "first")], "head_commit": commit(B, "second"),
        "pusher": { "login": "ada", "username": "ada", "email": "ada@example.org" },
    });
    let changes = gitea("push", &push).changes();
    assert_eq!(changes.iter().map(|c| c.comments.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!(changes[0].repository, "https://gitea.example/o/r.git");
    let bare = edited(push.clone(), &[("/commits", json!([])), ("/head_commit", Value::Null)]);
    assert_eq!(gitea("push", &bare).changes()[0].revision.as_deref(), Some(B));
    assert!(gitea("push", &edited(push, &[("/after", json!(ZERO))])).ignored().contains("deleted"));

    let repo = |id: i64, name: &str| json!({ "id": id, "full_name": name, "clone_url": "https://gitea.example/x.git" });
    let pull = json!({
        "action": "synchronized", "number": 3, "repository": repository, "sender": { "login": "eve" },
        "pull_request": {
            "title": "Better", "body": "", "user": { "login": "eve" }, "html_url": "https://gitea.example/o/r/pulls/3",
            "head": { "ref": "topic", "sha": A, "repo": repo(2, "eve/r") }, "base": { "ref": "main", "sha": B, "repo": repo(1, "o/r") },
        },
    });
    let (key, change) = gitea("pull_request_sync", &pull).pull();
    assert_eq!((key.as_str(), change.branch.as_deref()), ("o/r#3", Some("refs/pull/3/head")));
    assert!(change.outsider.unwrap().contains("eve/r"));
    let own = edited(pull.clone(), &[("/pull_request/head/repo/id", json!(1))]);
    assert_eq!(gitea("pull_request", &own).pull().1.outsider, None);
    let closed = edited(pull, &[("/action", json!("closed"))]);
    assert_eq!(gitea("pull_request", &closed).said().unwrap(), Said::Pull { key: "o/r#3".into(), change: None });
}

#[test]
fn bitbucket_cloud_pushes_deletions_and_pull_requests() {
    let case = |event: &str, payload: &Value| Case::new(HookDialect::Bitbucket, ("x-event-key", event), payload);
    let commit = |hash: &str, message: &str| {
        json!({ "hash": hash, "message": message, "date": "2026-03-04T05:06:07+00:00",
                "author": { "raw": "Ada <ada@example.org>" }, "links": { "html": { "href": format!("https://bitbucket.org/o/r/commits/{hash}") } } })
    };
    let repository =
        json!({ "full_name": "o/r", "uuid": "{1}", "links": { "html": { "href": "https://bitbucket.org/o/r" } } });
    let pushed = json!({ "created": false, "new": { "type": "branch", "name": "main", "target": commit(B, "second") },
                         "commits": [commit(B, "second"), commit(A, "first")] });
    let gone = json!({ "closed": true, "old": { "type": "branch", "name": "topic" }, "new": null });
    let push = json!({ "repository": repository, "actor": {}, "push": { "changes": [pushed, gone] } });
    let changes = case("repo:push", &push).changes();
    assert_eq!(changes.iter().map(|c| c.comments.as_str()).collect::<Vec<_>>(), ["first", "second"]);
    assert_eq!((changes[0].author.as_str(), changes[0].category.as_deref()), ("Ada <ada@example.org>", Some("push")));
    let only_gone = edited(push, &[("/push/changes", json!([gone]))]);
    assert!(case("repo:push", &only_gone).ignored().contains("topic"));

    let side = |uuid: &str, name: &str, branch: &str| json!({ "branch": { "name": branch }, "commit": { "hash": A }, "repository": { "uuid": uuid, "full_name": name } });
    let pull = json!({
        "repository": repository, "actor": { "display_name": "Eve", "account_id": "66" },
        "pullrequest": {
            "id": 4, "title": "Better", "description": "", "state": "OPEN", "author": { "display_name": "Eve", "account_id": "66" },
            "source": side("{2}", "eve/r", "topic"), "destination": side("{1}", "o/r", "main"),
            "links": { "html": { "href": "https://bitbucket.org/o/r/pull-requests/4" } },
        },
    });
    let (key, change) = case("pullrequest:created", &pull).pull();
    assert_eq!((key.as_str(), change.category.as_deref()), ("o/r#4", Some("pull-created")));
    assert_eq!((change.repository.as_str(), change.branch.as_deref()), ("https://bitbucket.org/eve/r", Some("topic")));
    assert!(change.outsider.is_some());
    assert_eq!(case("pullrequest:updated", &pull).with(|h| h.insiders = vec!["66".into()]).pull().1.outsider, None);
    let own = edited(pull.clone(), &[("/pullrequest/source/repository/uuid", json!("{1}"))]);
    assert_eq!(case("pullrequest:updated", &own).pull().1.outsider, None);
    for over in ["pullrequest:fulfilled", "pullrequest:rejected"] {
        assert_eq!(case(over, &pull).said().unwrap(), Said::Pull { key: "o/r#4".into(), change: None });
    }
    assert!(case("issue:created", &pull).ignored().contains("issue:created"));
}

#[test]
fn bitbucket_server_pushes_deletions_and_pull_requests() {
    let case = |event: &str, payload: &Value| Case::new(HookDialect::BitbucketServer, ("x-event-key", event), payload);
    let repository = |id: i64, project: &str| {
        json!({ "id": id, "slug": "r", "project": { "key": project },
                "links": { "clone": [{ "name": "ssh", "href": "ssh://x" }, { "name": "http", "href": format!("https://bb.example/scm/{project}/r.git") }] } })
    };
    let moved = |kind: &str, name: &str, to: &str| {
        json!({ "ref": { "id": format!("refs/heads/{name}"), "displayId": name, "type": "BRANCH" },
                "refId": format!("refs/heads/{name}"), "fromHash": A, "toHash": to, "type": kind })
    };
    let push = json!({
        "eventKey": "repo:refs_changed", "date": "2026-03-04T05:06:07+1000",
        "actor": { "name": "ada", "displayName": "Ada", "emailAddress": "ada@example.org" },
        "repository": repository(1, "O"), "changes": [moved("UPDATE", "main", B), moved("DELETE", "topic", ZERO)],
    });
    let changes = case("repo:refs_changed", &push).changes();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].project.as_str(), changes[0].repository.as_str()),
        ("O/r", "https://bb.example/scm/O/r.git")
    );
    assert_eq!((changes[0].author.as_str(), changes[0].revision.as_deref()), ("Ada <ada@example.org>", Some(B)));
    assert!(changes[0].when.is_some(), "its own form of a time");
    let gone = edited(push, &[("/changes", json!([moved("DELETE", "topic", ZERO)]))]);
    assert!(case("repo:refs_changed", &gone).ignored().contains("topic"));
    assert!(case("diagnostics:ping", &json!({"test": true})).ignored().contains("works"));

    let pull = json!({
        "eventKey": "pr:opened", "actor": { "name": "eve", "displayName": "Eve" },
        "pullRequest": {
            "id": 2, "title": "Better", "author": { "user": { "name": "eve" } }, "updatedDate": 1_772_600_767_000_i64,
            "fromRef": { "id": "refs/heads/topic", "displayId": "topic", "latestCommit": A, "repository": repository(2, "~EVE") },
            "toRef": { "id": "refs/heads/main", "displayId": "main", "latestCommit": B, "repository": repository(1, "O") },
        },
    });
    let (key, change) = case("pr:opened", &pull).pull();
    assert_eq!((key.as_str(), change.branch.as_deref()), ("O/r#2", Some("refs/pull-requests/2/from")));
    assert_eq!(change.revision.as_deref(), Some(A));
    assert!(change.outsider.unwrap().contains("~EVE/r"));
    let own = edited(pull.clone(), &[("/pullRequest/fromRef/repository/id", json!(1))]);
    assert_eq!(case("pr:from_ref_updated", &own).pull().1.outsider, None);
    for over in ["pr:merged", "pr:declined", "pr:deleted"] {
        assert_eq!(case(over, &pull).said().unwrap(), Said::Pull { key: "O/r#2".into(), change: None });
    }
    assert!(case("pr:modified", &pull).ignored().contains("only its text"));
}

#[test]
fn gerrit_submitted_commits_are_changes_and_patch_sets_are_outsiders() {
    let case = |payload: &Value| Case::new(HookDialect::Gerrit, ("x-none", ""), payload);
    let updated = json!({
        "type": "ref-updated", "eventCreatedOn": 1_772_600_767, "submitter": { "name": "Ada", "email": "ada@example.org" },
        "refUpdate": { "oldRev": A, "newRev": B, "refName": "refs/heads/main", "project": "p/q" },
    });
    let changes = case(&updated).changes();
    assert_eq!((changes[0].branch.as_deref(), changes[0].revision.as_deref()), (Some("main"), Some(B)));
    assert_eq!((changes[0].project.as_str(), changes[0].author.as_str()), ("p/q", "Ada <ada@example.org>"));
    let short = edited(updated.clone(), &[("/refUpdate/refName", json!("main"))]);
    assert_eq!(case(&short).changes()[0].branch.as_deref(), Some("main"));
    for (name, said) in [("refs/changes/34/1234/meta", "neither"), ("refs/meta/config", "neither")] {
        assert!(case(&edited(updated.clone(), &[("/refUpdate/refName", json!(name))])).ignored().contains(said));
    }
    assert!(case(&edited(updated, &[("/refUpdate/newRev", json!(ZERO))])).ignored().contains("deleted"));

    let patch = json!({
        "type": "patchset-created",
        "change": { "project": "p/q", "branch": "main", "number": 1234, "subject": "Better", "url": "https://gerrit.example/1234",
                    "owner": { "name": "Eve", "username": "eve" } },
        "patchSet": { "number": 2, "revision": A, "ref": "refs/changes/34/1234/2", "createdOn": 1_772_600_767,
                      "uploader": { "name": "Eve", "username": "eve" }, "author": { "name": "Ada", "email": "ada@example.org" } },
    });
    let (key, change) = case(&patch).pull();
    assert_eq!((key.as_str(), change.branch.as_deref()), ("p/q+1234", Some("refs/changes/34/1234/2")));
    assert_eq!(change.properties.get("event.change.number"), Some(&json!(1234)));
    assert!(change.outsider.is_some());
    assert_eq!(case(&patch).with(|h| h.insiders = vec!["eve".into()]).pull().1.outsider, None);
    let rebased = edited(patch.clone(), &[("/patchSet/uploader/username", json!("ada"))]);
    assert!(
        case(&rebased).with(|h| h.insiders = vec!["ada".into()]).pull().1.outsider.is_some(),
        "of another's commits"
    );
    let merged = edited(patch, &[("/type", json!("change-merged"))]);
    assert_eq!(case(&merged).said().unwrap(), Said::Pull { key: "p/q+1234".into(), change: None });
    assert!(case(&json!({"type": "comment-added"})).ignored().contains("comment-added"));
}
