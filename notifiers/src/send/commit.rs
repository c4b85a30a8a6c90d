//! What of a delivery says which commit a forge is told of, and of which of its changes it is.

use crate::render::context::text;
use serde_json::Value;
use tidemill_lang::definition::ReporterKind;
use tidemill_schema::notices::send::Told;

/// A commit and what it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Commit {
    pub repository: String,
    pub revision: String,
    pub branch: Option<String>,
    /// Number of its pull or merge request, or of its change in Gerrit.
    pub change: Option<String>,
    /// The project's name in Gerrit, or the number of a merge request's own project in GitLab.
    pub project: Option<String>,
}

impl Commit {
    /// As the plan and the build say.
    pub fn of(kind: &ReporterKind, told: &Told, document: &Value) -> Commit {
        let branch = told.facts["branch"].as_str().map(str::to_owned);
        let mut commit = Commit {
            repository: text(&told.facts, "/repository"),
            revision: text(&told.facts, "/revision"),
            change: branch.as_deref().and_then(|b| change_of(kind, b)).map(str::to_owned),
            branch,
            project: None,
        };
        let stamps = document["buildset"]["sourcestamps"].as_array().map(Vec::as_slice).unwrap_or_default();
        // Properties are of the build: of several codebases nobody knows which they mean.
        let single = stamps.len() <= 1;
        if commit.change.is_none() && single {
            commit.change = number_in(kind).and_then(|name| property(document, name));
        }
        match kind {
            ReporterKind::Gitlab(_) if single && commit.branch.as_deref().is_some_and(is_merge_request) => {
                // From another project it is shown by that project's pipelines.
                commit.project = property(document, "source_project_id");
                commit.branch = property(document, "source_branch").or(commit.branch);
            }
            ReporterKind::Gerrit(_) | ReporterKind::GerritVerify(_) => {
                let own = stamps.iter().find(|s| s["codebase"] == told.facts["codebase"]);
                let named = own.map(|s| text(s, "/project")).filter(|p| !p.is_empty());
                let project = named.or_else(|| property(document, "event.change.project").filter(|_| single));
                commit.project = project.or_else(|| Some(commit.repository.clone()).filter(|r| !r.contains(':')));
            }
            _ => {}
        }
        commit
    }

    /// As somebody says who tries a reporter.
    ///
    /// # Errors
    /// How to say it.
    pub fn tested(kind: &ReporterKind, address: &str) -> Result<Commit, String> {
        use ReporterKind::*;
        let (sign, form, of) = match kind {
            GithubComment(_) | BitbucketServerComment(_) => ('#', "REPOSITORY#NUMBER", "a pull request"),
            Gerrit(_) => ('@', "PROJECT@COMMIT", "a patch set"),
            GerritVerify(_) => ('@', "CHANGE@PATCHSET", "a patch set"),
            _ => ('@', "REPOSITORY@COMMIT", "a commit"),
        };
        let parts = address.rsplit_once(sign).filter(|(place, at)| {
            let of_one =
                at.len() >= 7 || matches!(kind, GithubComment(_) | BitbucketServerComment(_) | GerritVerify(_));
            !place.is_empty() && of_one && !at.is_empty() && at.bytes().all(|b| b.is_ascii_hexdigit())
        });
        let Some((place, at)) = parts else {
            return Err(format!("{} tells of {of}: name one, as in `--to {form}`", kind.name()));
        };
        let (place, at) = (place.to_owned(), at.to_owned());
        Ok(match kind {
            GithubComment(_) | BitbucketServerComment(_) => {
                Commit { repository: place, change: Some(at), ..Commit::default() }
            }
            Gerrit(_) => Commit { project: Some(place), revision: at, ..Commit::default() },
            GerritVerify(_) => Commit { change: Some(place), revision: at, ..Commit::default() },
            _ => Commit { repository: place, revision: at, ..Commit::default() },
        })
    }
}

/// The number in a ref that a forge keeps of a pull or merge request, or Gerrit of a change.
fn change_of<'b>(kind: &ReporterKind, branch: &'b str) -> Option<&'b str> {
    let gerrit = matches!(kind, ReporterKind::Gerrit(_) | ReporterKind::GerritVerify(_));
    let mut parts = branch.strip_prefix("refs/")?.split('/');
    let number = match parts.next()? {
        "pull" | "pull-requests" | "merge-requests" if !gerrit => parts.next()?,
        // After its last two digits.
        "changes" if gerrit => parts.nth(1)?,
        _ => return None,
    };
    Some(number).filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_merge_request(branch: &str) -> bool {
    branch.starts_with("refs/merge-requests/")
}

/// Under which property the hook of this forge puts the number.
fn number_in(kind: &ReporterKind) -> Option<&'static str> {
    use ReporterKind::*;
    Some(match kind {
        Github(_) | GithubComment(_) => "github.number",
        Gitea(_) => "pull_request_number",
        Bitbucket(_) | BitbucketServer(_) | BitbucketServerCore(_) | BitbucketServerComment(_) => "bitbucket.id",
        Gerrit(_) | GerritVerify(_) => "event.change.number",
        _ => return None,
    })
}

