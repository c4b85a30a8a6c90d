//! Pollers of forges against a server that answers with documents of the shapes
//! that the forges publish.

use crate::server::{Asked, Reply, Server};
use crate::{NOW, Source};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// A pull request as GitHub shows it, with the parts that are read.
fn github(number: u64, head: &str, from: &str, into: &str, label: &str) -> Value {
    let repo = |name: &str| {
        json!({ "full_name": name, "clone_url": format!("https://github.example/{name}.git"),
                "ssh_url": format!("git@github.example:{name}.git") })
    };
    json!({
        "number": number, "state": "open", "title": format!("Change {number}"), "body": "why\n",
        "html_url": format!("https://github.example/o/r/pull/{number}"),
        "user": { "login": "ada" }, "author_association": "NONE", "labels": [{ "name": label }],
        "updated_at": "2026-03-04T05:06:07Z",
        "head": { "ref": "topic", "sha": head, "repo": repo(from) },
        "base": { "ref": into, "sha": "b".repeat(40), "repo": repo("o/r") },
    })
}

fn sha(of: char) -> String {
    of.to_string().repeat(40)
}

#[tokio::test]
async fn pull_requests_of_github_become_changes_once_for_each_head() {
    let open = Arc::new(Mutex::new(vec![github(1, &sha('1'), "o/r", "main", "ci")]));
    let list = open.clone();
    let server = Server::start(move |asked: &Asked| {
        if asked.header("authorization") != Some("Bearer t0ken") {
            return Reply::status(401);
        }
        match asked.path() {
            "/repos/o/r/pulls" => {
                let (page, per): (usize, usize) =
                    (asked.query("page").unwrap().parse().unwrap(), asked.query("per_page").unwrap().parse().unwrap());
                let all = list.lock().unwrap();
                Reply::json(all.iter().skip((page - 1) * per).take(per).cloned().collect())
            }
            path if path.ends_with("/files") => {
                Reply::json(json!([{ "filename": "new.c", "previous_filename": "old.c" }, { "filename": "a" }]))
            }
            _ => Reply::status(404),
        }
    })
    .await;
    let source = Source::of(
        "def _wanted(pr):\n    return \"[skip]\" not in pr[\"title\"]\n",
        &format!(
            "changes.GitHubPullrequestPoller(\"o\", \"r\", branches = [\"main\", \"rel-*\"], labels = [\"ci\"], token = \"t0ken\", \
             baseURL = {:?}, github_property_whitelist = [\"github.head.*\", \"github.title\"], pullrequest_filter = _wanted, \
             category = \"pull\")",
            server.url()
        ),
    );
    let first = source.poll(None).await;
    assert!(first.changes.is_empty(), "what is open already is only recorded");
    {
        let mut open = open.lock().unwrap();
        open[0]["head"]["sha"] = json!(sha('2'));
        open.push(github(2, &sha('3'), "eve/r", "rel-1", "ci"));
        open.push(github(3, &sha('4'), "o/r", "other", "ci"));
        open.push(github(4, &sha('5'), "o/r", "main", "docs"));
        let mut skipped = github(5, &sha('6'), "o/r", "main", "ci");
        skipped["title"] = json!("[skip] this");
        open.push(skipped);
        let mut gone = github(6, &sha('7'), "o/r", "main", "ci");
        gone["head"]["repo"] = Value::Null;
        open.push(gone);
    }
    let found = source.poll(Some(first.cursor)).await;
    let of: Vec<_> =
        found.changes.iter().map(|c| (c.revision.clone().unwrap(), c.branch.as_deref().unwrap())).collect();
    assert_eq!(of, [(sha('2'), "topic"), (sha('3'), "topic"), (sha('7'), "refs/pull/6/head")]);
    let change = &found.changes[1];
    assert_eq!(change.repository, "https://github.example/eve/r.git");
    assert_eq!(
        (change.author.as_str(), change.comments.as_str(), change.project.as_str()),
        ("ada", "Change 2\n\nwhy", "o/r")
    );
    assert_eq!(change.files, ["new.c", "old.c", "a"]);
    assert_eq!((change.category.as_deref(), change.when.unwrap().unix_timestamp()), (Some("pull"), 1_772_600_767));
    let property = |name: &str| change.properties.get(name).cloned();
    assert_eq!(property("github.head.ref"), Some(json!("topic")));
    assert_eq!(property("github.title"), Some(json!("Change 2")));
    assert_eq!(property("github.body"), None, "only what the whitelist names");
    assert_eq!(property("github.number"), Some(json!(2)), "and what tells which one it is");
    let outsiders: Vec<_> =
        found.changes.iter().map(|c| c.properties.get("pullrequest_outsider").cloned().unwrap()).collect();
    assert_eq!(outsiders, [json!(false), json!(true), json!(true)]);
    let why: Vec<_> = found.changes.iter().map(|c| c.outsider.as_deref()).collect();
    assert_eq!(why, [None, Some("a pull request from eve/r"), Some("a pull request from a repository that is gone")]);
    let again = source.poll(Some(found.cursor)).await;
    assert!(again.changes.is_empty());
    // A list that has not all of them for once repeats nothing; closed ones are forgotten.
    let all = std::mem::take(&mut *open.lock().unwrap());
    let none = source.poll(Some(again.cursor.clone())).await;
    *open.lock().unwrap() = all;
    let back = source.poll(Some(none.cursor)).await;
    assert_eq!((back.changes.len(), &back.cursor), (0, &again.cursor));
    open.lock().unwrap().truncate(1);
    let left = source.poll(Some(back.cursor)).await;
    let left = source.poll(Some(left.cursor)).await;
    assert_eq!(left.cursor, json!({ "1": sha('2') }));
}

