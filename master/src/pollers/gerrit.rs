//! Gerrit's events-log over HTTP (CS-13, CS-14): patch sets and updates of refs.
//!
//! The cursor is the time of the newest event and the events of the last minute,
//! by their hash: the log is asked from a minute before, so that an event that
//! was written late is not lost, and one that was read is not read twice.

use super::api::Api;
use super::arguments::{self, Login, Stamp};
use super::documents::{globs, maybe, properties, property, text};
use super::{Found, PollError, World};
use globset::GlobSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use tidemill_lang::definition::Declared;
use tidemill_model::NewChange;
use tidemill_model::repository::public_url;
use time::OffsetDateTime;
use time::macros::format_description;

/// How far behind the newest event the log is read again.
const OVERLAP: i64 = 60;
const LOOKBACK: f64 = 300.0;
/// How much of the log is asked for at once, in seconds.
const PART: i64 = 6 * 3600;
/// A ref that is gone.
const NULL: &str = "0000000000000000000000000000000000000000";

#[derive(Debug, Deserialize)]
struct Arguments {
    #[serde(default, rename = "baseURL", alias = "http_url")]
    base_url: Option<String>,
    #[serde(default, alias = "http_auth")]
    auth: Login,
    #[serde(default)]
    handled_events: Option<Vec<String>>,
    #[serde(default, rename = "gitBaseURL")]
    git_base_url: Option<String>,
    #[serde(default, rename = "firstFetchLookback")]
    lookback: Option<f64>,
    #[serde(default)]
    get_files: Option<bool>,
    #[serde(default)]
    gerritserver: Option<String>,
    #[serde(default)]
    gerritport: Option<u16>,
    #[serde(default)]
    username: Option<String>,
    #[serde(flatten)]
    stamp: Stamp,
}

