//! What `svn info --xml` and `svn log --xml --verbose` say.

use crate::pollers::PollError;
use roxmltree::{Document, Node};
use tidemill_model::repository::percent_decoded;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub(super) struct Info {
    /// The newest revision of the repository.
    pub revision: u64,
    /// The watched folder below its root, without slashes around it; empty for the root.
    pub prefix: String,
}

#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    pub revision: u64,
    pub author: Option<String>,
    pub when: Option<OffsetDateTime>,
    pub message: String,
    pub touched: Vec<Touched>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Touched {
    /// From the root of the repository.
    pub path: String,
    pub action: char,
    pub folder: bool,
}

fn wrong(why: impl std::fmt::Display) -> PollError {
    PollError::Output(format!("svn said something unexpected: {why}"))
}

fn child<'d>(node: Node<'d, 'd>, name: &str) -> Option<Node<'d, 'd>> {
    node.children().find(|n| n.has_tag_name(name))
}

fn text(node: Node<'_, '_>) -> String {
    node.children().filter_map(|n| n.text()).collect()
}

fn number(node: Node<'_, '_>) -> Result<u64, PollError> {
    node.attribute("revision").and_then(|r| r.parse().ok()).ok_or_else(|| wrong("an entry without a revision"))
}

pub(super) fn info(said: &str) -> Result<Info, PollError> {
    let document = Document::parse(said).map_err(wrong)?;
    let entry = child(document.root_element(), "entry").ok_or_else(|| wrong("no entry"))?;
    let url = child(entry, "url").map(text).ok_or_else(|| wrong("no url"))?;
    let root = child(entry, "repository").and_then(|r| child(r, "root")).map(text);
    let root = root.ok_or_else(|| wrong("no root"))?;
    let prefix = url.strip_prefix(&root).ok_or_else(|| wrong("a url that is not below its root"))?;
    // Paths of the log are not escaped.
    let prefix = percent_decoded(prefix.trim_matches('/'));
    Ok(Info { revision: number(entry)?, prefix })
}

/// In the order in which svn gave them.
pub(super) fn log(said: &str) -> Result<Vec<Entry>, PollError> {
    let document = Document::parse(said).map_err(wrong)?;
    let entries = document.root_element().children().filter(|n| n.has_tag_name("logentry"));
    entries
        .map(|entry| {
            let paths = child(entry, "paths").into_iter().flat_map(|p| p.children());
            let touched = paths.filter(|n| n.has_tag_name("path")).map(|path| Touched {
                path: text(path),
                action: path.attribute("action").and_then(|a| a.chars().next()).unwrap_or('M'),
                folder: path.attribute("kind") == Some("dir"),
            });
            Ok(Entry {
                revision: number(entry)?,
                author: child(entry, "author").map(text).filter(|a| !a.is_empty()),
                when: child(entry, "date").and_then(|d| OffsetDateTime::parse(&text(d), &Rfc3339).ok()),
                message: child(entry, "msg").map(text).unwrap_or_default(),
                touched: touched.collect(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_folder_is_known_by_its_plain_name() {
        let said = "<info><entry revision='7'><url>file:///r/a%20b/trunk</url>\
                    <repository><root>file:///r</root></repository></entry></info>";
        let found = info(said).unwrap();
        assert_eq!((found.revision, found.prefix.as_str()), (7, "a b/trunk"));
        assert!(info("<info/>").is_err());
    }

    #[test]
    fn a_log_is_read_and_what_is_none_is_an_error() {
        let said = "<log><logentry revision='3'><author>ada</author><date>2026-01-02T03:04:05.000006Z</date>\
                    <paths><path kind='file' action='A'>/trunk/a&amp;b</path>\
                    <path kind='dir' action='D'>/branches/x</path></paths><msg>one\ntwo</msg></logentry></log>";
        let entries = log(said).unwrap();
        assert_eq!(entries[0].touched[0].path, "/trunk/a&b");
        assert_eq!((entries[0].touched[1].action, entries[0].touched[1].folder), ('D', true));
        assert_eq!((entries[0].message.as_str(), entries[0].revision), ("one\ntwo", 3));
        assert_eq!(entries[0].when.unwrap().unix_timestamp(), 1_767_323_045);
        assert!(log("<log").is_err());
        assert!(log("<!DOCTYPE l [<!ENTITY a 'aa'><!ENTITY b '&a;&a;'>]><log>&b;</log>").is_err());
    }
}