#[tokio::test]
async fn many_pull_requests_are_listed_in_pages_and_stored_in_pages() {
    let count = Arc::new(Mutex::new(0));
    let many = count.clone();
    let server = Server::start(move |asked: &Asked| {
        if asked.path().ends_with("/files") {
            return Reply::json(json!([]));
        }
        let page: u64 = asked.query("page").unwrap().parse().unwrap();
        let last = *many.lock().unwrap();
        let numbers = (page - 1) * 100..(page * 100).min(last);
        Reply::json(numbers.map(|n| github(n, &format!("{n:040x}"), "o/r", "main", "x")).collect())
    })
    .await;
    let source = Source::of(
        "",
        &format!("changes.GitHubPullrequestPoller(\"o\", \"r\", magic_link = True, baseURL = {:?})", server.url()),
    );
    let mut found = source.poll(None).await;
    *count.lock().unwrap() = 130;
    let mut all = Vec::new();
    loop {
        found = source.poll(Some(found.cursor)).await;
        assert!(found.changes.len() <= 20);
        all.extend(found.changes.iter().map(|c| c.branch.clone().unwrap()));
        if !found.more {
            break;
        }
    }
    let wanted: Vec<String> = (0..130).map(|n| format!("refs/pull/{n}/merge")).collect();
    assert_eq!(all, wanted);
}

#[tokio::test]
async fn an_answer_that_is_an_error_is_said_without_the_token() {
    let server = Server::start(|_| Reply::status(403)).await;
    let source = Source::of(
        "",
        &format!("changes.GitHubPullrequestPoller(\"o\", \"r/../x\", token = \"t0ken\", baseURL = {:?})", server.url()),
    );
    let error = source.ask(None).await.unwrap_err().to_string();
    assert!(error.contains("answer 403") && !error.contains("t0ken"), "{error}");
    assert!(server.asked()[0].starts_with("/repos/o/r%2F..%2Fx/pulls"), "{:?}", server.asked());
}

