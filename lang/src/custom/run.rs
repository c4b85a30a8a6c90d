//! One run of a step function, from its arguments to its result.

use super::host::{HostError, StepHost};
use super::observer;
use super::running::{Facts, Running, Shared, failure};
use super::slot::Slot;
use super::step::{StepValue, result_summary, step_of};
use super::{AddAt, Added, RunError, StepEnd, command};
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::limits::Limits;
use crate::host::stack;
use crate::library;
use crate::plan::{Action, BuildContext, RenderedStep, Shell};
use crate::render::Rendering;
use crate::steps::{self, Step};
use crate::values::convert;
use crate::values::descriptor::Descriptor;
use crate::values::rule::Rule;
use crate::values::spec::{Kind, Status, StepKind};
use crate::values::tree::Tree;
use crate::vocabulary;
use starlark::collections::SmallMap;
use starlark::environment::{FrozenModule, Module};
use starlark::eval::Evaluator;
use starlark::values::Value;
use starlark::values::list::AllocList;
use std::sync::Arc;
use tidemill_model::Results;

/// What a function gave, before its steps are made.
struct Ended {
    results: Results,
    summary: (Option<String>, Option<String>),
    /// Variables of the module that hold steps.
    holds: Vec<(AddAt, String)>,
}

pub(crate) fn run(
    step: &Step,
    rendered: &RenderedStep,
    ctx: &BuildContext,
    host: &dyn StepHost,
) -> Result<StepEnd, RunError> {
    let Action::Script(script) = &rendered.action else {
        let message = "this step has no function to run";
        return Err(RunError::Failed(EvalError::new(Diagnostic::error(message))));
    };
    let arguments = script.attrs.iter().map(|(k, v)| (k.clone(), Tree::from_json(v))).collect();
    let facts: Shared = Arc::new(Facts {
        name: rendered.name.clone(),
        workdir: script.workdir.clone(),
        shell: match &script.shell {
            Some(shell) => (**shell).clone(),
            None => Shell { workdir: script.workdir.clone(), ..Shell::default() },
        },
        spec: Descriptor::from_value(step.descriptor().value()).map_or(vocabulary::bare_step(), |d| d.spec),
        context: Slot::new(Arc::new(ctx.clone())),
        attributes: Slot::default(),
        arguments,
        logs: Slot::default(),
        added: Slot::default(),
        statistics: Slot::default(),
        results: Slot::new(None),
        summary_pending: Slot::new(false),
        observed_lines: Slot::new(0),
        depth: Slot::new(0),
        pending: Slot::default(),
        pending_bytes: Slot::new(0),
        observed: Slot::default(),
        current: Slot::default(),
        ended: Slot::new(None),
        worker: host.worker(),
    });
    let running = Running {
        host,
        owner: step.descriptor().clone(),
        limits: Limits::step(),
        allowed_secrets: step.allowed_secrets(),
    };
    let ended = in_module(step, &facts, &running);
    facts.finish_logs(host);
    let stopped = facts.ended.borrow().clone();
    match (stopped, ended) {
        (Some(HostError::Over), _) => Err(RunError::Over),
        (Some(_), _) => Err(RunError::Cancelled),
        (None, Err(_)) if host.cancelled() => Err(RunError::Cancelled),
        (None, Err(error)) => Err(RunError::Failed(error)),
        (None, Ok((ended, module))) => {
            let mut added = facts.added.take();
            added.extend(made(step, &ended, module).map_err(RunError::Failed)?);
            Ok(StepEnd {
                results: ended.results,
                summary: ended.summary.0,
                build_summary: ended.summary.1,
                added,
                observed_lines: facts.observed_lines.get(),
            })
        }
    }
}

/// Calls the function in a module of its own. Where it added steps, the module is kept for them.
fn in_module(step: &Step, facts: &Shared, running: &Running<'_>) -> Result<(Ended, Option<FrozenModule>), EvalError> {
    Module::with_temp_heap(|module| {
        let ended = {
            let extra = running;
            let mut eval = Evaluator::new(&module);
            running.limits.apply_until(&mut eval, || running.host.cancelled());
            eval.extra = Some(&extra);
            call(step, facts, &mut eval)?
        };
        if ended.holds.is_empty() {
            return Ok((ended, None));
        }
        stack::may_be_kept(module.heap()).map_err(EvalError::from)?;
        let frozen = module.freeze().map_err(|e| {
            let message = format!("the added steps cannot be kept: {e:?}");
            EvalError::new(Diagnostic::error(message))
        })?;
        Ok((ended, Some(frozen)))
    })
}

