//! Steps as workers use them: rendered one by one, each just before it starts,
//! because earlier steps set properties (RF-11).

mod common;
pub(crate) mod git;
mod rendered;
mod script;
pub(crate) mod shell;
pub(crate) mod sources;

pub(crate) use rendered::Rendered;

use crate::custom::{RunError, StepEnd, StepHost};
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::limits::Limits;
use crate::plan::{Action, BuildContext, RenderedStep};
use crate::render::Rendering;
use crate::secret;
use crate::values::convert;
use crate::values::declare;
use crate::values::descriptor::Descriptor;
use crate::values::spec::{Kind, StepKind};
use crate::values::tree::{self, Tree};
use crate::values::views::{self, Side};
use starlark::values::list::AllocList;
use starlark::values::{OwnedFrozenValue, Value};
use std::collections::{BTreeMap, BTreeSet};
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
    /// The factory's folder for steps that name none.
    workdir: Option<OwnedFrozenValue>,
    /// Secrets that it may name; none is all.
    secrets: Option<Arc<[String]>>,
    limits: Limits,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Step({})", self.0.name)
    }
}

/// Whether a step is to run, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub runs: bool,
    /// For people: `doStepIf is False`, `doStepIf: release() returned None`. Empty if it runs.
    pub reason: String,
}

/// Functions that decide, and values that are no text to render.
const NOT_RENDERED: [&str; 3] = ["doStepIf", "hideStepIf", "locks"];

impl Step {
    /// `None` if the value is no step.
    pub(crate) fn new(
        descriptor: OwnedFrozenValue,
        workdir: Option<OwnedFrozenValue>,
        limits: &Limits,
    ) -> Option<Step> {
        let (name, always_run) = {
            let value = Descriptor::from_value(descriptor.value())?;
            let Kind::Step(_) = value.kind() else { return None };
            let given = value.arg("name").and_then(|v| v.unpack_str());
            let name = given.map_or_else(|| common::default_name(value), str::to_owned);
            let always = value.arg("alwaysRun").and_then(|v| convert::boolean(&Tree::of(v)));
            (name, always.unwrap_or(false))
        };
        let limits = limits.clone();
        Some(Step(Arc::new(Inner { descriptor, name, always_run, workdir, secrets: None, limits })))
    }

    /// The same step, which may name these secrets alone.
    pub(crate) fn restricted(self, secrets: Arc<[String]>) -> Step {
        let inner = &*self.0;
        Step(Arc::new(Inner {
            descriptor: inner.descriptor.clone(),
            name: inner.name.clone(),
            always_run: inner.always_run,
            workdir: inner.workdir.clone(),
            secrets: Some(secrets),
            limits: inner.limits.clone(),
        }))
    }

    /// The name as far as it is known before a build runs: that of the action
    /// where it is a placeholder. [`RenderedStep::name`] is the real one.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// As it is written: `steps.Compile`, or the name of a custom step.
    pub fn kind(&self) -> String {
        Descriptor::from_value(self.0.descriptor.value()).map(Descriptor::called).unwrap_or_default()
    }

    /// `file:line` of its constructor call.
    pub fn location(&self) -> String {
        Descriptor::from_value(self.0.descriptor.value()).map(|d| d.site.location()).unwrap_or_default()
    }

    /// Runs although an earlier step halted the build (RF-05).
    pub fn always_run(&self) -> bool {
        self.0.always_run
    }

    /// Resolves all placeholders. An error here makes the step an exception (D-09).
    pub fn render(&self, ctx: &BuildContext) -> Result<RenderedStep, EvalError> {
        self.with(ctx, |descriptor, rendering| {
            let mut values = BTreeMap::new();
            for (name, value) in descriptor.args.iter().filter(|(n, _)| !NOT_RENDERED.contains(&n.as_str())) {
                values.insert(name.clone(), rendering.render(*value)?);
            }
            if descriptor.spec.type_of("workdir").is_some()
                && !values.contains_key("workdir")
                && let Some(folder) = self.factory_workdir(ctx, rendering)?
            {
                values.insert("workdir".into(), folder);
            }
            let called = descriptor.called();
            let args = Rendered { spec: descriptor.spec, called, site: &descriptor.site, values };
            let action = match descriptor.kind() {
                Kind::Step(StepKind::Git) => Action::Git(git::render(&args)?),
                Kind::Step(StepKind::Svn) => Action::Svn(sources::svn(&args)?),
                Kind::Step(StepKind::Mercurial) => Action::Mercurial(sources::mercurial(&args)?),
                Kind::Step(StepKind::SetProperty) => set_property(&args)?,
                Kind::Step(StepKind::Shell) if descriptor.rule.is_empty() => Action::Shell(shell::render(&args)?),
                _ => Action::Script(script::render(&args)?),
            };
            let mut step = common::step(&args, &self.0.name, self.0.always_run, action)?;
            step.locks = self.locks(descriptor);
            let mut names = BTreeSet::new();
            secret::names(&serde_json::to_value(&step.action).unwrap_or_default(), &ctx.secret_mark, &mut names);
            step.secrets = names.into_iter().collect();
            Ok(step)
        })
    }

