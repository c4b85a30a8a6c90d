//! Parts of JSON documents that become fields and properties of changes.

use super::PollError;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde_json::Value;
use tidemill_model::NewChange;

/// Who sets the properties.
const SOURCE: &str = "Change";
/// Most properties of one change.
const PROPERTIES_MAX: usize = 500;
const DEPTH_MAX: usize = 8;

/// A text at a path such as `/head/sha`; empty where there is none.
pub fn text(document: &Value, pointer: &str) -> String {
    maybe(document, pointer).unwrap_or_default()
}

pub fn maybe(document: &Value, pointer: &str) -> Option<String> {
    document.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// Names of properties in which `*` and `?` match anything.
pub fn globs(patterns: &[String]) -> Result<GlobSet, PollError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(false).build();
        set.add(glob.map_err(|e| PollError::Refused(format!("`{pattern}`: {e}")))?);
    }
    set.build().map_err(|e| PollError::Refused(e.to_string()))
}

/// Fields of the document as properties `prefix.a.b`, of those that `wanted` names.
pub fn properties(change: &mut NewChange, prefix: &str, document: &Value, wanted: &GlobSet) {
    walk(change, prefix.to_owned(), document, wanted, 0);
}

fn walk(change: &mut NewChange, name: String, value: &Value, wanted: &GlobSet, depth: usize) {
    if depth > DEPTH_MAX || change.properties.0.len() >= PROPERTIES_MAX {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(k, v)| walk(change, format!("{name}.{k}"), v, wanted, depth + 1));
        }
        plain if wanted.is_match(&name) => change.properties.set(&name, plain.clone(), SOURCE),
        _ => {}
    }
}

/// One property.
pub fn property(change: &mut NewChange, name: &str, value: impl Into<Value>) {
    change.properties.set(name, value.into(), SOURCE);
}
