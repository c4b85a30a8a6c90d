//! `util.BuildFactory`: the steps of a builder, in order. Grows while its own
//! file is evaluated; read-only from then on.

use super::descriptor::Descriptor;
use super::spec::Kind;
use super::tree::{self, Tree};
use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::values::none::NoneType;
use starlark::values::{
    Freeze, FreezeResult, Freezer, FrozenValue, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value,
};
use starlark::{starlark_complex_values, starlark_module};
use std::cell::RefCell;
use std::fmt;

#[derive(Debug, Trace, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct Factory<'v> {
    steps: RefCell<Vec<Value<'v>>>,
}

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct FrozenFactory {
    steps: Vec<FrozenValue>,
}

starlark_complex_values!(Factory);

impl<'v> Factory<'v> {
    pub fn new(steps: Vec<Value<'v>>) -> Self {
        Factory { steps: RefCell::new(steps) }
    }
}

impl FrozenFactory {
    pub fn steps(&self) -> &[FrozenValue] {
        &self.steps
    }
}

pub(crate) fn is_factory(value: Value<'_>) -> bool {
    value.downcast_ref::<Factory>().is_some() || value.downcast_ref::<FrozenFactory>().is_some()
}

impl fmt::Display for Factory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildFactory({} steps)", self.steps.borrow().len())
    }
}

impl fmt::Display for FrozenFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildFactory({} steps)", self.steps.len())
    }
}

/// Whether `value` is a step; if not, that is reported.
pub(crate) fn accept_step(value: Value<'_>, what: &str, eval: &Evaluator<'_, '_, '_>) -> starlark::Result<bool> {
    if Descriptor::from_value(value).is_some_and(|d| matches!(d.kind(), Kind::Step(_))) {
        return Ok(true);
    }
    let tree = Tree::of(value);
    if !matches!(tree, Tree::Broken) {
        let got = match value.get_type() {
            "constructor" => format!("{value} without its brackets"),
            _ => tree.describe(),
        };
        let message = format!("{what} takes a step, such as steps.ShellCommand(command = \"make\"), got {got}");
        report(eval, Site::of(eval).place(Diagnostic::error(message)))?;
    }
    Ok(false)
}

fn append<'v>(this: Value<'v>, steps: &[Value<'v>], what: &str, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<()> {
    let Some(factory) = this.downcast_ref::<Factory>() else {
        return Err(starlark::Error::new_other(anyhow::anyhow!(
            "this BuildFactory was made in another file and is read-only: let that file offer a function that returns a new one"
        )));
    };
    for step in steps {
        if accept_step(*step, what, eval)? {
            factory.steps.borrow_mut().push(*step);
        }
    }
    Ok(())
}

#[starlark_module]
fn factory_methods(builder: &mut MethodsBuilder) {
    /// Appends a step.
    fn addStep<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] step: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        append(this, &[step], "addStep", eval)?;
        Ok(NoneType)
    }

    /// Appends the steps of a list.
    fn addSteps<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] steps: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        match tree::items(steps) {
            Some(items) => append(this, items, "addSteps", eval)?,
            None => {
                let message = format!("addSteps takes a list of steps, got {}", Tree::of(steps).describe());
                report(eval, Site::of(eval).place(Diagnostic::error(message)))?;
            }
        }
        Ok(NoneType)
    }
}

starlark::methods_static!(FACTORY_METHODS = factory_methods);

#[starlark_value(type = "BuildFactory")]
impl<'v> StarlarkValue<'v> for Factory<'v> {
    type Canonical = FrozenFactory;

    fn get_methods() -> Option<&'static Methods> {
        Some(FACTORY_METHODS.methods())
    }
}

#[starlark_value(type = "BuildFactory")]
impl<'v> StarlarkValue<'v> for FrozenFactory {
    type Canonical = FrozenFactory;

    fn get_methods() -> Option<&'static Methods> {
        Some(FACTORY_METHODS.methods())
    }
}

impl<'v> Freeze for Factory<'v> {
    type Frozen = FrozenFactory;

    fn freeze(self, freezer: &Freezer) -> FreezeResult<FrozenFactory> {
        let steps = self.steps.into_inner().into_iter().map(|s| s.freeze(freezer)).collect::<FreezeResult<_>>()?;
        Ok(FrozenFactory { steps })
    }
}