fn call<'v>(step: &Step, facts: &Shared, eval: &mut Evaluator<'v, '_, '_>) -> Result<Ended, EvalError> {
    let value = eval.heap().access_owned_frozen_value(step.descriptor());
    let descriptor = Descriptor::from_value(value).expect("a step holds a descriptor since it was made");
    let place = |e: EvalError| e.or_placed(|d| descriptor.site.place(d));
    let value = prepare(descriptor, facts, step.allowed_secrets(), eval)?;
    for (log, observer) in descriptor.custom().map(|r| r.observers.clone()).unwrap_or_default() {
        observer::register(value, &log, observer, eval).map_err(|e| place(e.into()))?;
    }
    let results = work(value, eval).map_err(|e| place(e.into()))?;
    let names: Vec<String> = facts.logs.borrow().iter().filter(|l| !l.finished).map(|l| l.name.clone()).collect();
    for name in names {
        observer::finish(value, &name, eval).map_err(|e| place(e.into()))?;
    }
    facts.results.set(Some(results));
    let summary = result_summary(value, eval).map_err(|e| place(e.into()))?;
    let owner = step_of(value).expect("it was made as one");
    let mut holds = vec![];
    for (at, last, name) in [(AddAt::AfterCurrent, false, "steps_after"), (AddAt::Last, true, "steps_last")] {
        let added = owner.added.borrow();
        let list: Vec<Value<'v>> = added.iter().filter(|(l, _)| *l == last).map(|(_, v)| *v).collect();
        if !list.is_empty() {
            eval.module().set(name, eval.heap().alloc(AllocList(list)));
            holds.push((at, name.to_owned()));
        }
    }
    Ok(Ended { results, summary, holds })
}

/// The step's value, with its arguments rendered.
fn prepare<'v>(
    descriptor: &Descriptor<'v>,
    facts: &Shared,
    allowed: Option<&[String]>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> Result<Value<'v>, EvalError> {
    let context = facts.context.borrow().clone();
    let mut value = StepValue::new(facts.clone());
    let mut arguments = SmallMap::new();
    for (name, given) in &descriptor.args {
        if ["doStepIf", "hideStepIf", "locks"].contains(&name.as_str()) {
            continue;
        }
        let mut rendering = Rendering::new(eval, &context);
        rendering.allow_secrets(allowed);
        let tree = rendering.render(*given)?;
        let plain = tree.is_plain();
        arguments.insert(name.clone(), if plain { tree.alloc(eval.heap()) } else { *given });
    }
    value.arguments = arguments;
    let mut rule = descriptor.custom();
    if let Some(rule) = rule {
        value.current_summary = rule.part("getCurrentSummary");
        value.result_summary = rule.part("getResultSummary");
    }
    while let Some(custom) = rule {
        value.chain.extend(custom.part("implementation"));
        rule = custom.part("base").and_then(Rule::from_value);
    }
    if let Kind::Step(StepKind::Library { file, function }) = descriptor.kind() {
        let function = library::function(file, function).map_err(EvalError::from)?;
        value.chain.push(eval.heap().access_owned_frozen_value(&function));
    }
    Ok(eval.heap().alloc(value))
}

/// The work at the present level of the chain; below the last function it is that
/// of the vocabulary's own step.
fn work<'v>(step: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Results> {
    let owner = step_of(step)?;
    match owner.chain.get(owner.level.get()) {
        Some(function) => {
            let answer = eval.eval_function(*function, &[step], &[])?;
            result(answer)
        }
        None if !has_command(&owner.facts) && needs_command(&owner.facts) => Err(failure(format!(
            "{} needs `command`: give the step one, or run another command",
            owner.facts.spec.name
        ))),
        // A command line of its own, as of steps.ShellCommand.
        None if owner.facts.arguments.is_empty() && !has_command(&owner.facts) => Ok(Results::Success),
        None if has_command(&owner.facts) => {
            let made = command::shell_command(step, SmallMap::new(), eval)?;
            let ran = command::run(step, made, eval)?;
            command::results(ran)
        }
        None => Ok(Results::Success),
    }
}

fn has_command(facts: &Facts) -> bool {
    match &facts.shell.command {
        crate::plan::Command::Argv(argv) => !argv.is_empty(),
        crate::plan::Command::Line(_) => true,
    }
}

/// A base without a command of its own, below a function that may have run another.
fn needs_command(facts: &Facts) -> bool {
    facts.spec.param("command").is_some_and(|p| matches!(p.status, Status::Required(_)))
}

/// `step.runBase()`.
pub(super) fn base<'v>(step: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Results> {
    let owner = step_of(step)?;
    owner.level.set(owner.level.get() + 1);
    let results = work(step, eval);
    owner.level.set(owner.level.get() - 1);
    results
}

/// C-50: the result code; nothing is success.
fn result(answer: Value<'_>) -> starlark::Result<Results> {
    let tree = Tree::of(answer);
    match &tree {
        Tree::None => Ok(Results::Success),
        other => convert::results(other).ok_or_else(|| {
            failure(format!(
                "a step's function returns its result, such as SUCCESS or FAILURE, or nothing; got {}",
                tree.describe()
            ))
        }),
    }
}

/// Steps from the frozen module.
fn made(step: &Step, ended: &Ended, module: Option<FrozenModule>) -> Result<Vec<Added>, EvalError> {
    let Some(module) = module else { return Ok(vec![]) };
    let fault = |text: String| EvalError::new(Diagnostic::error(text));
    let mut added = vec![];
    for (at, name) in &ended.holds {
        let list = module.get_any_visibility(name).map_err(|e| fault(e.to_string()))?.0;
        let mut steps = steps::of_list(&list, step.limits()).map_err(fault)?;
        if let Some(secrets) = step.allowed_secrets() {
            let secrets: Arc<[String]> = secrets.into();
            steps = steps.into_iter().map(|s| s.restricted(secrets.clone())).collect();
        }
        added.push(Added { at: *at, steps });
    }
    Ok(added)
}