    fn factory_workdir<'v>(
        &self,
        ctx: &BuildContext,
        rendering: &mut Rendering<'_, 'v, '_, '_>,
    ) -> Result<Option<Tree>, EvalError> {
        let Some(owned) = &self.0.workdir else { return Ok(None) };
        let value = rendering.heap().access_owned_frozen_value(owned);
        if !matches!(Tree::of(value), Tree::Function) {
            return rendering.render(value).map(Some);
        }
        let heap = rendering.heap();
        let stamps = heap.alloc(AllocList(ctx.sourcestamps.iter().map(|s| views::sourcestamp(s, heap))));
        let folder = rendering.call(value, &[stamps])?;
        rendering.render(folder).map(Some)
    }

    fn locks(&self, descriptor: &Descriptor<'_>) -> Vec<crate::definition::LockAccess> {
        let accesses = descriptor.arg("locks").map(crate::values::lock::accesses).unwrap_or_default();
        accesses.into_iter().map(|(access, _)| access).collect()
    }

    /// Whether it is to run; if not, it is SKIPPED (RF-06).
    pub fn do_step_if(&self, ctx: &BuildContext) -> Result<bool, EvalError> {
        self.condition(ctx).map(|c| c.runs)
    }

    /// The same, with the reason.
    pub fn condition(&self, ctx: &BuildContext) -> Result<Condition, EvalError> {
        self.with(ctx, |descriptor, rendering| {
            let yes = Condition { runs: true, reason: String::new() };
            let Some(condition) = descriptor.arg("doStepIf") else { return Ok(yes) };
            if !matches!(Tree::of(condition), Tree::Function) {
                let tree = rendering.render(condition)?;
                let reason = match Tree::of(condition) {
                    Tree::Placeholder => format!("doStepIf: {} is {}", shown(condition), tree.repr(60)),
                    _ => format!("doStepIf is {}", tree.repr(60)),
                };
                return Ok(if tree.truth() { yes } else { Condition { runs: false, reason } });
            }
            let step = rendering.view(Side::Step(self.0.name.clone()));
            let answer = decide(rendering, condition, &[step]);
            let answer = answer.map_err(|e| e.or_placed(|d| descriptor.site.place_argument("doStepIf", d)))?;
            if answer.truth() {
                return Ok(yes);
            }
            let name = match declare::function_name(condition).as_str() {
                "lambda" => "its function".to_owned(),
                name => format!("{name}()"),
            };
            Ok(Condition { runs: false, reason: format!("doStepIf: {name} returned {}", answer.repr(60)) })
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
            let answer = decide(rendering, condition, &[results, step]);
            let answer = answer.map_err(|e| e.or_placed(|d| descriptor.site.place_argument("hideStepIf", d)))?;
            Ok(answer.truth())
        })
    }

    /// Runs a step whose action is [`Action::Script`]. Blocks until it is done;
    /// call it on a thread of its own with [`crate::STACK`] bytes of stack.
    pub fn run(&self, rendered: &RenderedStep, ctx: &BuildContext, host: &dyn StepHost) -> Result<StepEnd, RunError> {
        crate::custom::run(self, rendered, ctx, host)
    }

    pub(crate) fn descriptor(&self) -> &OwnedFrozenValue {
        &self.0.descriptor
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Names of the secrets that it may use, if it comes from the change's own tree; a step of the project uses all.
    pub fn allowed_secrets(&self) -> Option<&[String]> {
        self.0.secrets.as_deref()
    }

    fn with<R>(
        &self,
        ctx: &BuildContext,
        f: impl for<'r, 'v, 'a, 'e> FnOnce(&Descriptor<'v>, &mut Rendering<'r, 'v, 'a, 'e>) -> Result<R, EvalError>,
    ) -> Result<R, EvalError> {
        self.0.limits.run(|eval| {
            let value = eval.heap().access_owned_frozen_value(&self.0.descriptor);
            let descriptor = Descriptor::from_value(value).expect("a step holds a descriptor since it was made");
            let mut rendering = Rendering::new(eval, ctx);
            rendering.allow_secrets(self.0.secrets.as_deref());
            f(descriptor, &mut rendering)
        })
    }
}

/// What a function answers, which may again be a placeholder.
fn decide<'v>(
    rendering: &mut Rendering<'_, 'v, '_, '_>,
    function: Value<'v>,
    args: &[Value<'v>],
) -> Result<Tree, EvalError> {
    let answer = rendering.call(function, args)?;
    rendering.render(answer)
}

fn shown(value: Value<'_>) -> String {
    value.to_str().chars().take(80).collect()
}

/// The steps in a list of the project's functions, each owned by its frozen heap.
pub(crate) fn of_list(list: &OwnedFrozenValue, limits: &Limits) -> Result<Vec<Step>, String> {
    let value = list.value();
    let items =
        tree::items(value).ok_or_else(|| format!("a list of steps is needed, got {}", Tree::of(value).describe()))?;
    let mut steps = vec![];
    for item in items {
        let frozen = item.unpack_frozen().ok_or("a step was not kept")?;
        let step = Step::new(list.map(|_| frozen), None, limits);
        steps.push(step.ok_or_else(|| format!("a step is needed, got {}", Tree::of(*item).describe()))?);
    }
    Ok(steps)
}

fn set_property(args: &Rendered<'_>) -> Result<Action, EvalError> {
    let property = args.get("property", convert::text)?.unwrap_or_default();
    let value = args.get("value", Tree::to_json)?.unwrap_or_default();
    if property.is_empty() {
        return Err(args.fail("property", Diagnostic::error("the property's name is empty")));
    }
    Ok(Action::SetProperty { property, value })
}
