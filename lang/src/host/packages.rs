//! Vendored packages (C-107, C-108): folders below `packages/`, each named in the
//! manifest `packages.toml` with its version and the hash of its files, so that
//! nobody changes them unnoticed.

use super::collector::Collector;
use super::diagnostics::Diagnostic;
use super::paths::PACKAGES;
use crate::names;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tidemill_model::revision::Files;

/// The manifest's name, in the project's folder.
pub const MANIFEST: &str = "packages.toml";

/// A package as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    pub version: String,
    /// See [`hash`].
    pub sha256: String,
    /// Where it came from, for people.
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub description: String,
}

/// The hash of a package's files: that of [`Files::hash`], with paths below its
/// folder. None if there are no such files.
pub fn hash(files: &Files, package: &str) -> Option<String> {
    let folder = format!("{PACKAGES}/{package}/");
    let own = files.0.iter().filter_map(|(name, text)| Some((name.strip_prefix(&folder)?.to_owned(), text.clone())));
    let own = Files(own.collect());
    (!own.0.is_empty()).then(|| own.hash())
}

/// The manifest's packages; none where there is no manifest.
///
/// # Errors
/// Why it cannot be read, for people, and the line.
pub fn manifest(files: &Files) -> Result<BTreeMap<String, Package>, (String, u32)> {
    let Some(text) = files.0.get(MANIFEST) else { return Ok(BTreeMap::new()) };
    toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() as u32 + 1);
        (e.message().to_owned(), line)
    })
}

/// Reports what does not agree.
pub(super) fn check(files: &Files, collector: &Collector) {
    let report = |line: u32, message: String, hint: &str| {
        let source = files.0.get(MANIFEST).and_then(|t| t.lines().nth(line as usize - 1)).unwrap_or_default();
        let diagnostic = Diagnostic::error(message).hint(hint);
        collector.report(Diagnostic { file: MANIFEST.into(), line, source_line: source.into(), ..diagnostic });
    };
    let packages = match manifest(files) {
        Ok(packages) => packages,
        Err((why, line)) => {
            let hint = "a package is written as:\n[name]\nversion = \"1.0\"\nsha256 = \"…\"";
            return report(line, format!("{MANIFEST} cannot be read: {why}"), hint);
        }
    };
    let line_of = |name: &str| {
        let heading = [format!("[{name}]"), format!("[\"{name}\"]")];
        let text = files.0.get(MANIFEST).map(String::as_str).unwrap_or_default();
        text.lines().position(|l| heading.iter().any(|h| l.trim() == h)).map_or(1, |i| i as u32 + 1)
    };
    let folders = files.0.keys().filter_map(|f| f.strip_prefix(PACKAGES)?.strip_prefix('/')?.split_once('/'));
    let folders: BTreeSet<&str> = folders.map(|(name, _)| name).collect();
    for (name, package) in &packages {
        match hash(files, name) {
            None => {
                let near = names::nearest(name, folders.iter().copied());
                let hint = near.map_or_else(
                    || "take the entry out, or put the files there".into(),
                    |n| format!("did you mean `{n}`?"),
                );
                report(line_of(name), format!("there are no files in {PACKAGES}/{name}"), &hint);
            }
            Some(hash) if !hash.eq_ignore_ascii_case(&package.sha256) => {
                let message = format!("the files of the package `{name}` are not those of version {}", package.version);
                let hint = format!("if the change is meant, write: sha256 = \"{hash}\"");
                report(line_of(name), message, &hint);
            }
            Some(_) => {}
        }
    }
    for name in folders.iter().filter(|n| !packages.contains_key(**n)) {
        let hash = hash(files, name).unwrap_or_default();
        let hint = format!("add to it:\n[{name}]\nversion = \"…\"\nsha256 = \"{hash}\"");
        report(1, format!("the package `{name}` is not in {MANIFEST}"), &hint);
    }
}
