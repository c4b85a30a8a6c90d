//! GitLab: pushes, tags, merge requests, and comments on them (WH-04).
//!
//! GitLab signs nothing; its token is sent with each delivery.

use super::common::*;
use super::{Refused, Said, Sent};
use serde_json::Value;
use tidemill_lang::definition::HookDef;
use tidemill_model::NewChange;

/// What happened to a merge request that makes it worth a build.
const ACTIONS: [&str; 3] = ["open", "reopen", "update"];

pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let payload = payload(sent)?;
    let kind = needed(&payload, "/object_kind")?;
    match kind.as_str() {
        "push" | "tag_push" => push(sent, &payload, &kind),
        "merge_request" => merge_request(sent, &payload),
        "note" => note(sent, &payload),
        other => Ok(Said::Ignored(format!("events of the kind {other} are not used"))),
    }
}

fn repository(payload: &Value) -> Result<String, Refused> {
    let paths = ["/project/git_http_url", "/repository/git_http_url", "/repository/url"];
    paths.iter().find_map(|p| text(payload, p)).map(str::to_owned).ok_or_else(|| lacks("/project/git_http_url"))
}

fn push(sent: &Sent<'_>, payload: &Value, kind: &str) -> Result<Said, Refused> {
    let after = needed(payload, "/after")?;
    let commits: Vec<&Value> = list(payload, "/commits").iter().collect();
    let mut all = NewChange {
        repository: repository(payload)?,
        project: string(payload, "/project/path_with_namespace"),
        ..NewChange::default()
    };
    all.properties.set("event", kind, "Change");
    pushed(
        sent.hook,
        Push {
            full: needed(payload, "/ref")?,
            gone: is_zero(&after),
            newest: commits.iter().find(|c| text(c, "/id") == Some(&after)).or(commits.last()).copied(),
            commits: &commits,
            categories: [Some("push"), Some("tag_push")],
            all,
            // A new name for a known commit, an annotated tag, or a branch that was put back.
            otherwise: Some(NewChange {
                author: string(payload, "/user_name"),
                comments: string(payload, "/message"),
                revision: Some(text(payload, "/checkout_sha").unwrap_or(&after).to_owned()),
                ..NewChange::default()
            }),
        },
    )
}

fn merge_request(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let merge = payload.get("object_attributes").ok_or_else(|| lacks("/object_attributes"))?;
    let key = key(payload, merge)?;
    let action = text(merge, "/action").unwrap_or("open");
    if matches!(action, "close" | "merge") {
        return Ok(Said::Pull { key, change: None });
    }
    if !ACTIONS.contains(&action) {
        return Ok(Said::Ignored(format!("merge request {key}: {action}")));
    }
    // An update without `oldrev` changed its text, labels or people, and no commit.
    if action == "update" && text(merge, "/oldrev").is_none() {
        return Ok(Said::Ignored(format!("merge request {key}: no new commit")));
    }
    Ok(Said::Pull { key, change: Some(Box::new(of_merge(sent, payload, merge, "merge_request")?)) })
}

/// A comment on a merge request announces its newest commit again.
fn note(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let Some(merge) = payload.get("merge_request").filter(|m| m.is_object()) else {
        return Ok(Said::Ignored("a comment, but on no merge request".into()));
    };
    let key = key(payload, merge)?;
    if text(merge, "/state").is_some_and(|s| s != "opened") {
        return Ok(Said::Ignored(format!("a comment on merge request {key}, which is not open")));
    }
    let mut change = of_merge(sent, payload, merge, "note")?;
    change.properties.set("comment", string(payload, "/object_attributes/note"), "Change");
    Ok(Said::Pull { key, change: Some(Box::new(change)) })
}

fn key(payload: &Value, merge: &Value) -> Result<String, Refused> {
    Ok(format!("{}!{}", needed(payload, "/project/path_with_namespace")?, number(merge, "/iid")?))
}

fn of_merge(sent: &Sent<'_>, payload: &Value, merge: &Value, event: &str) -> Result<NewChange, Refused> {
    let iid = number(merge, "/iid")?;
    let text_of = format!("MR#{iid}: {}\n\n{}", string(merge, "/title"), string(merge, "/description"));
    let mut change = NewChange {
        author: person(merge, "/last_commit/author"),
        comments: text_of.trim_end().to_owned(),
        // In the target's repository, so that a builder's own address has it.
        branch: Some(format!("refs/merge-requests/{iid}/head")),
        revision: Some(needed(merge, "/last_commit/id")?),
        repository: repository(payload)?,
        project: string(payload, "/project/path_with_namespace"),
        category: Some(event.into()),
        revlink: text(merge, "/url").or_else(|| text(payload, "/object_attributes/url")).map(str::to_owned),
        when: time(merge, "/last_commit/timestamp"),
        outsider: outsider(sent.hook, payload, merge, event),
        ..NewChange::default()
    };
    for (name, pointer) in [
        ("source_branch", "/source_branch"),
        ("source_project_id", "/source_project_id"),
        ("source_repository", "/source/git_http_url"),
        ("source_git_ssh_url", "/source/git_ssh_url"),
        ("target_branch", "/target_branch"),
        ("target_project_id", "/target_project_id"),
        ("target_repository", "/target/git_http_url"),
        ("target_git_ssh_url", "/target/git_ssh_url"),
    ] {
        if let Some(value) = merge.pointer(pointer).filter(|v| v.is_string() || v.is_number()) {
            change.properties.set(name, value.clone(), "Change");
        }
    }
    change.properties.set("event", event, "Change");
    Ok(change)
}

/// Why it is an outsider's: it comes from another project, and who sent the
/// event is not both its author and one of those that the project file trusts: a
/// trusted sender who reopens or rebases it vouches for no author. Who writes a
/// comment is never who pushed, and anybody may write one: what it says is a
/// property of the build.
fn outsider(hook: &HookDef, payload: &Value, merge: &Value, event: &str) -> Option<String> {
    let user = string(payload, "/user/username");
    let id = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_u64);
    let is_author = id(payload, "/user/id").is_some_and(|user| id(merge, "/author_id") == Some(user));
    match (event, same(merge, "/source_project_id", "/target_project_id")) {
        ("merge_request", true) => return None,
        ("merge_request", false) if is_author && is_insider(hook, &user) => return None,
        ("note", true) if is_author || is_insider(hook, &user) => return None,
        ("note", true) => return Some(format!("a comment of {user}")),
        _ => {}
    }
    let from = text(merge, "/source/path_with_namespace").unwrap_or("another project");
    Some(format!("a merge request from {from}, sent by {user}"))
}
