//! Arguments of a step without placeholders.

use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::site::Site;
use crate::values::descriptor::mismatch;
use crate::values::spec::Spec;
use crate::values::tree::Tree;
use std::collections::BTreeMap;

/// Not yet checked again: a placeholder may have become anything.
pub(crate) struct Rendered<'d> {
    pub spec: &'static Spec,
    /// As people know the kind of step.
    pub called: String,
    pub site: &'d Site,
    pub values: BTreeMap<String, Tree>,
}

impl Rendered<'_> {
    /// Reads an argument; `None` if it was not given, an error if it is of another type.
    pub fn get<T>(&self, name: &str, read: impl FnOnce(&Tree) -> Option<T>) -> Result<Option<T>, EvalError> {
        let Some(tree) = self.values.get(name) else { return Ok(None) };
        if let Some(value) = read(tree) {
            return Ok(Some(value));
        }
        let expected = self.spec.type_of(name).map_or("another value", |ty| ty.expected);
        let why = format!("must be {expected}, got {} when it was rendered", tree.describe());
        Err(self.fail(name, mismatch(&self.called, name, &why)))
    }

    pub fn fail(&self, argument: &str, diagnostic: Diagnostic) -> EvalError {
        EvalError::new(self.site.place_argument(argument, diagnostic))
    }
}
