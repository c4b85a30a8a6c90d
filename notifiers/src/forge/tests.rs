//! Requests compared with what each forge documents.

use super::*;
use crate::http::Answer;
use serde_json::json;

const SHA: &str = "6dcb09b5b57875f334f61aebed695e2e4193db5e";

fn facts() -> Facts<'static> {
    Facts {
        repository: "https://github.com/octocat/Hello-World.git",
        revision: SHA,
        branch: Some("main"),
        change: Some("17"),
        stage: Stage::Done(Results::Success),
        context: "tidemill/linux",
        description: "Build done.",
        url: "https://ci.example.org/builders/1/builds/2",
        text: "All is well.\n",
        ..Facts::default()
    }
}

fn told(kind: Kind, base: &str, facts: &Facts<'_>) -> (String, Value) {
    let (url, body) = document(kind, base, facts).unwrap();
    (url.into(), body)
}

fn states(kind: Kind) -> Vec<String> {
    let stages = [Stage::Waiting, Stage::Running].into_iter().chain(Results::ALL.map(Stage::Done));
    stages
        .map(|stage| told(kind, "https://x.org", &Facts { stage, ..facts() }).1["state"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn github_is_told_as_its_documents_say() {
    let (url, body) = told(Kind::GitHub, "https://api.github.com", &facts());
    assert_eq!(url, format!("https://api.github.com/repos/octocat/Hello-World/statuses/{SHA}"));
    let link = "https://ci.example.org/builders/1/builds/2";
    let documented =
        json!({"state": "success", "target_url": link, "description": "Build done.", "context": "tidemill/linux"});
    assert_eq!(body, documented);
    let all = ["pending", "pending", "success", "success", "failure", "success", "error", "pending", "error"];
    assert_eq!(states(Kind::GitHub), all);

    let (url, body) = told(Kind::GitHubComment, "https://api.github.com/", &facts());
    assert_eq!(url, "https://api.github.com/repos/octocat/Hello-World/issues/17/comments");
    assert_eq!(body, json!({"body": "All is well.\n"}));

    for (base, api) in [
        ("https://github.com", "https://api.github.com/repos/"),
        ("https://ghe.example.org", "https://ghe.example.org/api/v3/repos/"),
        ("https://ghe.example.org/api/v3", "https://ghe.example.org/api/v3/repos/"),
    ] {
        assert!(told(Kind::GitHub, base, &facts()).0.starts_with(api), "{base}");
    }
}

#[test]
fn texts_are_cut_to_what_a_forge_takes_and_stay_apart() {
    let long = "é\r\n".repeat(10_000);
    let context = |end: &str| format!("{}{end}", "x".repeat(300));
    let (one, other) = (context("1"), context("2"));
    let status =
        |context| told(Kind::GitHub, "https://api.github.com", &Facts { context, description: &long, ..facts() }).1;
    let (a, b) = (status(&one), status(&other));
    let length = |v: &Value| v.as_str().unwrap().chars().count();
    assert_eq!((length(&a["description"]), length(&a["context"])), (139, 255));
    assert!(!a["description"].as_str().unwrap().contains(['\r', '\n']));
    assert_ne!(a["context"], b["context"]);

    let key = told(Kind::Bitbucket, "https://api.bitbucket.org/2.0", &Facts { context: &one, ..facts() }).1;
    assert_eq!(length(&key["key"]), 40);
    let comment =
        told(Kind::GitHubComment, "https://api.github.com", &Facts { text: &"é".repeat(70_000), ..facts() }).1;
    assert_eq!(length(&comment["body"]), 65_536);
    // What is no address of a page is no link.
    for url in ["", "javascript:alert(1)", "/builds/1"] {
        let body = told(Kind::GitHub, "https://api.github.com", &Facts { url, ..facts() }).1;
        assert_eq!(body.get("target_url"), None, "{url}");
    }
}

#[test]
fn gitlab_is_told_as_its_documents_say() {
    let facts = Facts { repository: "git@gitlab.com:group/sub/hello.world.git", ..facts() };
    let (url, body) = told(Kind::GitLab, "https://gitlab.com", &facts);
    assert_eq!(url, format!("https://gitlab.com/api/v4/projects/group%2Fsub%2Fhello.world/statuses/{SHA}"));
    assert_eq!(
        body,
        json!({"state": "success", "name": "tidemill/linux", "description": "Build done.", "ref": "main",
               "target_url": "https://ci.example.org/builders/1/builds/2"})
    );
    // A merge request of another project is told there, of which its number is known.
    let there = Details { project: Some("66"), ..Details::default() };
    let (url, _) = told(Kind::GitLab, "https://gitlab.com", &Facts { details: there, ..facts.clone() });
    assert_eq!(url, format!("https://gitlab.com/api/v4/projects/66/statuses/{SHA}"));
    let all = ["pending", "running", "success", "success", "failed", "skipped", "failed", "pending", "canceled"];
    assert_eq!(states(Kind::GitLab), all);
    assert!(
        told(Kind::GitLab, "https://x.org/sub/api/v4/", &facts).0.starts_with("https://x.org/sub/api/v4/projects/")
    );
}

#[test]
fn what_gitlab_knows_already_is_told() {
    let said = |state: &str| Answer {
        status: 400,
        body: format!("{{\"message\":\"Cannot transition status via :x from :{state} (Reason(s): Status cannot …)\"}}"),
        ..Answer::default()
    };
    let done = Stage::Done(Results::Success);
    assert!(matches!(gitlab::special(&said("pending"), Stage::Waiting), Some(Outcome::Sent { .. })));
    assert!(matches!(gitlab::special(&said("success"), Stage::Running), Some(Outcome::Sent { .. })));
    assert!(matches!(gitlab::special(&said("success"), done), Some(Outcome::Sent { .. })));
    assert_eq!(gitlab::special(&said("canceled"), done), None);
    assert_eq!(gitlab::special(&Answer { status: 400, body: "no".into(), ..Answer::default() }, done), None);
}

#[test]
fn gitea_is_told_as_its_documents_say() {
    let kind = Kind::Gitea { warning_as_success: false };
    let (url, body) = told(kind, "https://gitea.example.org/sub", &facts());
    assert_eq!(url, format!("https://gitea.example.org/sub/api/v1/repos/octocat/Hello-World/statuses/{SHA}"));
    let link = "https://ci.example.org/builders/1/builds/2";
    let documented =
        json!({"state": "success", "target_url": link, "description": "Build done.", "context": "tidemill/linux"});
    assert_eq!(body, documented);
    let all = ["pending", "pending", "success", "warning", "failure", "success", "error", "pending", "error"];
    assert_eq!(states(kind), all);
    assert_eq!(states(Kind::Gitea { warning_as_success: true })[3], "success");
}

#[test]
fn bitbucket_is_told_as_its_documents_say() {
    let bases =
        ["https://api.bitbucket.org/2.0/repositories", "https://api.bitbucket.org/2.0", "https://api.bitbucket.org"];
    for base in bases {
        let (url, body) = told(Kind::Bitbucket, base, &facts());
        let at = format!("https://api.bitbucket.org/2.0/repositories/octocat/Hello-World/commit/{SHA}/statuses/build");
        assert_eq!(url, at);
        assert_eq!(
            body,
            json!({"state": "SUCCESSFUL", "key": "tidemill/linux", "name": "tidemill/linux", "refname": "main",
                   "description": "Build done.", "url": "https://ci.example.org/builders/1/builds/2"})
        );
    }
    let (wait, good, bad, stop) = ("INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED");
    assert_eq!(states(Kind::Bitbucket), [wait, wait, good, good, bad, good, bad, wait, stop]);
    let why = document(Kind::Bitbucket, "https://api.bitbucket.org/2.0", &Facts { url: "", ..facts() }).unwrap_err();
    assert!(why.contains("buildbotURL"), "{why}");
}

#[test]
fn bitbucket_server_is_told_as_its_documents_say() {
    let base = "https://bitbucket.example.org";
    let (url, body) = told(Kind::BitbucketServer, base, &facts());
    assert_eq!(url, format!("{base}/rest/build-status/1.0/commits/{SHA}"));
    let link = "https://ci.example.org/builders/1/builds/2";
    assert_eq!(
        body,
        json!({"state": "SUCCESSFUL", "key": "tidemill/linux", "name": "tidemill/linux", "description": "Build done.", "url": link})
    );
    let (wait, good, bad) = ("INPROGRESS", "SUCCESSFUL", "FAILED");
    assert_eq!(states(Kind::BitbucketServer), [wait, wait, good, good, bad, good, bad, wait, bad]);
    assert_eq!(states(Kind::BitbucketServerCore), [wait, wait, good, good, bad, good, bad, wait, "CANCELLED"]);

    let details = Details {
        build_number: Some("3"),
        parent: Some("PLAN"),
        duration: Some(Duration::from_millis(1500)),
        tests: Some((3, 1, 2)),
        ..Details::default()
    };
    for (repository, project) in [
        ("https://bitbucket.example.org/scm/PRJ/repo.git", "PRJ"),
        ("ssh://git@bitbucket.example.org:7999/PRJ/repo.git", "PRJ"),
        ("https://bitbucket.example.org/projects/PRJ/repos/repo", "PRJ"),
        ("https://bitbucket.example.org/users/ann/repos/repo", "~ann"),
    ] {
        let facts = Facts { repository, details: details.clone(), ..facts() };
        let (url, body) = told(Kind::BitbucketServerCore, base, &facts);
        assert_eq!(url, format!("{base}/rest/api/1.0/projects/{project}/repos/repo/commits/{SHA}/builds"));
        assert_eq!(
            body,
            json!({"state": "SUCCESSFUL", "key": "tidemill/linux", "name": "tidemill/linux", "url": link,
                   "description": "Build done.", "buildNumber": "3", "parent": "PLAN", "ref": "refs/heads/main",
                   "duration": 1500, "testResults": {"successful": 3, "failed": 1, "skipped": 2}})
        );
        let (url, body) = told(Kind::BitbucketServerComment, base, &facts);
        assert_eq!(url, format!("{base}/rest/api/1.0/projects/{project}/repos/repo/pull-requests/17/comments"));
        assert_eq!(body, json!({"text": "All is well.\n"}));
    }
}

#[test]
fn gerrit_is_told_as_its_documents_say() {
    let base = "https://gerrit.example.org/r";
    let facts = Facts {
        change: Some("my/project~main~I8473b95934b5732ac55d26311a706c9c2bde9940"),
        labels: BTreeMap::from([("Verified".to_owned(), 1), ("Code-Review".to_owned(), -1)]),
        details: Details { notify: Some("OWNER"), duration: Some(Duration::from_secs(7264)), ..Details::default() },
        ..facts()
    };
    let (url, body) = told(Kind::GerritReview, base, &facts);
    let change = "my%2Fproject~main~I8473b95934b5732ac55d26311a706c9c2bde9940";
    assert_eq!(url, format!("{base}/a/changes/{change}/revisions/{SHA}/review"));
    assert_eq!(
        body,
        json!({"message": "All is well.\n", "tag": "autogenerated:tidemill", "notify": "OWNER",
               "labels": {"Verified": 1, "Code-Review": -1}})
    );
    let (url, body) = told(Kind::GerritVerify, base, &Facts { change: Some("1000"), revision: "2", ..facts.clone() });
    assert_eq!(url, format!("{base}/a/changes/1000/revisions/2/verify-status~verifications"));
    let result = json!({"name": "tidemill/linux", "value": 1, "abstain": false, "comment": "Build done.",
                        "reporter": "tidemill", "duration": "2h 1m 4s", "url": "https://ci.example.org/builders/1/builds/2"});
    assert_eq!(body, json!({"verifications": {"tidemill/linux": result}}));
    for (labels, notify) in [("Verified\r\n", None), ("-x", None), ("", None), ("Verified", Some("ALL; x"))] {
        let labels = BTreeMap::from([(labels.to_owned(), 1)]);
        let details = Details { notify, ..Details::default() };
        assert!(document(Kind::GerritReview, base, &Facts { labels, details, ..facts.clone() }).is_err());
    }
}

#[test]
fn what_has_no_commit_repository_or_request_is_refused_with_a_reason() {
    let base = "https://x.org";
    for revision in ["", "main", "6dcb09b5", "../../x", &"g".repeat(40), &format!("{SHA}\r\n")] {
        let why = document(Kind::GitHub, base, &Facts { revision, ..facts() }).unwrap_err();
        assert!(why.contains("whole hash"), "{why}");
    }
    for change in [None, Some(""), Some("1/../2"), Some("x"), Some("99999999999999999999999")] {
        assert!(document(Kind::GitHubComment, base, &Facts { change, ..facts() }).is_err(), "{change:?}");
    }
    assert!(document(Kind::GitHub, base, &Facts { repository: "/srv/x.git", ..facts() }).is_err());
    for base in ["", "x", "mailto:x@y"] {
        assert!(document(Kind::GitLab, base, &facts()).unwrap_err().contains("no address of a forge"), "{base}");
    }
}

#[test]
fn a_review_by_ssh_is_one_line_of_quoted_words() {
    let facts = Facts {
        text: "it's done; rm -rf /\n`x` $(y) \"z\" --label=Code-Review=+2\r\0",
        labels: BTreeMap::from([("Verified".to_owned(), 1), ("Code-Review".to_owned(), -2)]),
        details: Details { project: Some("my project"), notify: Some("NONE"), ..Details::default() },
        ..facts()
    };
    let line = gerrit_ssh::command(&facts).unwrap();
    assert_eq!(
        line,
        format!(
            "gerrit review '--project=my project' \
             '--message=it'\\''s done; rm -rf /\n`x` $(y) \"z\" --label=Code-Review=+2' \
             --tag=autogenerated:tidemill --notify=NONE --label=Code-Review=-2 --label=Verified=+1 {SHA}"
        )
    );
    let numbered =
        gerrit_ssh::command(&Facts { change: Some("12"), revision: "3", text: " ", ..facts.clone() }).unwrap();
    assert!(numbered.ends_with(" 12,3") && !numbered.contains("--message"), "{numbered}");
    assert!(gerrit_ssh::command(&Facts { revision: "--help", ..facts }).is_err());

    let ssh = |server: &str, username: &str| GerritSsh {
        server: server.into(),
        port: 29418,
        username: username.into(),
        identity_file: None,
        options: vec![],
        within: Duration::from_secs(1),
    };
    let arguments = ssh("gerrit.example.org", "ci").arguments("x; y").unwrap();
    assert_eq!(arguments[arguments.len() - 3..], ["--", "gerrit.example.org", "x; y"].map(std::ffi::OsString::from));
    for (server, user) in
        [("-oProxyCommand=x", "ci"), ("a b", "ci"), ("x@y", "ci"), ("h", "-l"), ("h", ""), ("h", "a;b")]
    {
        assert!(ssh(server, user).arguments("x").is_err(), "{server} {user}");
    }
}
