//! What dialects share: reading JSON by its paths, refs, times, bounds.

use super::{Refused, Said, Sent};
use globset::Glob;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeSet;
use tidemill_lang::definition::HookDef;
use tidemill_model::NewChange;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// Most paths of a change that stands for several commits.
const FILES_MAX: usize = 10_000;
/// Longest text of such a change.
const COMMENTS_MAX: usize = 64 << 10;

/// The body as JSON, or as a form with the JSON in its field `payload`.
pub fn payload(sent: &Sent<'_>) -> Result<Value, Refused> {
    let form = header(sent, "content-type").is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
    let read = |bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes)
            .map_err(|e| Refused(format!("the body is no JSON that can be read: {e}")))
    };
    let value = match form {
        false => read(sent.body)?,
        true => {
            let field = url::form_urlencoded::parse(sent.body).find(|(name, _)| name == "payload");
            let (_, text) = field.ok_or_else(|| Refused("the form has no field `payload`".into()))?;
            read(text.as_bytes())?
        }
    };
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(Refused("the body is JSON, but no object".into())),
    }
}

pub fn header<'a>(sent: &Sent<'a>, name: &str) -> Option<&'a str> {
    sent.headers.get(name)?.to_str().ok()
}

/// The text at a JSON pointer, if it is one and not empty.
pub fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer)?.as_str().filter(|t| !t.is_empty())
}

pub fn string(value: &Value, pointer: &str) -> String {
    text(value, pointer).unwrap_or_default().to_owned()
}

/// The same where nothing makes sense without it.
pub fn needed(value: &Value, pointer: &str) -> Result<String, Refused> {
    text(value, pointer).map(str::to_owned).ok_or_else(|| lacks(pointer))
}

pub fn number(value: &Value, pointer: &str) -> Result<u64, Refused> {
    value.pointer(pointer).and_then(Value::as_u64).ok_or_else(|| lacks(pointer))
}

pub fn lacks(pointer: &str) -> Refused {
    Refused(format!("the payload has no {}", pointer.trim_start_matches('/').replace('/', ".")))
}

pub fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether two things that are there are the same, by a field that tells them apart.
pub fn same(value: &Value, a: &str, b: &str) -> bool {
    match (value.pointer(a), value.pointer(b)) {
        (Some(a), Some(b)) => !a.is_null() && a == b,
        _ => false,
    }
}

/// `Name <mail>`, as far as there is one of either.
pub fn person(value: &Value, pointer: &str) -> String {
    let part = |name: &str| text(value, &format!("{pointer}/{name}"));
    match (part("name").or_else(|| part("username")), part("email")) {
        (Some(name), Some(mail)) => format!("{name} <{mail}>"),
        (Some(name), None) => name.to_owned(),
        (None, Some(mail)) => mail.to_owned(),
        (None, None) => String::new(),
    }
}

/// A time in words; none if it is none. Only shown, so never an error.
pub fn time(value: &Value, pointer: &str) -> Option<OffsetDateTime> {
    let text = text(value, pointer)?;
    let loose =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]");
    let parsed = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, &loose));
    parsed.ok()
}

/// Seconds since 1970, or thousandths of them.
pub fn seconds(value: &Value, pointer: &str, thousandths: bool) -> Option<OffsetDateTime> {
    let n = value.pointer(pointer)?.as_i64()?;
    OffsetDateTime::from_unix_timestamp(if thousandths { n / 1000 } else { n }).ok()
}

/// Paths that a commit added, removed and modified, each once, in order.
pub fn files(commit: &Value) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let all = ["/added", "/modified", "/removed"].into_iter().flat_map(|list_of| list(commit, list_of));
    all.filter_map(Value::as_str).filter(|path| seen.insert(path.to_owned())).map(str::to_owned).collect()
}

/// A branch or a tag, by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ref {
    Branch(String),
    Tag(String),
    Other,
}

pub fn reference(full: &str) -> Ref {
    match (full.strip_prefix("refs/heads/"), full.strip_prefix("refs/tags/")) {
        (Some(name), _) if !name.is_empty() => Ref::Branch(name.to_owned()),
        (_, Some(name)) if !name.is_empty() => Ref::Tag(name.to_owned()),
        _ => Ref::Other,
    }
}

/// What a deleted ref points to.
pub fn is_zero(revision: &str) -> bool {
    !revision.is_empty() && revision.bytes().all(|b| b == b'0')
}

/// A push of a branch or a tag, as GitHub, GitLab and Gitea say it.
pub struct Push<'p> {
    pub full: String,
    /// The ref was deleted.
    pub gone: bool,
    /// Whose message may say that nothing is to be built.
    pub newest: Option<&'p Value>,
    /// Oldest first.
    pub commits: &'p [&'p Value],
    /// Of a branch and of a tag.
    pub categories: [Option<&'p str>; 2],
    /// What each of its changes has beside what its commit says.
    pub all: NewChange,
    /// The change of a push without commits.
    pub otherwise: Option<NewChange>,
}

