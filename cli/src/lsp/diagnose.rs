//! What `checkconfig` says, as the protocol tells it.

use super::documents::{Documents, below, uri_of};
use super::text;
use super::wire::notification;
use crate::project::apart;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tidemill_lang::{Diagnostic, Severity};

/// Remembers which files have something said of them, so that it can be taken back.
#[derive(Debug, Default)]
pub struct Told(BTreeMap<PathBuf, BTreeSet<PathBuf>>);

impl Told {
    /// Messages for all files of the project around a path, or for that file alone.
    pub fn look(&mut self, documents: &Documents, path: &Path) -> Vec<Value> {
        let (root, found) = match documents.root(path) {
            Some(root) => {
                let found = apart::check(&documents.files(&root)).map(|r| r.diagnostics);
                (root, found)
            }
            None => {
                let folder = path.parent().unwrap_or(path).to_owned();
                let name = below(&folder, path).unwrap_or_default();
                (folder, apart::check_text(&name, documents.text(path).unwrap_or_default()))
            }
        };
        let mut by_file: BTreeMap<PathBuf, Vec<Value>> = BTreeMap::from([(path.to_owned(), vec![])]);
        match found {
            Ok(found) => {
                for diagnostic in &found {
                    let file = root.join(&diagnostic.file);
                    let text = documents.text(&file).unwrap_or_default();
                    by_file.entry(file).or_default().push(one(diagnostic, &text));
                }
            }
            // The whole evaluation was stopped: nowhere in particular.
            Err(failure) => by_file.entry(path.to_owned()).or_default().push(json!({
                "range": text::range("", 1, 1, 1), "severity": 1, "source": "tidemill", "message": failure.to_string(),
            })),
        }
        let with: BTreeSet<PathBuf> = by_file.iter().filter(|(_, v)| !v.is_empty()).map(|(k, _)| k.clone()).collect();
        for old in self.0.insert(root, with).unwrap_or_default() {
            by_file.entry(old).or_default();
        }
        let publish = |(path, diagnostics): (PathBuf, Vec<Value>)| {
            let params = json!({ "uri": uri_of(&path)?, "diagnostics": diagnostics });
            Some(notification("textDocument/publishDiagnostics", params))
        };
        by_file.into_iter().filter_map(publish).collect()
    }
}

fn one(diagnostic: &Diagnostic, text: &str) -> Value {
    let severity = match diagnostic.severity {
        Severity::Error => 1,
        Severity::Warning => 2,
        Severity::Note => 3,
    };
    let mut message = diagnostic.message.clone();
    for (label, more) in diagnostic.hint.iter().map(|h| ("help", h)).chain(diagnostic.notes.iter().map(|n| ("note", n)))
    {
        message.push_str(&format!("\n{label}: {more}"));
    }
    json!({
        "range": text::range(text, diagnostic.line, diagnostic.column, diagnostic.length),
        "severity": severity,
        "source": "tidemill",
        "message": message,
    })
}
