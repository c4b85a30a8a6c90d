//! Where natives leave what they find during an evaluation, so that one run
//! tells all of it instead of stopping at the first.

use super::diagnostics::{Diagnostic, Severity};
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;
use std::cell::RefCell;

/// Findings beyond this many are dropped: a loop may repeat a mistake for ever.
const MOST: usize = 200;

#[derive(Debug, Default, ProvidesStaticType)]
pub(crate) struct Collector {
    found: RefCell<Vec<Diagnostic>>,
}

impl Collector {
    /// Keeps a finding, once.
    pub fn report(&self, diagnostic: Diagnostic) {
        let mut found = self.found.borrow_mut();
        if found.len() < MOST && !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.found.borrow().iter().any(|d| d.severity == Severity::Error)
    }

    /// Everything, errors first, each kind in the order of files and lines.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        found.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.severity, d.file.clone(), d.line, d.column);
            key(a).cmp(&key(b))
        });
        found
    }
}

/// Reports to the evaluation's collector. In a call without one (a step or a
/// filter that runs later) an error ends the call, and the rest is dropped.
pub(crate) fn report(eval: &Evaluator<'_, '_, '_>, diagnostic: Diagnostic) -> starlark::Result<()> {
    match eval.extra.and_then(|extra| extra.downcast_ref::<Collector>()) {
        Some(collector) => collector.report(diagnostic),
        None if diagnostic.severity == Severity::Error => {
            let hint = diagnostic.hint.map(|h| format!("; {h}")).unwrap_or_default();
            return Err(starlark::Error::new_other(anyhow::anyhow!("{}{hint}", diagnostic.message)));
        }
        None => {}
    }
    Ok(())
}
