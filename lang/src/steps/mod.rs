//! Steps as workers use them: rendered one by one, each just before it starts,
//! because earlier steps set properties (RF-11).

mod common;
pub(crate) mod git;
mod shell;

use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::limits::Limits;
use crate::host::site::Site;
use crate::plan::{Action, BuildContext, RenderedStep};
use crate::render::Rendering;
use crate::values::convert;
use crate::values::descriptor::{Descriptor, mismatch};
use crate::values::spec::{Kind, Spec, StepKind};
use crate::values::tree::Tree;
use crate::values::views::Side;
use starlark::values::{OwnedFrozenValue, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tidemill_model::Results;

/// A step of a factory: configuration that may hold placeholders and functions.
/// Cheap to clone; any number of threads may use it at once.
#[derive(Clone)]
pub struct Step(Arc<Inner>);

struct Inner {
    /// A frozen [`Descriptor`].
    descriptor: OwnedFrozenValue,
    name: String,
    always_run: bool,
    limits: Limits,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Step({})", self.0.name)
    }
}

/// Functions that decide, not values to render.
const FUNCTIONS: [&str; 2] = ["doStepIf", "hideStepIf"];

impl Step {
    /// `None` if the value is no step.
    pub(crate) fn new(descriptor: OwnedFrozenValue, limits: &Limits) -> Option<Step> {
        let (name, always_run) = {
            let value = Descriptor::from_value(descriptor.value())?;
            let Kind::Step(kind) = value.kind() else { return None };
            let given = value.arg("name").and_then(|v| v.unpack_str());
            let name = given.map_or_else(|| default_name(value.spec, kind).to_owned(), str::to_owned);
            let always = value.arg("alwaysRun").and_then(|v| convert::boolean(&Tree::of(v)));
            (name, always.unwrap_or(false))
        };
        Some(Step(Arc::new(Inner { descriptor, name, always_run, limits: limits.clone() })))
    }

    /// The name as far as it is known before a build runs: that of the action
    /// where it is a placeholder. [`RenderedStep::name`] is the real one.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Runs although an earlier step halted the build (RF-05).
    pub fn always_run(&self) -> bool {
        self.0.always_run
    }

    /// Resolves all placeholders. An error here makes the step an exception (D-09).
    pub fn render(&self, ctx: &BuildContext) -> Result<RenderedStep, EvalError> {
        self.with(ctx, |descriptor, rendering| {
            let mut values = BTreeMap::new();
            for (name, value) in descriptor.args.iter().filter(|(n, _)| !FUNCTIONS.contains(&n.as_str())) {
                values.insert(name.clone(), rendering.render(*value)?);
            }
            let args = Rendered { spec: descriptor.spec, site: &descriptor.site, values };
            let action = match descriptor.kind() {
                Kind::Step(StepKind::Git) => Action::Git(git::render(&args)?),
                Kind::Step(StepKind::SetProperty) => set_property(&args)?,
                _ => Action::Shell(shell::render(&args)?),
            };
            common::step(&args, &self.0.name, self.0.always_run, action)
        })
    }

    /// Whether it is to run; if not, it is SKIPPED (RF-06).
    pub fn do_step_if(&self, ctx: &BuildContext) -> Result<bool, EvalError> {
        self.with(ctx, |descriptor, rendering| {
            let Some(condition) = descriptor.arg("doStepIf") else { return Ok(true) };
            if !matches!(Tree::of(condition), Tree::Function) {
                return Ok(rendering.render(condition)?.truth());
            }
            let step = rendering.view(Side::Step(self.0.name.clone()));
            let decision = decide(rendering, condition, &[step]);
            decision.map_err(|e| e.or_placed(|d| descriptor.site.place_argument("doStepIf", d)))
        })
    }

    /// Whether pages leave it out (RF-07).
    pub fn hide_step_if(&self, ctx: &BuildContext, results: Results) -> Result<bool, EvalError> {
        self.with(ctx, |descriptor, rendering| {
            let Some(condition) = descriptor.arg("hideStepIf") else { return Ok(false) };
            if !matches!(Tree::of(condition), Tree::Function) {
                return Ok(rendering.render(condition)?.truth());
            }
            let results = rendering.alloc_int(results.code().into());
            let step = rendering.view(Side::Step(self.0.name.clone()));
            let decision = decide(rendering, condition, &[results, step]);
            decision.map_err(|e| e.or_placed(|d| descriptor.site.place_argument("hideStepIf", d)))
        })
    }

    fn with<R>(
        &self,
        ctx: &BuildContext,
        f: impl for<'r, 'v, 'a, 'e> FnOnce(&Descriptor<'v>, &mut Rendering<'r, 'v, 'a, 'e>) -> Result<R, EvalError>,
    ) -> Result<R, EvalError> {
        self.0.limits.run(|eval| {
            let value = eval.heap().access_owned_frozen_value(&self.0.descriptor);
            let descriptor = Descriptor::from_value(value).expect("a step holds a descriptor since it was made");
            f(descriptor, &mut Rendering::new(eval, ctx))
        })
    }
}

/// What a function answers, which may again be a placeholder.
fn decide<'v>(
    rendering: &mut Rendering<'_, 'v, '_, '_>,
    function: Value<'v>,
    args: &[Value<'v>],
) -> Result<bool, EvalError> {
    let answer = rendering.call(function, args)?;
    Ok(rendering.render(answer)?.truth())
}

/// Buildbot's names.
fn default_name(spec: &Spec, kind: StepKind) -> &'static str {
    match (spec.name, kind) {
        ("steps.Compile", _) => "compile",
        ("steps.Test", _) => "test",
        (_, StepKind::Git) => "git",
        (_, StepKind::SetProperty) => "SetProperty",
        (_, StepKind::Shell) => "shell",
    }
}

/// Arguments of a step without placeholders, not yet checked again: a
/// placeholder may have become anything.
pub(crate) struct Rendered<'d> {
    pub spec: &'static Spec,
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
        Err(self.fail(name, mismatch(self.spec, name, &why)))
    }

    pub fn fail(&self, argument: &str, diagnostic: Diagnostic) -> EvalError {
        EvalError::new(self.site.place_argument(argument, diagnostic))
    }
}

fn set_property(args: &Rendered<'_>) -> Result<Action, EvalError> {
    let property = args.get("property", convert::text)?.unwrap_or_default();
    let value = args.get("value", Tree::to_json)?.unwrap_or_default();
    if property.is_empty() {
        return Err(args.fail("property", Diagnostic::error("the property's name is empty")));
    }
    Ok(Action::SetProperty { property, value })
}