/// A property of the build or request, as text.
pub(super) fn property(document: &Value, name: &str) -> Option<String> {
    let subject = [&document["build"], &document["request"]].into_iter().find(|v| v.is_object())?;
    match &subject["properties"].get(name)?[0] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidemill_lang::definition::{ForgeDef, GerritDef, SecretText, Verify, Wants};
    use tidemill_schema::notices::Moment;

    fn forge() -> ForgeDef {
        ForgeDef {
            base_url: "https://forge.example.org".into(),
            token: SecretText::Text("t".into()),
            context: None,
            context_pr: None,
            warning_as_success: false,
            verify: Verify::Yes,
        }
    }

    fn gerrit() -> ReporterKind {
        ReporterKind::Gerrit(GerritDef {
            server: "gerrit.example.org".into(),
            port: 29418,
            username: "ci".into(),
            identity_file: None,
            notify: None,
            review: false,
            start: false,
            summary: false,
            args: Default::default(),
            wants: Wants::default(),
        })
    }

    fn told(facts: Value) -> Told {
        Told {
            at: time::OffsetDateTime::UNIX_EPOCH,
            generator: 0,
            moment: Moment::End,
            mode: "passing".into(),
            builder: Some(1),
            build: Some(1),
            buildset: Some(1),
            request: Some(1),
            worker: None,
            facts,
        }
    }

    fn of(kind: &ReporterKind, branch: Value, properties: Value, stamps: usize) -> Commit {
        let facts = json!({"codebase": "", "repository": "https://h/o/r", "revision": "abc", "branch": branch});
        let stamp = json!({"codebase": "", "project": ""});
        let document = json!({"build": {"properties": properties}, "buildset": {"sourcestamps": vec![stamp; stamps]}});
        Commit::of(kind, &told(facts), &document)
    }

    #[test]
    fn the_number_of_a_change_is_in_its_ref_or_in_what_the_hook_knew() {
        let hub = ReporterKind::GithubComment(forge());
        let number = |branch: Value, properties: Value, stamps| of(&hub, branch, properties, stamps).change;
        assert_eq!(number(json!("refs/pull/17/merge"), json!({}), 2).as_deref(), Some("17"));
        assert_eq!(number(json!("main"), json!({}), 1), None);
        assert_eq!(number(json!("refs/pull/x/merge"), json!({}), 1), None);
        let known = json!({"github.number": [5, "Change"]});
        assert_eq!(number(json!("topic"), known.clone(), 1).as_deref(), Some("5"));
        assert_eq!(number(json!("topic"), known, 2), None, "of which of the two?");
        let change =
            of(&gerrit(), json!("refs/changes/34/1234/2"), json!({"event.change.project": ["p/q", "Change"]}), 1);
        assert_eq!((change.change.as_deref(), change.project.as_deref()), (Some("1234"), Some("p/q")));
        assert_eq!(of(&gerrit(), json!("refs/pull/17/merge"), json!({}), 1).change, None);
    }

    #[test]
    fn a_merge_request_of_another_project_of_gitlab_is_told_there() {
        let lab = ReporterKind::Gitlab(forge());
        let known = json!({"source_project_id": [66, "Change"], "source_branch": ["topic", "Change"]});
        let merge = of(&lab, json!("refs/merge-requests/3/head"), known.clone(), 1);
        assert_eq!((merge.project.as_deref(), merge.branch.as_deref()), (Some("66"), Some("topic")));
        let push = of(&lab, json!("main"), known, 1);
        assert_eq!((push.project, push.branch.as_deref()), (None, Some("main")));
    }

    #[test]
    fn who_tries_a_reporter_names_a_commit_or_is_told_how() {
        let hub = ReporterKind::Github(forge());
        let sha = "6dcb09b5b57875f334f61aebed695e2e4193db5e";
        let found = Commit::tested(&hub, &format!("git@github.com:o/r.git@{sha}")).unwrap();
        assert_eq!((found.repository.as_str(), found.revision.as_str()), ("git@github.com:o/r.git", sha));
        for wrong in ["api.github.com:443", "git@github.com:o/r", "https://h/o/r", "", "@abcdefg"] {
            let why = Commit::tested(&hub, wrong).unwrap_err();
            assert!(why.contains("GitHubStatusPush tells of a commit") && why.contains("REPOSITORY@COMMIT"), "{why}");
        }
        let comment = ReporterKind::GithubComment(forge());
        let found = Commit::tested(&comment, "https://github.com/o/r#17").unwrap();
        assert_eq!((found.repository.as_str(), found.change.as_deref()), ("https://github.com/o/r", Some("17")));
        assert!(Commit::tested(&comment, "https://github.com/o/r").is_err());
        assert_eq!(Commit::tested(&gerrit(), &format!("p/q@{sha}")).unwrap().project.as_deref(), Some("p/q"));
    }
}
