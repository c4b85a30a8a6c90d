//! From plain values back to values of the language.

use super::tree::Tree;
use starlark::values::dict::AllocDict;
use starlark::values::list::AllocList;
use starlark::values::{Heap, Value};

impl Tree {
    /// A value of the language. What is no plain value becomes None.
    pub fn alloc<'v>(&self, heap: Heap<'v>) -> Value<'v> {
        match self {
            Tree::Bool(b) => Value::new_bool(*b),
            Tree::Int(i) => heap.alloc(*i),
            Tree::Float(f) => heap.alloc(*f),
            Tree::Text(s) => heap.alloc(s.as_str()),
            Tree::List(items) => heap.alloc(AllocList(items.iter().map(|t| t.alloc(heap)))),
            Tree::Dict(entries) => heap.alloc(AllocDict(entries.iter().map(|(k, v)| (k.alloc(heap), v.alloc(heap))))),
            _ => Value::new_none(),
        }
    }
}

/// A JSON value as one of the language.
pub(crate) fn json<'v>(json: &serde_json::Value, heap: Heap<'v>) -> Value<'v> {
    Tree::from_json(json).alloc(heap)
}
