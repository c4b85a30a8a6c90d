//! Mail directories (CS-12): commit mails of CVS, Subversion and Launchpad that
//! a mail server delivers to a Maildir.
//!
//! A poll reads `new/`, oldest first, and moves a mail to `cur/` only after its
//! change is committed: the cursor that is committed with a page of changes
//! names the mails of that page, and whoever polls next, this replica or
//! another, moves those before it reads more. So a mail gives its change once,
//! wherever the last poll was cut off. A mail that is delivered twice is known
//! by its Message-ID.
//!
//! What a mail says is data. One that cannot be read holds up no other: it goes
//! to `cur/` with the flag F, and the reason is shown until it is gone from there.

mod cvs;
mod launchpad;
mod maildir;
mod message;
mod svn;

use super::arguments::{self, Stamp};
use super::{Found, PollError};
use maildir::Maildir;
use message::Mail;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tidemill_lang::definition::Declared;
use tidemill_model::NewChange;

/// Most mails of one page, and about their bytes.
const PAGE: usize = 100;
const PAGE_BYTES: usize = 8 << 20;
/// Message-IDs that are known again.
const KNOWN_MAX: usize = 500;
/// Reasons that are kept, and those that are shown.
const UNREAD_MAX: usize = 20;
const SHOWN_MAX: usize = 5;
const SOURCE: &str = "Change";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Arguments {
    maildir: String,
    prefix: Option<String>,
    /// CVS: instead of what a mail says.
    repository: Option<String>,
    properties: Map<String, Value>,
    /// Launchpad.
    branch_map: Map<String, Value>,
    default_branch: Option<String>,
    #[serde(flatten)]
    stamp: Stamp,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Cursor {
    /// Mails that were read up to here and are still to be moved.
    taken: Vec<Taken>,
    /// Of mails that gave a change lately.
    known: Vec<String>,
    /// Mails that could not be read and why, the newest last.
    unread: Vec<Taken>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Taken {
    name: String,
    /// Why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// How mails of one kind are read: a change without what the source sets, none
/// for a mail that announces nothing, or what is missing in it.
type Reader = fn(&Mail) -> Result<Option<NewChange>, String>;

pub async fn poll(def: &Declared, cursor: Option<Value>) -> Result<Found, PollError> {
    let args: Arguments = arguments::read(def)?;
    let reader: Reader = match def.kind.as_str() {
        "CVSMaildirSource" => cvs::read,
        "SVNCommitEmailMaildirSource" => svn::read,
        _ => launchpad::read,
    };
    let cursor: Cursor = cursor.and_then(|c| serde_json::from_value(c).ok()).unwrap_or_default();
    let look = tokio::task::spawn_blocking(move || look(&args, reader, cursor));
    look.await.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic()))
}

fn look(args: &Arguments, reader: Reader, mut cursor: Cursor) -> Result<Found, PollError> {
    let maildir = Maildir::open(&args.maildir)?;
    for taken in std::mem::take(&mut cursor.taken) {
        maildir.put_away(&taken.name, taken.why.is_none())?;
        if taken.why.is_some() {
            cursor.unread.push(taken);
        }
    }
    cursor.unread.retain(|mail| maildir.is_flagged(&mail.name));
    cursor.unread.drain(..cursor.unread.len().saturating_sub(UNREAD_MAX));
    let note = note(&cursor.unread, &args.maildir);
    let (mut changes, mut bytes) = (Vec::new(), 0);
    for name in maildir.waiting()? {
        if cursor.taken.len() == PAGE || bytes > PAGE_BYTES {
            break;
        }
        let why = match maildir.read(&name) {
            Ok(None) => continue,
            Ok(Some(mail)) => {
                bytes += mail.len();
                read(args, reader, &mail, &mut cursor.known).map(|change| changes.extend(change)).err()
            }
            Err(why) => Some(why),
        };
        cursor.taken.push(Taken { name, why });
    }
    cursor.known.drain(..cursor.known.len().saturating_sub(KNOWN_MAX));
    let more = !cursor.taken.is_empty();
    Ok(Found { changes, cursor: serde_json::to_value(cursor).unwrap_or_default(), more, note })
}

/// The change of a mail, if it announces one that is new and wanted.
fn read(args: &Arguments, reader: Reader, mail: &[u8], known: &mut Vec<String>) -> Result<Option<NewChange>, String> {
    let mail = Mail::parse(mail)?;
    let Some(change) = reader(&mail)?.and_then(|found| stamped(args, found)) else { return Ok(None) };
    if let Some(id) = &mail.id {
        let id = hex::encode(&Sha256::digest(id.as_bytes())[..12]);
        if known.contains(&id) {
            return Ok(None);
        }
        known.push(id);
    }
    Ok(Some(change))
}

/// With what the source sets; none without a file that it wants.
fn stamped(args: &Arguments, found: NewChange) -> Option<NewChange> {
    let plain = args.stamp.change();
    let files = match args.prefix.as_deref().map(|p| p.trim_matches('/')).filter(|p| !p.is_empty()) {
        None => found.files,
        Some(prefix) => {
            let below = |file: &String| Some(file.strip_prefix(prefix)?.strip_prefix('/')?.to_owned());
            let files: Vec<String> = found.files.iter().filter_map(below).collect();
            if files.is_empty() {
                return None;
            }
            files
        }
    };
    let mut change = NewChange {
        files,
        branch: branch(args, found.branch),
        repository: args.repository.clone().unwrap_or(found.repository),
        project: if plain.project.is_empty() { found.project } else { plain.project },
        codebase: plain.codebase,
        category: plain.category.or(found.category),
        ..found
    };
    for (name, value) in &args.properties {
        change.properties.set(name, value.clone(), SOURCE);
    }
    Some(change)
}

/// Launchpad's name of a branch, as the project calls it.
fn branch(args: &Arguments, said: Option<String>) -> Option<String> {
    let mapped = said.as_deref().and_then(|said| {
        let short = said.strip_prefix("lp:").unwrap_or(said);
        args.branch_map.get(said).or_else(|| args.branch_map.get(short))?.as_str().map(str::to_owned)
    });
    mapped.or_else(|| args.default_branch.clone()).or(said)
}

fn note(unread: &[Taken], maildir: &str) -> Option<String> {
    let reasons: Vec<String> = unread
        .iter()
        .rev()
        .take(SHOWN_MAX)
        .map(|mail| format!("{}: {}", mail.name, mail.why.as_deref().unwrap_or_default()))
        .collect();
    let (newest, many) = (reasons.join("; "), unread.len());
    (many > 0).then(|| {
        format!(
            "{} could not be read and {} in {}/cur with the flag F; delete such a mail, or move it back to new to have \
             it read again. The newest: {newest}",
            if many == 1 { "one mail".to_owned() } else { format!("{many} mails") },
            if many == 1 { "lies" } else { "lie" },
            maildir.trim_end_matches('/'),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_cut_off_by_whole_names() {
        let args = |prefix: &str| Arguments { prefix: Some(prefix.into()), ..Arguments::default() };
        let found = || NewChange { files: vec!["trunk/a".into(), "trunk2/b".into()], ..NewChange::default() };
        for prefix in ["trunk", "trunk/"] {
            assert_eq!(stamped(&args(prefix), found()).unwrap().files, ["a"]);
        }
        assert_eq!(stamped(&args("tr"), found()), None);
        assert_eq!(stamped(&args(""), found()).unwrap().files.len(), 2);
    }

    #[test]
    fn a_branch_is_mapped_or_the_default_or_as_launchpad_says() {
        let mut args = Arguments::default();
        args.branch_map.insert("lp:~ada/tool/work".into(), "work".into());
        args.branch_map.insert("~ada/tool/old".into(), "old".into());
        let ask = |args: &Arguments, said: &str| branch(args, Some(said.into())).unwrap();
        assert_eq!(ask(&args, "lp:~ada/tool/work"), "work");
        assert_eq!(ask(&args, "lp:~ada/tool/old"), "old");
        assert_eq!(ask(&args, "lp:~ada/tool/x"), "lp:~ada/tool/x");
        args.default_branch = Some("trunk".into());
        assert_eq!(ask(&args, "lp:~ada/tool/x"), "trunk");
    }
}