impl Arguments {
    fn repository(&self, project: &str) -> String {
        let base = match (&self.git_base_url, &self.gerritserver) {
            (Some(base), _) => base.trim_end_matches('/').to_owned(),
            (None, Some(host)) => {
                let user = self.username.as_ref().map(|u| format!("{u}@")).unwrap_or_default();
                format!("ssh://{user}{host}:{}", self.gerritport.unwrap_or(29418))
            }
            (None, None) => self.base_url.clone().unwrap_or_default().trim_end_matches('/').to_owned(),
        };
        format!("{}/{project}", public_url(&base))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cursor {
    /// Of the newest event, seconds since 1970.
    newest: i64,
    /// Events of the last minute before it, with their times.
    seen: BTreeMap<String, i64>,
}

/// None: the source has no address over HTTP.
pub async fn poll(def: &Declared, cursor: Option<Value>, world: &World<'_>) -> Result<Option<Found>, PollError> {
    let args: Arguments = arguments::read(def)?;
    let Some(base) = args.base_url.clone().filter(|b| !b.is_empty()) else { return Ok(None) };
    let mut api = Api::new(&base, world.local)?;
    let mut at = vec![];
    if let Some((user, password)) = &args.auth {
        api.login(user, password, world)?;
        // Where Gerrit asks who it is.
        at.push("a");
    }
    let mut cursor: Cursor = match cursor {
        Some(cursor) => serde_json::from_value(cursor)
            .map_err(|e| PollError::Output(format!("what was seen of Gerrit's events cannot be read: {e}")))?,
        None => {
            let back = args.lookback.unwrap_or(LOOKBACK).clamp(0.0, 1e9) as i64;
            Cursor { newest: world.now_us / 1_000_000 - back + OVERLAP, ..Cursor::default() }
        }
    };
    let from = cursor.newest - OVERLAP;
    // After a long pause part by part: an answer is bounded.
    let until = Some(cursor.newest.saturating_add(PART)).filter(|until| *until < world.now_us / 1_000_000);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let in_words = |at: i64| OffsetDateTime::from_unix_timestamp(at).ok().and_then(|t| t.format(&format).ok());
    let from_text = in_words(from).unwrap_or_else(|| "1970-01-01 00:00:00".into());
    let until_text = until.and_then(in_words);
    let mut query = vec![("t1", from_text.as_str())];
    query.extend(until_text.as_deref().map(|text| ("t2", text)));
    let said = api.text(&[at.as_slice(), &["plugins", "events-log", "events", ""]].concat(), &query).await?;
    let everything = globs(&["event.*".to_owned()])?;
    let mut changes = Vec::new();
    for line in said.lines().map(str::trim).filter(|l| !l.is_empty() && *l != ")]}'") {
        let event: Value = match serde_json::from_str(line) {
            Ok(event) => event,
            Err(error) => {
                // It would stand in the way of all that come after it.
                tracing::warn!(%error, "Gerrit's events-log has a line that is no event");
                continue;
            }
        };
        let created = event["eventCreatedOn"].as_i64().unwrap_or(cursor.newest);
        let hash = hex::encode(&Sha256::digest(line.as_bytes())[..12]);
        if created < from || cursor.seen.insert(hash, created).is_some() {
            continue;
        }
        // An event of the future would hide all that come before it.
        cursor.newest = cursor.newest.max(created.min(world.now_us / 1_000_000));
        changes.extend(change(&args, &api, &at, &event, &everything).await?);
    }
    cursor.newest = cursor.newest.max(until.unwrap_or(i64::MIN));
    let kept = cursor.newest - OVERLAP;
    cursor.seen.retain(|_, created| *created >= kept);
    Ok(Some(Found {
        changes,
        cursor: serde_json::to_value(cursor).unwrap_or_default(),
        more: until.is_some(),
        note: None,
    }))
}

async fn change(
    args: &Arguments,
    api: &Api,
    at: &[&str],
    event: &Value,
    everything: &GlobSet,
) -> Result<Option<NewChange>, PollError> {
    let kind = text(event, "/type");
    let handled = match &args.handled_events {
        Some(kinds) => kinds.contains(&kind),
        None => ["patchset-created", "ref-updated"].contains(&kind.as_str()),
    };
    if !handled {
        return Ok(None);
    }
    let plain = args.stamp.change();
    let of = |project: String, branch: String, revision: String| NewChange {
        branch: Some(branch),
        revision: Some(revision),
        repository: args.repository(&project),
        project: if plain.project.is_empty() { project } else { plain.project.clone() },
        category: plain.category.clone().or_else(|| Some(kind.clone())),
        when: event["eventCreatedOn"].as_i64().and_then(|t| OffsetDateTime::from_unix_timestamp(t).ok()),
        ..plain.clone()
    };
    let mut change = if event.get("change").is_some() && event.get("patchSet").is_some() {
        let number = event.pointer("/change/number").map(plain_text).unwrap_or_default();
        let (target, patch_set) = (text(event, "/change/branch"), plain_text(&event["patchSet"]["number"]));
        let mut change =
            of(text(event, "/change/project"), format!("{target}/{number}"), text(event, "/patchSet/revision"));
        change.author = person(&event["change"]["owner"]);
        // Whoever may upload is not whoever may submit.
        change.outsider = Some(format!("a patch set that {} uploaded", person(&event["patchSet"]["uploader"])));
        change.comments = text(event, "/change/subject");
        change.revlink = maybe(event, "/change/url");
        let parents = event["patchSet"]["parents"].as_array().map(Vec::as_slice).unwrap_or_default();
        change.parents = parents.iter().filter_map(|p| p.as_str().map(str::to_owned)).collect();
        property(&mut change, "target_branch", target);
        if args.get_files == Some(true) {
            let path = [at, &["changes", &number, "revisions", &patch_set, "files", ""]].concat();
            let files = api.json_or_none(&path, &[]).await?.unwrap_or_default();
            let names = files.as_object().into_iter().flat_map(|f| f.keys());
            change.files = names.filter(|n| !n.starts_with('/')).cloned().collect();
        }
        change
    } else if let Some(update) = event.get("refUpdate") {
        let (name, revision) = (text(update, "/refName"), text(update, "/newRev"));
        // Patch sets have events of their own.
        if name.starts_with("refs/changes/") || name.starts_with("refs/meta/") || revision == NULL {
            return Ok(None);
        }
        let branch = name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned();
        let mut change = of(text(update, "/project"), branch, revision);
        change.author = person(&event["submitter"]);
        change.comments = "Gerrit: commits were pushed".into();
        change.parents = maybe(update, "/oldRev").filter(|r| r != NULL).into_iter().collect();
        change
    } else {
        return Ok(None);
    };
    properties(&mut change, "event", event, everything);
    Ok(Some(change))
}

/// A number or a text.
fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn person(who: &Value) -> String {
    let (name, mail) = (maybe(who, "/name").or_else(|| maybe(who, "/username")), maybe(who, "/email"));
    match (name, mail) {
        (Some(name), Some(mail)) => format!("{name} <{mail}>"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "unknown".into(),
    }
}
