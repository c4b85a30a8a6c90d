//! Everything that can be told about a project without a server: what evaluation
//! finds, the language's own lint, and its static types.

pub mod editor;
mod lint;

use crate::definition::Definition;
use crate::host::collector::Collector;
use crate::host::diagnostics::{Diagnostic, Severity};
use crate::host::limits::Limits;
use crate::host::stack;
use crate::project::Project;
use serde::{Deserialize, Serialize};
use tidemill_model::revision::Files;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Errors first, each kind in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    /// What the project defines, if there is no error.
    pub definition: Option<Definition>,
    /// Files that were looked at.
    pub files: Vec<String>,
}

impl Report {
    /// Whether the project can be used.
    pub fn ok(&self) -> bool {
        self.definition.is_some()
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|d| d.severity == severity).count()
    }
}

impl Project {
    /// Evaluates, and lints besides. All errors at once.
    pub fn check(files: &Files, limits: &Limits) -> Report {
        let collector = Collector::default();
        let definition = match Project::evaluate(files, limits) {
            Ok(project) => {
                project.warnings().iter().cloned().for_each(|d| collector.report(d));
                Some(project.definition().clone())
            }
            Err(found) => {
                found.0.into_iter().for_each(|d| collector.report(d));
                None
            }
        };
        let mut diagnostics = collector.into_sorted();
        // What an error says of a line needs no second word.
        let told = |d: &Diagnostic| {
            diagnostics.iter().any(|e| e.severity == Severity::Error && e.file == d.file && e.line == d.line)
        };
        let lints = || {
            let lints = Collector::default();
            lint::lint(files, &lints);
            lints.into_sorted()
        };
        // One that broke off has nothing to add to what evaluation says.
        let lints = stack::deep(lints).unwrap_or_default();
        let mut lints: Vec<Diagnostic> = lints.into_iter().filter(|d| !told(d)).collect();
        lints.dedup_by(|b, a| (&a.file, a.line, a.column) == (&b.file, b.line, b.column));
        diagnostics.extend(lints);
        diagnostics.sort_by_key(|d| (d.severity, d.file.clone(), d.line, d.column));
        Report { diagnostics, definition, files: files.0.keys().cloned().collect() }
    }
}
