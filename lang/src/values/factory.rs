//! `util.BuildFactory`: the steps of a builder, in order. Grows while its own
//! file is evaluated; read-only from then on.

use super::convert::FACTORY_FOLDER;
use super::descriptor::Descriptor;
use super::spec::Kind;
use super::tree::{self, Tree};
use crate::host::collector::report;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::host::stack::nested;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::values::list::AllocList;
use starlark::values::none::NoneType;
use starlark::values::{
    Freeze, FreezeResult, Freezer, FrozenValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike,
    starlark_value,
};
use starlark::{starlark_complex_values, starlark_module};
use std::cell::{Cell, RefCell};
use std::fmt;

#[derive(Debug, Trace, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct Factory<'v> {
    steps: RefCell<Vec<Value<'v>>>,
    /// For steps that name none: a text, a placeholder or a function.
    #[allocative(skip)]
    workdir: Cell<Option<Value<'v>>>,
}

#[derive(Debug, ProvidesStaticType, NoSerialize, Allocative)]
pub(crate) struct FrozenFactory {
    steps: Vec<FrozenValue>,
    workdir: Option<FrozenValue>,
}

starlark_complex_values!(Factory);

impl<'v> Factory<'v> {
    pub fn new(steps: Vec<Value<'v>>, workdir: Option<Value<'v>>) -> Self {
        Factory { steps: RefCell::new(steps), workdir: Cell::new(workdir) }
    }
}

impl FrozenFactory {
    pub fn steps(&self) -> &[FrozenValue] {
        &self.steps
    }

    pub fn workdir(&self) -> Option<FrozenValue> {
        self.workdir
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

    /// A factory of its own with the same steps.
    fn clone<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let (steps, workdir) = match this.downcast_ref::<Factory>() {
            Some(factory) => (factory.steps.borrow().clone(), factory.workdir.get()),
            None => match this.downcast_ref::<FrozenFactory>() {
                Some(frozen) => {
                    (frozen.steps.iter().map(|s| s.to_value()).collect(), frozen.workdir.map(|w| w.to_value()))
                }
                None => (vec![], None),
            },
        };
        Ok(eval.heap().alloc(Factory::new(steps, workdir)))
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

    /// `factory.workdir = …`, as in Buildbot.
    fn set_attr(&self, attribute: &str, value: Value<'v>) -> starlark::Result<()> {
        match attribute {
            "workdir" => match FACTORY_FOLDER.mismatch(&Tree::of(value)) {
                None => self.workdir.set(Some(value)),
                Some(why) => return Err(starlark::Error::new_other(anyhow::anyhow!("`workdir` of a factory {why}"))),
            },
            _ => return Err(starlark::Error::new_other(anyhow::anyhow!("a factory has no attribute `{attribute}`"))),
        }
        Ok(())
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match attribute {
            "workdir" => Some(self.workdir.get().unwrap_or(Value::new_none())),
            "steps" => Some(heap.alloc(AllocList(self.steps.borrow().iter().copied()))),
            _ => None,
        }
    }

    fn get_methods() -> Option<&'static Methods> {
        Some(FACTORY_METHODS.methods())
    }
}

#[starlark_value(type = "BuildFactory")]
impl<'v> StarlarkValue<'v> for FrozenFactory {
    type Canonical = FrozenFactory;

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match attribute {
            "workdir" => Some(self.workdir.map_or(Value::new_none(), |w| w.to_value())),
            "steps" => Some(heap.alloc(AllocList(self.steps.iter().map(|s| s.to_value())))),
            _ => None,
        }
    }

    fn get_methods() -> Option<&'static Methods> {
        Some(FACTORY_METHODS.methods())
    }
}

impl<'v> Freeze for Factory<'v> {
    type Frozen = FrozenFactory;

    fn freeze(self, freezer: &Freezer) -> FreezeResult<FrozenFactory> {
        nested(|| {
            let steps = self.steps.into_inner().into_iter().map(|s| s.freeze(freezer)).collect::<FreezeResult<_>>()?;
            let workdir = self.workdir.into_inner().map(|w| w.freeze(freezer)).transpose()?;
            Ok(FrozenFactory { steps, workdir })
        })
    }
}

/// For the reference.
pub(crate) fn methods() -> &'static Methods {
    FACTORY_METHODS.methods()
}
