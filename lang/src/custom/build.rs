//! `step.build`: the running build, to which a step may add steps (C-39).

use super::running::{Shared, failure, running};
use crate::values::alloc::json;
use crate::values::tree::{self, Tree};
use crate::values::views::{BuildView, Side};
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::none::{NoneOr, NoneType};
use starlark::values::{AllocValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value};
use std::fmt;

#[derive(ProvidesStaticType, NoSerialize, Allocative, Trace)]
pub(super) struct StepBuild {
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    facts: Shared,
}

impl StepBuild {
    pub fn new(facts: Shared) -> StepBuild {
        StepBuild { facts }
    }

    fn view<'v>(&self, heap: Heap<'v>) -> Value<'v> {
        let context = self.facts.context.borrow().clone();
        heap.alloc(BuildView { context, side: Side::Build })
    }
}

impl fmt::Debug for StepBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StepBuild")
    }
}

impl fmt::Display for StepBuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let context = self.facts.context.borrow();
        write!(f, "build {}#{}", context.builder, context.number)
    }
}

impl<'v> AllocValue<'v> for StepBuild {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

#[starlark_value(type = "build")]
impl<'v> StarlarkValue<'v> for StepBuild {
    fn get_methods() -> Option<&'static Methods> {
        Some(BUILD_METHODS.methods())
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let context = self.facts.context.borrow().clone();
        BuildView { context, side: Side::Build }.get_attr(attribute, heap)
    }
}

fn build_of<'v>(value: Value<'v>) -> starlark::Result<&'v StepBuild> {
    value.downcast_ref::<StepBuild>().ok_or_else(|| failure("this is no running build"))
}

#[starlark_module]
fn build_methods(builder: &mut MethodsBuilder) {
    /// Value of a property, or the default.
    fn getProperty<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        default: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let facts = &build_of(this)?.facts;
        let value = facts.context.borrow().properties.get(name).map(|v| json(v, eval.heap()));
        Ok(value.or(default).unwrap_or(Value::new_none()))
    }

    /// Whether the property is set.
    fn hasProperty<'v>(this: Value<'v>, #[starlark(require = pos)] name: &str) -> starlark::Result<bool> {
        Ok(build_of(this)?.facts.context.borrow().properties.get(name).is_some())
    }

    /// Sets a property of the build.
    fn setProperty<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] value: Value<'v>,
        #[starlark(default = NoneOr::None)] source: NoneOr<&str>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        super::methods::set_property(&build_of(this)?.facts, name, value, source.into_option(), eval)
    }

    /// One statistic of all steps, folded: `getSummaryStatistic("warnings", lambda a, b: a + b, 0)`.
    fn getSummaryStatistic<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] summary_fn: Value<'v>,
        #[starlark(require = pos)] initial_value: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        build_of(this)?;
        let all = running(eval)?.host.statistics();
        let mut folded = initial_value;
        for statistic in all.into_iter().filter(|s| s.name == name) {
            let value = json(&statistic.value, eval.heap());
            folded = Some(match folded {
                Some(before) => eval.eval_function(summary_fn, &[before, value], &[])?,
                None => value,
            });
        }
        Ok(folded.unwrap_or(Value::new_none()))
    }

    /// What the build's pages know of it, as in `doStepIf`.
    fn view<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        Ok(build_of(this)?.view(eval.heap()))
    }
}

starlark::methods_static!(BUILD_METHODS = build_methods);

/// Steps that a function wants added: a list, each a step.
pub(super) fn steps_given<'v>(value: Value<'v>) -> starlark::Result<Vec<Value<'v>>> {
    use crate::values::descriptor::Descriptor;
    use crate::values::spec::Kind;
    let items = tree::items(value)
        .ok_or_else(|| failure(format!("a list of steps is needed, got {}", Tree::of(value).describe())))?;
    for item in items {
        if !Descriptor::from_value(*item).is_some_and(|d| matches!(d.kind(), Kind::Step(_))) {
            return Err(failure(format!("a step is needed, got {}", Tree::of(*item).describe())));
        }
    }
    Ok(items.to_vec())
}

/// For the reference.
pub(super) fn methods() -> &'static Methods {
    BUILD_METHODS.methods()
}
