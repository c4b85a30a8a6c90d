//! Attributes that functions set on a step or an observer: values of the
//! evaluator while it runs, plain copies between evaluators.

use super::running::failure;
use super::slot::Slot;
use crate::values::tree::Tree;
use allocative::Allocative;
use starlark::collections::SmallMap;
use starlark::values::{Heap, Trace, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The attributes as one evaluator sees them. A list that is read here is the
/// list that is kept: `self.names.append(x)` works.
#[derive(Debug, Default, Trace, Allocative)]
pub(super) struct Loaded<'v>(RefCell<SmallMap<String, Value<'v>>>);

impl<'v> Loaded<'v> {
    pub fn get(&self, name: &str, kept: &Slot<BTreeMap<String, Tree>>, heap: Heap<'v>) -> Option<Value<'v>> {
        if let Some(value) = self.0.borrow().get(name) {
            return Some(*value);
        }
        let value = kept.borrow().get(name)?.alloc(heap);
        self.0.borrow_mut().insert(name.to_owned(), value);
        Some(value)
    }

    pub fn set(&self, name: &str, value: Value<'v>) {
        self.0.borrow_mut().insert(name.to_owned(), value);
    }

    /// Copies what was read or set back, for another evaluator. What is no plain
    /// value stays here alone.
    pub fn keep(&self, kept: &Slot<BTreeMap<String, Tree>>) -> starlark::Result<()> {
        let mut loaded = self.0.borrow_mut();
        let mut stay = SmallMap::new();
        for (name, value) in loaded.iter() {
            let tree = Tree::of(*value);
            if tree.too_large() {
                return Err(failure(format!("the attribute `{name}` is too large to be kept")));
            }
            if tree.is_plain() {
                kept.borrow_mut().insert(name.clone(), tree);
            } else {
                stay.insert(name.clone(), *value);
            }
        }
        *loaded = stay;
        Ok(())
    }
}
