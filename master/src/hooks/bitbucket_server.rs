//! Bitbucket Server and Data Center: pushes and pull requests (WH-05).

use super::common::*;
use super::{Refused, Said, Sent};
use serde_json::Value;
use tidemill_lang::definition::HookDef;
use tidemill_model::NewChange;

pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let event = header(sent, "x-event-key").ok_or_else(|| Refused("the header X-Event-Key is missing".into()))?;
    let payload = payload(sent)?;
    match event {
        "diagnostics:ping" => Ok(Said::Ignored("ping: the hook works".into())),
        "repo:refs_changed" => push(&payload),
        "pr:opened" | "pr:modified" | "pr:from_ref_updated" | "pr:reopened" => pull_request(sent, &payload, event),
        "pr:merged" | "pr:declined" | "pr:deleted" => {
            Ok(Said::Pull { key: key(&payload, number(&payload, "/pullRequest/id")?)?, change: None })
        }
        other => Ok(Said::Ignored(format!("events of the kind {other} are not used"))),
    }
}

/// `PROJECT/repository`.
fn name(repository: &Value) -> Result<String, Refused> {
    Ok(format!("{}/{}", needed(repository, "/project/key")?, needed(repository, "/slug")?))
}

/// An address to clone from, where it is told; else the page; else the name.
fn address(repository: &Value) -> Result<String, Refused> {
    let clone = list(repository, "/links/clone").iter().find(|l| text(l, "/name") == Some("http"));
    let page = list(repository, "/links/self").first();
    match clone.or(page).and_then(|l| text(l, "/href")) {
        Some(address) => Ok(address.to_owned()),
        None => name(repository),
    }
}

fn target(payload: &Value) -> Result<&Value, Refused> {
    payload.pointer("/pullRequest/toRef/repository").ok_or_else(|| lacks("/pullRequest/toRef/repository"))
}

fn key(payload: &Value, number: u64) -> Result<String, Refused> {
    Ok(format!("{}#{number}", name(target(payload)?)?))
}

fn actor(payload: &Value) -> String {
    let (name, mail) = (text(payload, "/actor/displayName"), text(payload, "/actor/emailAddress"));
    match (name, mail) {
        (Some(name), Some(mail)) => format!("{name} <{mail}>"),
        (name, mail) => name.or(mail).unwrap_or_default().to_owned(),
    }
}

fn push(payload: &Value) -> Result<Said, Refused> {
    let repository = payload.get("repository").ok_or_else(|| lacks("/repository"))?;
    let (mut changes, mut deleted) = (vec![], vec![]);
    for pushed in list(payload, "/changes") {
        let full =
            text(pushed, "/ref/id").or_else(|| text(pushed, "/refId")).ok_or_else(|| lacks("/changes/ref/id"))?;
        let (branch, tag) = match reference(full) {
            Ref::Branch(name) => (name, false),
            Ref::Tag(name) => (name, true),
            Ref::Other => continue,
        };
        let to = needed(pushed, "/toHash")?;
        if text(pushed, "/type") == Some("DELETE") || is_zero(&to) {
            deleted.push(branch);
            continue;
        }
        let category = match text(pushed, "/type") {
            _ if tag => "tag",
            Some("ADD") => "ref-created",
            _ => "push",
        };
        // What was pushed is told by its head alone, or by its newest commits.
        let commit = list(payload, "/commits").iter().find(|c| text(c, "/id") == Some(&to));
        let comments = match commit.and_then(|c| text(c, "/message")) {
            Some(message) => message.to_owned(),
            None => format!("Bitbucket Server commit {to}"),
        };
        let mut change = NewChange {
            author: actor(payload),
            comments,
            branch: Some(branch),
            revision: Some(to),
            repository: address(repository)?,
            project: name(repository)?,
            category: Some(category.into()),
            when: time(payload, "/date"),
            ..NewChange::default()
        };
        change.properties.set("event", "repo:refs_changed", "Change");
        changes.push(change);
    }
    match changes.is_empty() && !deleted.is_empty() {
        true => Ok(Said::Ignored(format!("deleted: {}", deleted.join(", ")))),
        false => Ok(Said::Changes(changes)),
    }
}

fn pull_request(sent: &Sent<'_>, payload: &Value, event: &str) -> Result<Said, Refused> {
    let pull = payload.get("pullRequest").ok_or_else(|| lacks("/pullRequest"))?;
    let number = number(pull, "/id")?;
    let key = key(payload, number)?;
    if event == "pr:modified" && text(payload, "/previousTarget/latestCommit").is_none() {
        return Ok(Said::Ignored(format!("pull request {key}: only its text changed")));
    }
    let title = string(pull, "/title");
    let comments = format!("Bitbucket Server Pull Request #{number}\n{title}\n{}", string(pull, "/description"));
    let mut change = NewChange {
        author: actor(payload),
        comments: comments.trim_end().to_owned(),
        branch: Some(format!("refs/pull-requests/{number}/from")),
        revision: Some(needed(pull, "/fromRef/latestCommit")?),
        repository: address(target(payload)?)?,
        project: name(target(payload)?)?,
        category: Some("pull".into()),
        revlink: list(pull, "/links/self").first().and_then(|l| text(l, "/href")).map(str::to_owned),
        when: seconds(pull, "/updatedDate", true).or_else(|| time(payload, "/date")),
        outsider: outsider(sent.hook, payload, pull),
        ..NewChange::default()
    };
    for (name, pointer) in [
        ("bitbucket.title", "/title"),
        ("bitbucket.fromRef.displayId", "/fromRef/displayId"),
        ("bitbucket.toRef.displayId", "/toRef/displayId"),
        ("bitbucket.author", "/author/user/name"),
    ] {
        change.properties.set(name, string(pull, pointer), "Change");
    }
    change.properties.set("bitbucket.id", number, "Change");
    change.properties.set("event", event, "Change");
    Ok(Said::Pull { key, change: Some(Box::new(change)) })
}

fn outsider(hook: &HookDef, payload: &Value, pull: &Value) -> Option<String> {
    if same(pull, "/fromRef/repository/id", "/toRef/repository/id") {
        return None;
    }
    let (author, actor) = (string(pull, "/author/user/name"), string(payload, "/actor/name"));
    if is_insider(hook, &author) && is_insider(hook, &actor) {
        return None;
    }
    let from = pull.pointer("/fromRef/repository").and_then(|r| name(r).ok()).unwrap_or_default();
    Some(format!("a pull request of {author}, sent by {actor}, from {from}"))
}