#[tokio::test]
async fn pull_requests_of_bitbucket_become_changes_with_their_whole_hash() {
    let full = format!("{}{}", "a1b2c3d4e5f6", "0".repeat(28));
    let head = Arc::new(Mutex::new("000000000000".to_owned()));
    let (now, whole) = (head.clone(), full.clone());
    let server = Server::start(move |asked: &Asked| {
        if asked.header("authorization") != Some("Basic Y2k6cHc=") {
            return Reply::status(401);
        }
        match asked.path() {
            "/2.0/repositories/o/s/pullrequests" => Reply::json(json!({ "values": [{
                "id": 7, "title": "Fix", "description": "it", "updated_on": "2026-03-04T05:06:07.000001+00:00",
                "author": { "display_name": "Ada L", "nickname": "ada" },
                "links": { "html": { "href": "https://bitbucket.example/o/s/pull-requests/7" } },
                "source": { "branch": { "name": "topic" }, "commit": { "hash": *now.lock().unwrap() },
                            "repository": { "full_name": "eve/s", "links": { "html": { "href": "https://bitbucket.example/eve/s" } } } },
                "destination": { "branch": { "name": "main" }, "repository": { "full_name": "o/s" } },
            }] })),
            "/2.0/repositories/eve/s/commit/a1b2c3d4e5f6" => Reply::json(json!({ "hash": whole })),
            "/2.0/repositories/o/s/pullrequests/7/diffstat" => {
                Reply::json(json!({ "values": [{ "old": { "path": "a" }, "new": { "path": "a" } }, { "old": null, "new": { "path": "b" } }] }))
            }
            _ => Reply::status(404),
        }
    })
    .await;
    let source = Source::of(
        "",
        &format!(
            "changes.BitbucketPullrequestPoller(\"o\", \"s\", auth = (\"ci\", \"pw\"), branch = \"topic\", \
             bitbucket_property_whitelist = [\"bitbucket.title\"], baseURL = \"{}/2.0\")",
            server.url()
        ),
    );
    let first = source.poll(None).await;
    *head.lock().unwrap() = "a1b2c3d4e5f6".into();
    let found = source.poll(Some(first.cursor)).await;
    let [change] = found.changes.as_slice() else { panic!("{:?}", found.changes) };
    assert_eq!(change.revision, Some(full));
    assert_eq!((change.branch.as_deref(), change.author.as_str()), (Some("topic"), "Ada L"));
    assert_eq!(
        (change.files.as_slice(), change.repository.as_str()),
        (["a".to_owned(), "b".to_owned()].as_slice(), "https://bitbucket.example/eve/s")
    );
    assert_eq!(change.properties.get("bitbucket.title"), Some(&json!("Fix")));
    assert_eq!(change.properties.get("pullrequest_outsider"), Some(&json!(true)));
    assert!(source.poll(Some(found.cursor)).await.changes.is_empty());
}

fn patch_set(at: i64, number: u64) -> Value {
    json!({
        "type": "patchset-created", "eventCreatedOn": at,
        "change": { "project": "tools/x", "branch": "main", "number": 12, "subject": "Fix it", "url": "https://gerrit.example/12",
                    "owner": { "name": "Ada", "email": "ada@example.org" } },
        "patchSet": { "number": number, "revision": format!("{number:040x}"), "ref": format!("refs/changes/12/12/{number}"),
                      "parents": [sha('9')] },
    })
}

fn updated(at: i64, name: &str, revision: &str) -> Value {
    json!({ "type": "ref-updated", "eventCreatedOn": at, "submitter": { "name": "Bob" },
            "refUpdate": { "project": "tools/x", "refName": name, "oldRev": sha('8'), "newRev": revision } })
}

#[tokio::test]
async fn events_of_gerrit_become_changes_once_and_late_ones_are_not_lost() {
    let log = Arc::new(Mutex::new(vec![patch_set(NOW - 100, 1)]));
    let events = log.clone();
    let server = Server::start(move |asked: &Asked| match asked.path() {
        "/a/plugins/events-log/events/" => {
            let from = asked.query("t1").unwrap();
            let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
            let from = time::PrimitiveDateTime::parse(&from, format).unwrap().assume_utc().unix_timestamp();
            let all = events.lock().unwrap();
            let lines = all.iter().filter(|e| e["eventCreatedOn"].as_i64().unwrap() >= from).map(|e| format!("{e}\n"));
            Reply::bytes(lines.collect::<String>().into_bytes())
        }
        "/a/changes/12/revisions/2/files/" => Reply::bytes(b")]}'\n{\"/COMMIT_MSG\": {}, \"src/a.c\": {}}".to_vec()),
        _ => Reply::status(404),
    })
    .await;
    let source = Source::of(
        "",
        &format!(
            "changes.GerritEventLogPoller({:?}, (\"ci\", \"pw\"), gitBaseURL = \"ssh://gerrit.example:29418\", get_files = True, \
             firstFetchLookback = 10)",
            server.url()
        ),
    );
    let first = source.poll(None).await;
    assert!(first.changes.is_empty(), "older than the first poll looks back");
    log.lock().unwrap().extend([
        patch_set(NOW - 5, 2),
        updated(NOW - 4, "refs/heads/main", &sha('7')),
        updated(NOW - 4, "refs/changes/12/12/2", &sha('6')),
        updated(NOW - 4, "refs/heads/gone", &sha('0')),
        json!({ "type": "comment-added", "eventCreatedOn": NOW - 4 }),
    ]);
    let found = source.poll(Some(first.cursor)).await;
    let of: Vec<_> = found.changes.iter().map(|c| (c.branch.as_deref().unwrap(), c.author.as_str())).collect();
    assert_eq!(of, [("main/12", "Ada <ada@example.org>"), ("main", "Bob")]);
    let change = &found.changes[0];
    assert_eq!(
        (change.repository.as_str(), change.project.as_str()),
        ("ssh://gerrit.example:29418/tools/x", "tools/x")
    );
    assert_eq!(
        (change.category.as_deref(), change.files.as_slice()),
        (Some("patchset-created"), ["src/a.c".to_owned()].as_slice())
    );
    assert_eq!(change.properties.get("event.patchSet.ref"), Some(&json!("refs/changes/12/12/2")));
    assert_eq!(change.parents, [sha('9')]);
    // Written late, with an older time than the newest.
    log.lock().unwrap().insert(0, updated(NOW - 9, "refs/heads/late", &sha('5')));
    let late = source.poll(Some(found.cursor)).await;
    let of: Vec<_> = late.changes.iter().map(|c| c.branch.as_deref().unwrap()).collect();
    assert_eq!(of, ["late"]);
}

