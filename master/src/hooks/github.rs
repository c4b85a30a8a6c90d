//! GitHub: `push`, `pull_request` and `ping` (WH-03).

use super::common::*;
use super::{Refused, Said, Sent};
use globset::{Glob, GlobSetBuilder};
use serde_json::Value;
use tidemill_lang::definition::{HookDef, PullRequestRef};
use tidemill_model::NewChange;

/// Who may write to a repository or belongs to whom it belongs to, in GitHub's words.
const ASSOCIATIONS: [&str; 3] = ["OWNER", "MEMBER", "COLLABORATOR"];
/// What happened to a pull request that makes it worth a build.
const ACTIONS: [&str; 4] = ["opened", "ready_for_review", "reopened", "synchronize"];
/// Facts that are always properties.
const FACTS: [&str; 8] = [
    "github.base.ref",
    "github.base.sha",
    "github.head.ref",
    "github.head.sha",
    "github.html_url",
    "github.number",
    "github.title",
    "github.user.login",
];

pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let event = header(sent, "x-github-event").ok_or_else(|| Refused("the header X-GitHub-Event is missing".into()))?;
    let payload = payload(sent)?;
    match event {
        "ping" => Ok(Said::Ignored("ping: the hook works".into())),
        "push" => push(sent, &payload),
        "pull_request" => pull_request(sent, &payload),
        other => Ok(Said::Ignored(format!("events of the kind {other} are not used"))),
    }
}

fn push(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let gone = payload.get("deleted").and_then(Value::as_bool) == Some(true);
    let head = payload.get("head_commit").filter(|c| c.is_object());
    let mut commits: Vec<&Value> = list(payload, "/commits").iter().collect();
    if commits.is_empty() {
        // A new name for a known commit, or a branch that was put back.
        commits.extend(head);
    }
    let mut said = pushed(
        sent.hook,
        Push {
            full: needed(payload, "/ref")?,
            gone: gone || text(payload, "/after").is_some_and(is_zero),
            newest: head,
            commits: &commits,
            categories: [None, Some("tag")],
            all: NewChange {
                repository: needed(payload, "/repository/html_url")?,
                project: string(payload, "/repository/full_name"),
                ..NewChange::default()
            },
            otherwise: None,
        },
    )?;
    if let Said::Changes(changes) = &mut said {
        for (change, commit) in changes.iter_mut().zip(commits) {
            let distinct = commit.get("distinct").and_then(Value::as_bool).unwrap_or(true);
            change.properties.set("github_distinct", distinct, "Change");
            change.properties.set("event", "push", "Change");
        }
    }
    Ok(said)
}

fn pull_request(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let number = number(payload, "/number")?;
    let pull = payload.get("pull_request").ok_or_else(|| lacks("/pull_request"))?;
    let key = format!("{}#{number}", needed(payload, "/repository/full_name")?);
    let action = needed(payload, "/action")?;
    if action == "closed" {
        return Ok(Said::Pull { key, change: None });
    }
    if !ACTIONS.contains(&action.as_str()) {
        return Ok(Said::Ignored(format!("pull request {key}: {action}")));
    }
    let (title, body) = (string(pull, "/title"), string(pull, "/body"));
    if let Some(pattern) = skipped(sent.hook, &title).or_else(|| skipped(sent.hook, &body)) {
        return Ok(Said::Ignored(format!("pull request {key}: its text matches {pattern}")));
    }
    let kind = match sent.hook.pull_request_ref {
        PullRequestRef::Merge => "merge",
        PullRequestRef::Head => "head",
    };
    let commits = pull.get("commits").and_then(Value::as_u64).unwrap_or(0);
    let plural = if commits == 1 { "" } else { "s" };
    let comments = format!("GitHub Pull Request #{number} ({commits} commit{plural})\n{title}\n{body}");
    let mut change = NewChange {
        author: string(payload, "/sender/login"),
        comments: comments.trim_end().to_owned(),
        branch: Some(format!("refs/pull/{number}/{kind}")),
        revision: Some(needed(pull, "/head/sha")?),
        repository: needed(payload, "/repository/html_url")?,
        project: needed(payload, "/repository/full_name")?,
        category: Some("pull".into()),
        revlink: text(pull, "/html_url").map(str::to_owned),
        when: time(pull, "/updated_at").or_else(|| time(pull, "/created_at")),
        outsider: outsider(sent.hook, payload, pull),
        ..NewChange::default()
    };
    for (name, value) in facts(sent.hook, pull)? {
        change.properties.set(name, value, "Change");
    }
    change.properties.set("event", "pull_request", "Change");
    change.properties.set("basename", string(pull, "/base/ref"), "Change");
    change.properties.set("pullrequesturl", string(pull, "/html_url"), "Change");
    Ok(Said::Pull { key, change: Some(Box::new(change)) })
}

/// Why it is an outsider's. A branch of the repository itself was pushed by who
/// may write to it; from elsewhere, its author must belong to the project and
/// have sent this very event: others may push to an author's branch.
fn outsider(hook: &HookDef, payload: &Value, pull: &Value) -> Option<String> {
    if same(pull, "/head/repo/id", "/base/repo/id") {
        return None;
    }
    let (author, sender) = (string(pull, "/user/login"), string(payload, "/sender/login"));
    let association = text(pull, "/author_association").unwrap_or("NONE");
    let by_author = same(&payload_with(payload, pull), "/sender", "/author");
    let known = ASSOCIATIONS.contains(&association) || is_insider(hook, &author);
    if known && (by_author || is_insider(hook, &sender)) {
        return None;
    }
    let from = text(pull, "/head/repo/full_name").unwrap_or("a repository that is gone");
    Some(format!("a pull request of {author} ({}), sent by {sender}, from {from}", association.to_lowercase()))
}

/// Ids of who sent the event and who made the pull request, side by side.
fn payload_with(payload: &Value, pull: &Value) -> Value {
    serde_json::json!({ "sender": payload.pointer("/sender/id"), "author": pull.pointer("/user/id") })
}

/// What of the pull request becomes properties: some facts, and what the whitelist's globs match.
fn facts(hook: &HookDef, pull: &Value) -> Result<Vec<(String, Value)>, Refused> {
    let mut globs = GlobSetBuilder::new();
    for pattern in &hook.property_whitelist {
        let glob = Glob::new(pattern)
            .map_err(|e| Refused(format!("`github_property_whitelist` of the project has a glob that is none: {e}")))?;
        globs.add(glob);
    }
    let globs = globs.build().map_err(|e| Refused(e.to_string()))?;
    let mut found = vec![];
    leaves(pull, "github", &mut found);
    found.retain(|(name, _)| FACTS.contains(&name.as_str()) || globs.is_match(name));
    Ok(found)
}
