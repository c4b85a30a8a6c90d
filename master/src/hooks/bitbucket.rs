//! Bitbucket Cloud: pushes and pull requests (WH-05).

use super::common::*;
use super::{Refused, Said, Sent};
use serde_json::Value;
use tidemill_lang::definition::HookDef;
use tidemill_model::NewChange;

pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let event = header(sent, "x-event-key").ok_or_else(|| Refused("the header X-Event-Key is missing".into()))?;
    let payload = payload(sent)?;
    match event {
        "repo:push" => push(sent, &payload),
        "pullrequest:created" | "pullrequest:updated" => pull_request(sent, &payload, event),
        "pullrequest:fulfilled" | "pullrequest:rejected" => {
            Ok(Said::Pull { key: key(&payload, number(&payload, "/pullrequest/id")?)?, change: None })
        }
        other => Ok(Said::Ignored(format!("events of the kind {other} are not used"))),
    }
}

fn key(payload: &Value, number: u64) -> Result<String, Refused> {
    Ok(format!("{}#{number}", needed(payload, "/repository/full_name")?))
}

fn push(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let repository = needed(payload, "/repository/links/html/href")?;
    let project = needed(payload, "/repository/full_name")?;
    let mut changes = vec![];
    let mut deleted = vec![];
    for pushed in list(payload, "/push/changes") {
        let Some(new) = pushed.get("new").filter(|n| n.is_object()) else {
            deleted.push(string(pushed, "/old/name"));
            continue;
        };
        let branch = needed(new, "/name")?;
        let head = string(new, "/target/message");
        if skipped(sent.hook, &head).is_some() {
            deleted.push(format!("{branch} (its head commit says so)"));
            continue;
        }
        let category = match (text(new, "/type"), pushed.get("created").and_then(Value::as_bool)) {
            (Some("tag"), _) => "tag",
            (_, Some(true)) => "ref-created",
            _ => "push",
        };
        // Newest first, and at most some; the head is there in any case.
        let mut commits: Vec<&Value> = list(pushed, "/commits").iter().rev().collect();
        if commits.last().is_none_or(|c| text(c, "/hash") != text(new, "/target/hash")) {
            commits.push(new.get("target").ok_or_else(|| lacks("/push/changes/new/target"))?);
        }
        for commit in commits {
            let mut change = NewChange {
                author: author(commit),
                comments: string(commit, "/message"),
                branch: Some(branch.clone()),
                revision: Some(needed(commit, "/hash")?),
                repository: repository.clone(),
                project: project.clone(),
                category: Some(category.into()),
                revlink: text(commit, "/links/html/href").map(str::to_owned),
                when: time(commit, "/date"),
                ..NewChange::default()
            };
            change.properties.set("event", "repo:push", "Change");
            changes.push(change);
        }
    }
    match changes.is_empty() && !deleted.is_empty() {
        true => Ok(Said::Ignored(format!("deleted or left alone: {}", deleted.join(", ")))),
        false => Ok(Said::Changes(changes)),
    }
}

/// As git says it, or the account's name.
fn author(commit: &Value) -> String {
    ["/author/raw", "/author/user/display_name"].iter().find_map(|p| text(commit, p)).unwrap_or_default().to_owned()
}

fn pull_request(sent: &Sent<'_>, payload: &Value, event: &str) -> Result<Said, Refused> {
    let pull = payload.get("pullrequest").ok_or_else(|| lacks("/pullrequest"))?;
    let number = number(pull, "/id")?;
    let key = key(payload, number)?;
    let title = string(pull, "/title");
    if let Some(pattern) = skipped(sent.hook, &title) {
        return Ok(Said::Ignored(format!("pull request {key}: its title matches {pattern}")));
    }
    let from = needed(pull, "/source/repository/full_name")?;
    // Bitbucket Cloud keeps no ref of a pull request: what is to be built is in its source.
    let repository = match text(pull, "/source/repository/links/html/href") {
        Some(address) => address.to_owned(),
        None => format!("https://bitbucket.org/{from}"),
    };
    let mut change = NewChange {
        author: string(payload, "/actor/display_name"),
        comments: format!("Bitbucket Pull Request #{number}\n{title}\n{}", string(pull, "/description"))
            .trim_end()
            .to_owned(),
        branch: Some(needed(pull, "/source/branch/name")?),
        revision: Some(needed(pull, "/source/commit/hash")?),
        repository,
        project: needed(payload, "/repository/full_name")?,
        category: Some(format!("pull-{}", event.rsplit(':').next().unwrap_or_default())),
        revlink: text(pull, "/links/html/href").map(str::to_owned),
        when: time(pull, "/updated_on"),
        outsider: outsider(sent.hook, payload, pull, &from),
        ..NewChange::default()
    };
    for (name, pointer) in [
        ("bitbucket.title", "/title"),
        ("bitbucket.author", "/author/display_name"),
        ("bitbucket.state", "/state"),
        ("bitbucket.source.branch", "/source/branch/name"),
        ("bitbucket.destination.branch", "/destination/branch/name"),
        ("pullrequesturl", "/links/html/href"),
    ] {
        change.properties.set(name, string(pull, pointer), "Change");
    }
    change.properties.set("bitbucket.id", number, "Change");
    change.properties.set("event", event, "Change");
    Ok(Said::Pull { key, change: Some(Box::new(change)) })
}

/// Names of accounts are not unique here: `insiders` are account ids or uuids.
fn outsider(hook: &HookDef, payload: &Value, pull: &Value, from: &str) -> Option<String> {
    if same(pull, "/source/repository/uuid", "/destination/repository/uuid") {
        return None;
    }
    let known = |pointer: &str, value: &Value| {
        ["account_id", "uuid"]
            .iter()
            .any(|id| text(value, &format!("{pointer}/{id}")).is_some_and(|account| is_insider(hook, account)))
    };
    if known("/author", pull) && known("/actor", payload) {
        return None;
    }
    Some(format!("a pull request from {from}, sent by {}", string(payload, "/actor/display_name")))
}
