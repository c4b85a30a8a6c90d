//! For editors: what a language server needs of the dialect and its words.

use super::lint;
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::{loader, stack};
use crate::library as built_in;
use starlark::environment::Globals;
use starlark::syntax::Dialect;
use std::collections::HashSet;
use tidemill_model::revision::Files;

/// The language of project files.
pub fn dialect() -> Dialect {
    crate::host::dialect::dialect()
}

/// The words that are ready in every file.
pub fn globals() -> &'static Globals {
    crate::host::dialect::globals()
}

/// What can be told of one file while it is written, without evaluating it: whether it can be
/// read, and lint.
pub fn check_text(files: &Files, name: &str) -> Vec<Diagnostic> {
    let look = || {
        let collector = Collector::default();
        if let Some(text) = files.0.get(name)
            && let Err(found) = loader::parse(name, text)
        {
            collector.report(found);
        }
        let known: HashSet<String> = globals().names().map(|n| n.as_str().to_owned()).collect();
        lint::one(name, files, &known, &lint::implementations(files), &collector);
        collector.into_sorted()
    };
    stack::deep(look).unwrap_or_default()
}

/// The file that a path in `load` means in the file `from`; `None` if it leaves the project.
/// A path of the built-in library is given back as it is.
pub fn resolve(from: &str, path: &str) -> Option<String> {
    crate::host::paths::resolve(from, path)
}

/// The text of a file of the built-in library, by its path with `@tidemill//`.
pub fn library(path: &str) -> Option<&'static str> {
    built_in::text(path.strip_prefix(built_in::PREFIX)?)
}