#[tokio::test]
async fn a_pull_request_of_which_not_all_is_shown_stops_no_other() {
    let pull = |id: u64, from: &str| {
        json!({ "id": id, "title": "x", "author": {}, "links": {},
                "source": { "branch": { "name": "t" }, "commit": { "hash": format!("{id:012}") }, "repository": { "full_name": from } },
                "destination": { "branch": { "name": "main" }, "repository": { "full_name": "o/s" } } })
    };
    let server = Server::start(move |asked: &Asked| match asked.path() {
        "/repositories/o/s/pullrequests" => Reply::json(json!({ "values": [pull(1, "eve/private"), pull(2, "o/s")] })),
        "/repositories/eve/private/commit/000000000001" => Reply::status(403),
        "/repositories/o/s/commit/000000000002" => Reply::json(json!({ "hash": format!("{:012}{:028}", 2, 0) })),
        "/repositories/o/s/pullrequests/1/diffstat" => Reply::status(555),
        _ => Reply::json(json!({ "values": [{ "new": { "path": "a" } }] })),
    })
    .await;
    let source =
        Source::of("", &format!("changes.BitbucketPullrequestPoller(\"o\", \"s\", baseURL = {:?})", server.url()));
    let found = source.poll(Some(json!({}))).await;
    let of: Vec<_> = found.changes.iter().map(|c| (c.revision.as_ref().unwrap().len(), c.files.len())).collect();
    assert_eq!(of, [(12, 0), (40, 1)]);
}

#[tokio::test]
async fn gerrits_log_is_read_part_by_part_past_lines_that_are_none_and_shows_no_password() {
    let server = Server::start(move |asked: &Asked| match asked.query("t2") {
        Some(_) => Reply::bytes(b"{\"type\": \"ref-upd\n".to_vec()),
        None => Reply::bytes(format!("{}\n{{\n", updated(NOW - 4, "refs/heads/main", &sha('7'))).into_bytes()),
    })
    .await;
    let url = server.url().replace("http://", "http://ci:geheim@");
    let source = Source::of("", &format!("changes.GerritEventLogPoller({url:?})"));
    let (mut cursor, mut parts) = (json!({ "newest": NOW - 24 * 3600, "seen": {} }), 0);
    let last = loop {
        let found = source.poll(Some(cursor)).await;
        if !found.more {
            break found;
        }
        assert!(found.changes.is_empty());
        (cursor, parts) = (found.cursor, parts + 1);
    };
    assert_eq!((parts, last.changes.len()), (3, 1));
    assert_eq!(last.changes[0].repository, format!("{}/tools/x", server.url()));
    let source = Source::of("", "changes.GerritEventLogPoller(\"ftp://ci:geheim@h/\")");
    let error = source.ask(None).await.unwrap_err().to_string();
    assert!(!error.contains("geheim"), "{error}");
}
