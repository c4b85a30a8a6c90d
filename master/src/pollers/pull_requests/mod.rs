//! Pollers of pull requests (CS-15, CS-16): each new head of an open one is a
//! change. The cursor maps the numbers of open ones to the heads seen, and of
//! those that have just gone; the first poll only records them.
//!
//! Whoever may open a pull request writes its documents: everything in them is
//! data. One from another repository is an outsider's: its builds get no
//! secrets. A property, [`OUTSIDER`], says the same to filters of schedulers.

pub mod bitbucket;
pub mod github;

use super::Found;
use super::documents::{properties, property};
use globset::GlobSet;
use serde_json::Value;
use std::collections::BTreeMap;
use tidemill_model::NewChange;

/// A property of changes: whether the commits come from another repository than
/// the one that they are to go into.
pub const OUTSIDER: &str = "pullrequest_outsider";

/// After the head of one that the last list did not have.
const MISSING: &str = "?";
/// Changes of one page: each costs some questions.
const PAGE: usize = 20;
/// Pages of lists that are read, at most.
const PAGES_MAX: usize = 100;

/// An open pull request.
struct Pull {
    number: String,
    head: String,
    document: Value,
}

/// Those whose head is new.
struct Moved {
    pulls: Vec<Pull>,
    cursor: Value,
    more: bool,
}

impl Moved {
    /// With their changes, in the same order.
    fn found(self, changes: Vec<NewChange>) -> Found {
        Found { changes, cursor: self.cursor, more: self.more, note: None }
    }
}

/// What all of them say: the wanted properties of the document, and whether it
/// comes from another repository (`from`) than the one that it is to go into.
fn described(change: &mut NewChange, of: &str, pull: &Pull, wanted: &GlobSet, from: Option<&str>, into: Option<&str>) {
    properties(change, of, &pull.document, wanted);
    property(change, "pullrequesturl", change.revlink.clone().unwrap_or_default());
    let outsider = from.is_none() || from != into;
    property(change, OUTSIDER, outsider);
    change.outsider = outsider.then(|| self::from(from));
}

/// `pulls` is all that are wanted, in the order in which their changes are to come.
fn moved(pulls: Vec<Pull>, cursor: Option<Value>) -> Moved {
    let first = cursor.is_none();
    let mut seen: BTreeMap<String, String> = cursor.and_then(|c| serde_json::from_value(c).ok()).unwrap_or_default();
    // A list that moves while its pages are read may leave one out: only what is
    // missing twice is closed, and no head becomes a change again by that.
    seen.retain(|number, head| match (pulls.iter().any(|p| p.number == *number), head.strip_suffix(MISSING)) {
        (true, Some(was)) => {
            *head = was.to_owned();
            true
        }
        (false, None) => {
            head.push_str(MISSING);
            true
        }
        (listed, _) => listed,
    });
    let (mut moved, mut more) = (Vec::new(), false);
    for pull in pulls {
        if seen.get(&pull.number) == Some(&pull.head) {
            continue;
        }
        if moved.len() == PAGE {
            more = true;
            break;
        }
        seen.insert(pull.number.clone(), pull.head.clone());
        if !first {
            moved.push(pull);
        }
    }
    Moved { pulls: moved, cursor: serde_json::to_value(seen).unwrap_or_default(), more }
}

/// Why its author is not trusted: who pushed to another repository is not said,
/// so whoever it was counts as somebody from outside.
fn from(repository: Option<&str>) -> String {
    format!("a pull request from {}", repository.unwrap_or("a repository that is gone"))
}

/// Title and text of a pull request as a message.
fn message(title: &str, text: &str) -> String {
    let (title, text) = (title.trim(), text.trim());
    if text.is_empty() { title.to_owned() } else { format!("{title}\n\n{text}") }
}
