//! The step as its functions see it: arguments, own attributes, methods.

use super::attributes::Loaded;
use super::build::StepBuild;
use super::methods;
use super::observer::Registered;
use super::running::{Facts, Shared, failure, running};
use crate::values::tree::Tree;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::collections::SmallMap;
use starlark::environment::Methods;
use starlark::eval::Evaluator;
use starlark::values::structs::AllocStruct;
use starlark::values::{AllocValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value};
use std::cell::{Cell, RefCell};
use std::fmt;

#[derive(ProvidesStaticType, NoSerialize, Allocative, Trace)]
pub(super) struct StepValue<'v> {
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub facts: Shared,
    pub loaded: Loaded<'v>,
    /// Its arguments, rendered; functions as they are. Empty in an observer's evaluator.
    pub arguments: SmallMap<String, Value<'v>>,
    pub observers: RefCell<Vec<Registered<'v>>>,
    /// `getCurrentSummary` and `getResultSummary`.
    pub current_summary: Option<Value<'v>>,
    pub result_summary: Option<Value<'v>>,
    /// Steps for the build: after this one, and at its end.
    pub added: RefCell<Vec<(bool, Value<'v>)>>,
    /// Its work, and that of what it builds on, for `runBase`.
    pub chain: Vec<Value<'v>>,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub level: Cell<usize>,
    /// Whether this is the step's own evaluator.
    #[trace(unsafe_ignore)]
    pub own: bool,
}

impl fmt::Debug for StepValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StepValue({})", self.facts.name)
    }
}

impl fmt::Display for StepValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.facts.name)
    }
}

impl<'v> AllocValue<'v> for StepValue<'v> {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

impl<'v> StepValue<'v> {
    pub fn new(facts: Shared) -> StepValue<'v> {
        StepValue {
            facts,
            loaded: Loaded::default(),
            arguments: SmallMap::new(),
            observers: RefCell::default(),
            current_summary: None,
            result_summary: None,
            added: RefCell::default(),
            chain: vec![],
            level: Cell::new(0),
            own: true,
        }
    }

    /// The step in an observer's evaluator.
    pub fn guest(facts: Shared, heap: Heap<'v>) -> Value<'v> {
        heap.alloc(StepValue { own: false, ..StepValue::new(facts) })
    }

    fn argument(&self, name: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let given = self.arguments.get(name).copied();
        let rendered = || self.facts.arguments.get(name).filter(|t| t.is_plain()).map(|t| t.alloc(heap));
        given.or_else(rendered).or_else(|| self.facts.spec.type_of(name).map(|_| Value::new_none()))
    }
}

pub(super) fn step_of<'v>(value: Value<'v>) -> starlark::Result<&'v StepValue<'v>> {
    value.downcast_ref::<StepValue<'v>>().ok_or_else(|| failure("this is no running step"))
}

#[starlark_value(type = "step")]
impl<'v> StarlarkValue<'v> for StepValue<'v> {
    fn get_methods() -> Option<&'static Methods> {
        Some(methods::methods())
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let facts: &Facts = &self.facts;
        Some(match attribute {
            "name" => heap.alloc(facts.name.as_str()),
            "workdir" => heap.alloc(facts.workdir.as_str()),
            "build" => heap.alloc(StepBuild::new(self.facts.clone())),
            "worker" => {
                let worker = &facts.worker;
                let text = |t: &str| heap.alloc(t);
                heap.alloc(AllocStruct([
                    ("name", text(&worker.name)),
                    ("release", text(&worker.release)),
                    ("system", text(&worker.system)),
                    ("os", text(&worker.os)),
                    ("arch", text(&worker.arch)),
                    ("path_separator", text(&worker.path_separator.to_string())),
                ]))
            }
            "results" => facts.results.get().map_or(Value::new_none(), |r| heap.alloc(i32::from(r.code()))),
            "attrs" => {
                let all = facts.arguments.keys().filter_map(|n| Some((n.as_str(), self.argument(n, heap)?)));
                heap.alloc(AllocStruct(all.collect::<Vec<_>>()))
            }
            name => {
                let own = self.loaded.get(name, &facts.attributes, heap);
                return own.or_else(|| self.argument(name, heap));
            }
        })
    }

    fn set_attr(&self, attribute: &str, value: Value<'v>) -> starlark::Result<()> {
        if ["name", "build", "worker", "attrs", "workdir", "results"].contains(&attribute) {
            return Err(failure(format!("`{attribute}` of a step cannot be set")));
        }
        self.loaded.set(attribute, value);
        Ok(())
    }

    fn dir_attr(&self) -> Vec<String> {
        let own = ["name", "workdir", "build", "worker", "results", "attrs"].map(str::to_owned);
        own.into_iter().chain(self.facts.arguments.keys().cloned()).collect()
    }
}

/// Asks `getCurrentSummary` and shows what it says, if the host would show it now (C-61).
pub(super) fn update_summary<'v>(step: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<()> {
    let owner = step_of(step)?;
    let host = running(eval)?.host;
    if !owner.own || !host.summary_due() {
        owner.facts.summary_pending.set(true);
        return Ok(());
    }
    owner.facts.summary_pending.set(false);
    let text = match owner.current_summary {
        Some(function) => texts(eval.eval_function(function, &[step], &[])?)?.0,
        None => described(owner, "description", eval.heap()),
    };
    match text {
        Some(text) => host.set_summary(&text).map_err(|e| owner.facts.told(e)),
        None => Ok(()),
    }
}

/// What `getResultSummary` says: the step's text and the build's. Without one,
/// `descriptionDone` where the function set it.
pub(super) fn result_summary<'v>(
    step: Value<'v>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<(Option<String>, Option<String>)> {
    let owner = step_of(step)?;
    match owner.result_summary {
        Some(function) => texts(eval.eval_function(function, &[step], &[])?),
        None => Ok((described(owner, "descriptionDone", eval.heap()), None)),
    }
}

/// A text that the function set as an attribute.
fn described<'v>(owner: &StepValue<'v>, name: &str, heap: Heap<'v>) -> Option<String> {
    let value = owner.loaded.get(name, &owner.facts.attributes, heap)?;
    crate::values::convert::words(&Tree::of(value)).filter(|t| !t.is_empty())
}

/// A text, a list of words, or a dict with `step` and `build`.
fn texts(value: Value<'_>) -> starlark::Result<(Option<String>, Option<String>)> {
    let tree = Tree::of(value);
    let words = |t: &Tree| crate::values::convert::words(t).filter(|t| !t.is_empty());
    match &tree {
        Tree::Dict(entries) => {
            let get = |key: &str| {
                let found = entries.iter().find(|(k, _)| matches!(k, Tree::Text(t) if t == key));
                found.and_then(|(_, v)| words(v))
            };
            Ok((get("step"), get("build")))
        }
        other => match crate::values::convert::words(other) {
            Some(text) => Ok((Some(text).filter(|t| !t.is_empty()), None)),
            None => {
                Err(failure(format!("a summary is a text, or a dict with `step` and `build`, got {}", tree.describe())))
            }
        },
    }
}
