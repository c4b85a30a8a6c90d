//! House tests: what keeps this repository the way ARCHITECTURE.md says it is.
//!
//! They read files and manifests and run nothing of Tidemill, so they are quick
//! and need no database. Each prints all that is wrong, not only the first.

mod docs;
mod layers;
mod repository;
mod rust;
mod source;

use std::fmt::Display;

/// Fails with every finding, if there is one.
fn none<T: Display>(rule: &str, found: impl IntoIterator<Item = T>) {
    let found: Vec<String> = found.into_iter().map(|f| format!("  {f}")).collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}
