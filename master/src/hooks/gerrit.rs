//! Gerrit, by the events of its webhooks plugin: a branch moved, or somebody
//! uploaded a patch set.
//!
//! Whoever may upload is not whoever may submit: a patch set is an outsider's
//! unless the project file trusts its uploader and the owner of the change: a
//! rebase makes a patch set of another's commits.

use super::common::*;
use super::{Refused, Said, Sent};
use serde_json::Value;
use tidemill_model::NewChange;

pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let payload = payload(sent)?;
    let kind = needed(&payload, "/type")?;
    match kind.as_str() {
        "ref-updated" => ref_updated(&payload),
        "patchset-created" => patchset(sent, &payload),
        "change-merged" | "change-abandoned" => Ok(Said::Pull { key: key(&payload)?, change: None }),
        other => Ok(Said::Ignored(format!("events of the kind {other} are not used"))),
    }
}

/// Numbers come as text from older releases.
fn numbered(payload: &Value, pointer: &str) -> Result<String, Refused> {
    match payload.pointer(pointer) {
        Some(Value::Number(n)) => Ok(n.to_string()),
        Some(Value::String(s)) if !s.is_empty() => Ok(s.clone()),
        _ => Err(lacks(pointer)),
    }
}

fn key(payload: &Value) -> Result<String, Refused> {
    Ok(format!("{}+{}", needed(payload, "/change/project")?, numbered(payload, "/change/number")?))
}

fn ref_updated(payload: &Value) -> Result<Said, Refused> {
    let (name, new) = (needed(payload, "/refUpdate/refName")?, needed(payload, "/refUpdate/newRev")?);
    // Older releases leave `refs/heads/` out.
    let full = if name.starts_with("refs/") { name } else { format!("refs/heads/{name}") };
    let (branch, category) = match reference(&full) {
        Ref::Branch(name) => (name, "ref-updated"),
        Ref::Tag(name) => (name, "tag"),
        Ref::Other => return Ok(Said::Ignored(format!("{full} is neither a branch nor a tag"))),
    };
    if is_zero(&new) {
        return Ok(Said::Ignored(format!("{full} was deleted")));
    }
    let project = needed(payload, "/refUpdate/project")?;
    let mut change = NewChange {
        author: person(payload, "/submitter"),
        comments: format!("Gerrit: {full} was updated"),
        branch: Some(branch),
        revision: Some(new),
        repository: project.clone(),
        project,
        category: Some(category.into()),
        when: seconds(payload, "/eventCreatedOn", false),
        ..NewChange::default()
    };
    facts(payload, &mut change);
    Ok(Said::Changes(vec![change]))
}

fn patchset(sent: &Sent<'_>, payload: &Value) -> Result<Said, Refused> {
    let key = key(payload)?;
    if payload.pointer("/change/wip").and_then(Value::as_bool) == Some(true) {
        return Ok(Said::Ignored(format!("change {key} is work in progress")));
    }
    let uploader = string(payload, "/patchSet/uploader/username");
    let owner = string(payload, "/change/owner/username");
    let insider = is_insider(sent.hook, &uploader) && is_insider(sent.hook, &owner);
    let project = needed(payload, "/change/project")?;
    let subject = string(payload, "/change/subject");
    let mut change = NewChange {
        author: person(payload, "/patchSet/uploader"),
        committer: Some(person(payload, "/patchSet/author")).filter(|c| !c.is_empty()),
        comments: text(payload, "/change/commitMessage").unwrap_or(&subject).to_owned(),
        branch: Some(needed(payload, "/patchSet/ref")?),
        revision: Some(needed(payload, "/patchSet/revision")?),
        repository: project.clone(),
        project,
        category: Some("patchset-created".into()),
        revlink: text(payload, "/change/url").map(str::to_owned),
        when: seconds(payload, "/patchSet/createdOn", false),
        outsider: (!insider).then(|| format!("a patch set of {owner}, uploaded by {uploader}")),
        ..NewChange::default()
    };
    change.properties.set("target_branch", string(payload, "/change/branch"), "Change");
    facts(payload, &mut change);
    Ok(Said::Pull { key, change: Some(Box::new(change)) })
}

/// The event's own words, as `event.change.number` and so on.
fn facts(payload: &Value, change: &mut NewChange) {
    let mut found = vec![];
    leaves(payload, "event", &mut found);
    for (name, value) in found.into_iter().filter(|(_, v)| v.is_string() || v.is_number() || v.is_boolean()) {
        change.properties.set(name, value, "Change");
    }
}
