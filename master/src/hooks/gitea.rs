//! Gitea and Forgejo: pushes and pull requests, signed as GitHub's are.

use super::common::*;
use super::{Refused, Said, Sent};
use serde_json::Value;
use tidemill_lang::definition::HookDef;
use tidemill_model::NewChange;

const ACTIONS: [&str; 3] = ["opened", "reopened", "synchronized"];

pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let event = ["x-gitea-event", "x-forgejo-event", "x-gogs-event"].iter().find_map(|name| header(sent, name));
    let event = event.ok_or_else(|| Refused("the header X-Gitea-Event is missing".into()))?;
    let payload = payload(sent)?;
    match event {
        "push" => push(sent, &payload),
        // What happened to commits of a pull request has a name of its own.
        "pull_request" | "pull_request_sync" => pull_request(sent, &payload),
        other => Ok(Said::Ignored(format!("events of the kind {other} are not used"))),
    }
}

fn repository(payload: &Value) -> Result<String, Refused> {
    text(payload, "/repository/clone_url")
        .or_else(|| text(payload, "/repository/html_url"))
        .map(str::to_owned)
        .ok_or_else(|| lacks("/repository/clone_url"))
}

fn push(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let after = needed(payload, "/after")?;
    // Newest first, unlike elsewhere.
    let mut commits: Vec<&Value> = list(payload, "/commits").iter().rev().collect();
    let head = payload.get("head_commit").filter(|c| c.is_object());
    let newest = head.or(commits.last().copied());
    if commits.is_empty() {
        commits.extend(head);
    }
    let mut all = NewChange {
        repository: repository(payload)?,
        project: string(payload, "/repository/full_name"),
        ..NewChange::default()
    };
    all.properties.set("event", "push", "Change");
    pushed(
        sent.hook,
        Push {
            full: needed(payload, "/ref")?,
            gone: is_zero(&after),
            newest,
            commits: &commits,
            categories: [Some("push"), Some("tag")],
            all,
            otherwise: Some(NewChange {
                author: person(payload, "/pusher"),
                revision: Some(after),
                ..NewChange::default()
            }),
        },
    )
}

fn pull_request(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let number = number(payload, "/number")?;
    let pull = payload.get("pull_request").ok_or_else(|| lacks("/pull_request"))?;
    let project = needed(payload, "/repository/full_name")?;
    let key = format!("{project}#{number}");
    let action = needed(payload, "/action")?;
    if action == "closed" {
        return Ok(Said::Pull { key, change: None });
    }
    if !ACTIONS.contains(&action.as_str()) {
        return Ok(Said::Ignored(format!("pull request {key}: {action}")));
    }
    let (title, body) = (string(pull, "/title"), string(pull, "/body"));
    if let Some(pattern) = skipped(sent.hook, &title) {
        return Ok(Said::Ignored(format!("pull request {key}: its title matches {pattern}")));
    }
    let mut change = NewChange {
        author: person(payload, "/sender"),
        comments: format!("Pull request #{number}: {title}\n\n{body}").trim_end().to_owned(),
        // In the base's repository, so that a builder's own address has it.
        branch: Some(format!("refs/pull/{number}/head")),
        revision: Some(needed(pull, "/head/sha")?),
        repository: repository(payload)?,
        project,
        category: Some("pull".into()),
        revlink: text(pull, "/html_url").map(str::to_owned),
        when: time(pull, "/updated_at"),
        outsider: outsider(sent.hook, payload, pull),
        ..NewChange::default()
    };
    for (name, pointer) in [
        ("base_branch", "/base/ref"),
        ("base_sha", "/base/sha"),
        ("base_repository", "/base/repo/clone_url"),
        ("head_branch", "/head/ref"),
        ("head_sha", "/head/sha"),
        ("head_repository", "/head/repo/clone_url"),
        ("pullrequesturl", "/html_url"),
    ] {
        change.properties.set(name, string(pull, pointer), "Change");
    }
    change.properties.set("pull_request_number", number, "Change");
    change.properties.set("event", "pull_request", "Change");
    Ok(Said::Pull { key, change: Some(Box::new(change)) })
}

/// Why it is an outsider's: it comes from another repository, and neither who
/// made it nor who sent the event is all among those that the project file trusts.
fn outsider(hook: &HookDef, payload: &Value, pull: &Value) -> Option<String> {
    if same(pull, "/head/repo/id", "/base/repo/id") {
        return None;
    }
    let name = |value: &Value, of: &str| {
        text(value, &format!("{of}/login")).or_else(|| text(value, &format!("{of}/username"))).unwrap_or("").to_owned()
    };
    let (author, sender) = (name(pull, "/user"), name(payload, "/sender"));
    if is_insider(hook, &author) && is_insider(hook, &sender) {
        return None;
    }
    let from = text(pull, "/head/repo/full_name").unwrap_or("a repository that is gone");
    Some(format!("a pull request of {author}, sent by {sender}, from {from}"))
}