pub fn pushed(hook: &HookDef, push: Push<'_>) -> Result<Said, Refused> {
    let Push { full, gone, newest, commits, categories, all, otherwise } = push;
    let (branch, category) = match reference(&full) {
        Ref::Branch(name) => (name, categories[0]),
        Ref::Tag(name) => (name, categories[1]),
        Ref::Other => return Ok(Said::Ignored(format!("{full} is neither a branch nor a tag"))),
    };
    if gone {
        return Ok(Said::Ignored(format!("{full} was deleted")));
    }
    if let Some(pattern) = newest.and_then(|h| text(h, "/message")).and_then(|m| skipped(hook, m)) {
        return Ok(Said::Ignored(format!("the head commit's message matches {pattern}")));
    }
    let whole = |change: NewChange| NewChange {
        branch: Some(branch.clone()),
        category: category.map(str::to_owned),
        repository: all.repository.clone(),
        project: all.project.clone(),
        properties: all.properties.clone(),
        ..change
    };
    let of = |commit: &&Value| {
        Ok(whole(NewChange {
            author: person(commit, "/author"),
            committer: Some(person(commit, "/committer")).filter(|c| !c.is_empty()),
            comments: string(commit, "/message"),
            files: files(commit),
            revision: Some(needed(commit, "/id")?),
            revlink: text(commit, "/url").map(str::to_owned),
            when: time(commit, "/timestamp"),
            ..NewChange::default()
        }))
    };
    let changes = commits.iter().map(of).collect::<Result<Vec<_>, Refused>>()?;
    let otherwise = otherwise.filter(|_| changes.is_empty()).map(whole);
    Ok(Said::Changes(changes.into_iter().chain(otherwise).collect()))
}

/// The pattern by which a message says that nothing is to be built.
pub fn skipped<'h>(hook: &'h HookDef, message: &str) -> Option<&'h str> {
    let says = |pattern: &&String| Regex::new(pattern).is_ok_and(|r| r.is_match(message));
    hook.skips.iter().find(says).map(String::as_str)
}

/// Whether the forge's account is one of those that the project trusts.
pub fn is_insider(hook: &HookDef, account: &str) -> bool {
    !account.is_empty() && hook.insiders.iter().any(|i| i.eq_ignore_ascii_case(account))
}

/// `project` and `codebase` of the address win (WH-04).
pub fn from_address(sent: &Sent<'_>, change: &mut NewChange) {
    let named = |name: &str| sent.query.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    if let Some(project) = named("project") {
        change.project = project;
    }
    if let Some(codebase) = named("codebase").or_else(|| sent.hook.codebase.clone()) {
        change.codebase = codebase;
    }
}

/// Whether the hook is for the repository, by its name at the forge or its address.
pub fn is_meant(hook: &HookDef, change: &NewChange) -> bool {
    let fits = |pattern: &String| {
        Glob::new(pattern).is_ok_and(|g| {
            let g = g.compile_matcher();
            g.is_match(&change.project) || g.is_match(&change.repository)
        })
    };
    hook.repositories.is_empty() || hook.repositories.iter().any(fits)
}

/// The same for each branch, whose changes stand together, with its share of them: no branch is left out.
pub fn bounded_by_branch(changes: Vec<NewChange>, most: usize) -> Vec<NewChange> {
    if changes.len() <= most {
        return changes;
    }
    let place = |c: &NewChange| (c.codebase.clone(), c.repository.clone(), c.project.clone(), c.branch.clone());
    let mut lines: Vec<Vec<NewChange>> = vec![];
    for change in changes {
        match lines.last_mut() {
            Some(line) if place(&line[0]) == place(&change) => line.push(change),
            _ => lines.push(vec![change]),
        }
    }
    // What short lines leave of their share is for the longer ones.
    let (mut shares, mut left) = (vec![0; lines.len()], most);
    let mut by_length: Vec<usize> = (0..lines.len()).collect();
    by_length.sort_by_key(|n| lines[*n].len());
    for (done, n) in by_length.iter().enumerate() {
        shares[*n] = (left / (lines.len() - done)).max(1).min(lines[*n].len());
        left = left.saturating_sub(shares[*n]);
    }
    lines.into_iter().zip(shares).flat_map(|(line, share)| bounded(line, share)).collect()
}

/// At most so many: what is before the newest becomes one change, whose files
/// are those of all and whose text says so.
pub fn bounded(mut changes: Vec<NewChange>, most: usize) -> Vec<NewChange> {
    if changes.len() <= most || most == 0 {
        return changes;
    }
    let newest = changes.split_off(changes.len() - (most - 1));
    let mut files = BTreeSet::new();
    let mut comments = format!("{} commits:", changes.len());
    for change in &changes {
        let room = FILES_MAX.saturating_sub(files.len());
        files.extend(change.files.iter().take(room).cloned());
        let line = change.comments.lines().next().unwrap_or_default();
        if comments.len() + line.len() < COMMENTS_MAX {
            comments.push('\n');
            comments.push_str(line);
        }
    }
    let outsider = changes.iter().find_map(|c| c.outsider.clone());
    let mut all = Vec::with_capacity(most);
    if let Some(mut last) = changes.pop() {
        (last.files, last.comments) = (files.into_iter().collect(), comments);
        last.outsider = last.outsider.or(outsider);
        all.push(last);
    }
    all.extend(newest);
    all
}

/// The leaves of a value by their dotted names; lists stay whole.
pub fn leaves(value: &Value, name: &str, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(k, v)| leaves(v, &format!("{name}.{k}"), found)),
        leaf => found.push((name.to_owned(), leaf.clone())),
    }
}
