//! Methods of a running step, under Buildbot's names.

// They take what a call in the project file may say.
#![allow(clippy::too_many_arguments)]

use super::build::steps_given;
use super::host::{FileReply, FileRequest, Transfer};
use super::running::{Facts, failure, running};
use super::step::{step_of, update_summary};
use super::{command, logs};
use crate::values::alloc::json;
use crate::values::convert;
use crate::values::tree::Tree;
use starlark::collections::SmallMap;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::Value;
use starlark::values::float::UnpackFloat;
use starlark::values::none::{NoneOr, NoneType};
use std::collections::BTreeMap;
use tidemill_model::log::Channel;
use tidemill_model::wire::{LogKind, TestOutcome, TestResult};

pub(super) fn methods() -> &'static Methods {
    METHODS.methods()
}

/// C-86: any JSON value; seen by this function at once and by later steps (C-87).
pub(super) fn set_property<'v>(
    facts: &Facts,
    name: &str,
    value: Value<'v>,
    source: Option<&str>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<NoneType> {
    let tree = Tree::of(value);
    let Some(value) = tree.to_json() else {
        return Err(failure(format!(
            "the property `{name}` must be text, number, bool, None, or lists and dicts of them, got {}",
            tree.describe()
        )));
    };
    if name.is_empty() {
        return Err(failure("a property needs a name"));
    }
    let source = source.unwrap_or(&facts.name);
    running(eval)?.host.set_property(name, &value, source).map_err(|e| facts.told(e))?;
    facts.set_property(name, value, source);
    Ok(NoneType)
}

fn add_steps<'v>(step: Value<'v>, steps: Value<'v>, last: bool) -> starlark::Result<NoneType> {
    let owner = step_of(step)?;
    if !owner.own {
        return Err(failure("an observer at the top of a file cannot add steps: let the step's own function do it"));
    }
    owner.added.borrow_mut().extend(steps_given(steps)?.into_iter().map(|s| (last, s)));
    Ok(NoneType)
}

fn test_result(
    name: &str,
    result: &str,
    path: &str,
    seconds: Option<f64>,
    message: Option<&str>,
) -> starlark::Result<TestResult> {
    let Some(outcome) = TestOutcome::named(result) else {
        let known = TestOutcome::ALL.map(|o| format!("{:?}", o.name())).join(", ");
        return Err(failure(format!("the result of the test `{name}` must be one of {known}, got {result:?}")));
    };
    if name.trim().is_empty() {
        return Err(failure("a test needs a name"));
    }
    if seconds.is_some_and(|s| !(0.0..1e9).contains(&s)) {
        return Err(failure(format!("the duration of the test `{name}` must be a number of seconds")));
    }
    Ok(TestResult {
        name: name.to_owned(),
        path: path.to_owned(),
        result: outcome,
        duration_us: seconds.map(|s| (s * 1e6).round() as u64),
        message: message.map(str::to_owned),
    })
}

#[starlark_module]
fn step_methods(builder: &mut MethodsBuilder) {
    /// Value of a property, or the default.
    fn getProperty<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        default: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let facts = &step_of(this)?.facts;
        let value = facts.context.borrow().properties.get(name).map(|v| json(v, eval.heap()));
        Ok(value.or(default).unwrap_or(Value::new_none()))
    }

    /// Whether the property is set, be it to None.
    fn hasProperty<'v>(this: Value<'v>, #[starlark(require = pos)] name: &str) -> starlark::Result<bool> {
        Ok(step_of(this)?.facts.context.borrow().properties.get(name).is_some())
    }

    /// All properties as a dict.
    fn getProperties<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let facts = &step_of(this)?.facts;
        let context = facts.context.borrow();
        let all = context.properties.0.iter().map(|(k, p)| (Tree::Text(k.clone()), Tree::from_json(&p.value)));
        Ok(Tree::Dict(all.collect()).alloc(eval.heap()))
    }

    /// Sets a property of the build, for the steps after this one.
    fn setProperty<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] value: Value<'v>,
        #[starlark(default = NoneOr::None)] source: NoneOr<&str>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        set_property(&step_of(this)?.facts, name, value, source.into_option(), eval)
    }

    /// Sets a number of the step.
    fn setStatistic<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] value: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let facts = &step_of(this)?.facts;
        let tree = Tree::of(value);
        let Some(value) = tree.to_json() else {
            return Err(failure(format!("the statistic `{name}` must be a number, got {}", tree.describe())));
        };
        running(eval)?.host.set_statistic(name, &value).map_err(|e| facts.told(e))?;
        facts.statistics.borrow_mut().insert(name.to_owned(), value);
        Ok(NoneType)
    }

    /// A number that the step set, or the default.
    fn getStatistic<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] default: Option<Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let value = step_of(this)?.facts.statistics.borrow().get(name).map(|v| json(v, eval.heap()));
        Ok(value.or(default).unwrap_or(Value::new_none()))
    }

    /// Whether the step set the number.
    fn hasStatistic<'v>(this: Value<'v>, #[starlark(require = pos)] name: &str) -> starlark::Result<bool> {
        Ok(step_of(this)?.facts.statistics.borrow().contains_key(name))
    }

    /// What a single test gave: result `"passed"`, `"failed"`, `"skipped"` or `"error"` (it could not be run to its
    /// end). Name and `path` (where it stands, such as a file) are what a test is known by in reports, so they are to be
    /// the same in each build. `duration` is in seconds. `set` tells kinds of tests of one step apart.
    fn addTestResult<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] result: &str,
        #[starlark(require = named, default = "")] path: &str,
        #[starlark(require = named, default = NoneOr::None)] duration: NoneOr<UnpackFloat>,
        #[starlark(require = named, default = NoneOr::None)] message: NoneOr<&str>,
        #[starlark(require = named, default = "tests")] set: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let facts = &step_of(this)?.facts;
        let result = test_result(name, result, path, duration.into_option().map(|d| d.0), message.into_option())?;
        running(eval)?.host.add_test_result(set, &result).map_err(|e| facts.told(e))?;
        Ok(NoneType)
    }

    /// How far a metric has come: a growing number, for the estimate of the end.
    fn setProgress<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] metric: &str,
        #[starlark(require = pos)] value: UnpackFloat,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let facts = &step_of(this)?.facts;
        running(eval)?.host.set_progress(metric, value.0).map_err(|e| facts.told(e))?;
        Ok(NoneType)
    }

    /// Adds a link to the step.
    fn addURL<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] url: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let facts = &step_of(this)?.facts;
        running(eval)?.host.add_url(name, url).map_err(|e| facts.told(e))?;
        Ok(NoneType)
    }

    /// Asks for the step's text anew, at most about once a second.
    fn updateSummary<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<NoneType> {
        update_summary(this, eval)?;
        Ok(NoneType)
    }

    /// Shows a text while the step runs, at most about once a second.
    fn setSummary<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let facts = &step_of(this)?.facts;
        let host = running(eval)?.host;
        if host.summary_due() {
            host.set_summary(text).map_err(|e| facts.told(e))?;
        }
        Ok(NoneType)
    }

    /// A shell command with the step's options, and these over them; for `runCommand`.
    fn makeRemoteShellCommand<'v>(
        this: Value<'v>,
        #[starlark(kwargs)] options: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        command::shell_command(this, options, eval)
    }

    /// Runs a command to its end, and returns it.
    fn runCommand<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] command: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        command::run(this, command, eval)
    }

    /// Makes a shell command and runs it.
    fn shell<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] command: Value<'v>,
        #[starlark(kwargs)] options: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let mut options = options;
        options.insert("command".to_owned(), command);
        let made = super::command::shell_command(this, options, eval)?;
        super::command::run(this, made, eval)
    }

    /// Variables of the worker's environment that a build may see.
    fn workerEnvironment<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let facts = step_of(this)?.facts.clone();
        let reply = running(eval)?.host.file(&FileRequest::Environment).map_err(|e| facts.told(e))?;
        let FileReply::Variables(all) = reply else { return Err(failure("the worker did not say")) };
        let all = all.into_iter().map(|(k, v)| (Tree::Text(k), Tree::Text(v))).collect();
        Ok(Tree::Dict(all).alloc(eval.heap()))
    }

    /// Opens a log: type `"s"` is that of a command, `"t"` text, `"h"` HTML.
    fn addLog<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(default = "s")] r#type: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        logs::open(this, name, logs::kind(r#type)?, eval)
    }

    /// A log that is open or was.
    fn getLog<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        logs::find(this, name, eval)
    }

    /// A whole log of text.
    fn addCompleteLog<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let log = logs::open(this, name, LogKind::Text, eval)?;
        logs::write(log, Channel::Stdout, text, eval)?;
        logs::finish(log, eval)
    }

    /// A whole log of HTML; the pages of this release show it as text.
    fn addHTMLLog<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] name: &str,
        #[starlark(require = pos)] html: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        let log = logs::open(this, name, LogKind::Html, eval)?;
        logs::write(log, Channel::Stdout, html, eval)?;
        logs::finish(log, eval)
    }

    /// Lets an observer see a log, also one that is not open yet. Returns the live observer.
    fn addLogObserver<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] log: &str,
        #[starlark(require = pos)] observer: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        super::observer::register(this, log, observer, eval)
    }

    /// Version of one of the worker's commands; `None` if it has none of that name.
    fn workerVersion<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] command: &str,
        #[starlark(default = NoneOr::None)] oldversion: NoneOr<&str>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let version =
            step_of(this)?.facts.worker.commands.get(command).map(String::as_str).or(oldversion.into_option());
        Ok(version.map_or(Value::new_none(), |v| eval.heap().alloc(v)))
    }

    /// Whether the worker's command is missing or older than a version such as `"2.1"`.
    fn workerVersionIsOlderThan<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] command: &str,
        #[starlark(require = pos)] minversion: &str,
    ) -> starlark::Result<bool> {
        let numbers = |v: &str| v.split('.').map(|p| p.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>();
        let version = step_of(this)?.facts.worker.commands.get(command).cloned();
        Ok(version.is_none_or(|v| numbers(&v) < numbers(minversion)))
    }

    /// Ends the step with an error if the worker has no such command.
    fn checkWorkerHasCommand<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] command: &str,
    ) -> starlark::Result<NoneType> {
        let worker = &step_of(this)?.facts.worker;
        match worker.commands.contains_key(command) {
            true => Ok(NoneType),
            false => Err(failure(format!(
                "the worker {} ({}) has no command `{command}`: it is too old for this step",
                worker.name, worker.release
            ))),
        }
    }

    /// Does the work of what the step builds on, and returns its result.
    fn runBase<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let results = super::run::base(this, eval)?;
        Ok(eval.heap().alloc(i32::from(results.code())))
    }

    /// Adds steps to the build, to run right after this one.
    fn addStepsAfterCurrentStep<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] steps: Value<'v>,
    ) -> starlark::Result<NoneType> {
        add_steps(this, steps, false)
    }

    /// Adds steps to the build, to run after all others.
    fn addStepsAfterLastStep<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] steps: Value<'v>,
    ) -> starlark::Result<NoneType> {
        add_steps(this, steps, true)
    }

    /// Reads steps from a file of the change's own tree, and adds them after this one: their number, or `None` if
    /// there is no such file.
    fn addStepsFromTree<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] file: &str,
        #[starlark(require = pos)] secrets: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let secrets = convert::texts(&Tree::of(secrets)).unwrap_or_default();
        let added = super::tree_file::add(this, file, secrets, eval)?;
        Ok(added.map_or(Value::new_none(), |n| eval.heap().alloc(n as i32)))
    }

    /// Moves files between the worker and the masters' store; for the steps of the library.
    fn transfer<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] what: &str,
        #[starlark(kwargs)] args: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let facts = step_of(this)?.facts.clone();
        let args: serde_json::Map<String, serde_json::Value> =
            args.iter().map(|(k, v)| (k.clone(), Tree::of(*v).to_json().unwrap_or_default())).collect();
        let mut args = args;
        for key in if what == "download_file" { ["to"] } else { ["from"] } {
            let path = args.get(key).and_then(|v| v.as_str()).map(|p| facts.path(p)).transpose()?;
            args.insert(key.to_owned(), path.into());
        }
        let request: BTreeMap<&str, _> = BTreeMap::from([(what, args)]);
        let transfer: Transfer = serde_json::to_value(request)
            .and_then(serde_json::from_value)
            .map_err(|e| failure(format!("this cannot be moved: {e}")))?;
        let reply = running(eval)?.host.transfer(&transfer).map_err(|e| facts.told(e))?;
        Ok(json(&reply, eval.heap()))
    }

    /// Fires triggerable schedulers, and with `wait = True` waits for their builds: the result, which is that of
    /// `steps.Trigger`. Takes `schedulers` (names, or dicts with `name`, `unimportant` and `properties`), `unimportant`,
    /// `wait`, `properties`, `sourcestamps`, `always_use_latest`, `update_sourcestamp`, `parent_relationship`.
    fn trigger<'v>(
        this: Value<'v>,
        #[starlark(kwargs)] args: SmallMap<String, Value<'v>>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        let facts = step_of(this)?.facts.clone();
        if running(eval)?.allowed_secrets.is_some() {
            return Err(failure("steps of the change's own tree start no other builds"));
        }
        let wanted = super::trigger::wanted(&facts, &args).map_err(failure)?;
        let results = running(eval)?.host.trigger(&wanted).map_err(|e| facts.told(e))?;
        Ok(eval.heap().alloc(i32::from(results.code())))
    }
}

/// All of them.
fn all(builder: &mut MethodsBuilder) {
    step_methods(builder);
    super::file_methods::file_methods(builder);
}

starlark::methods_static!(METHODS = all);
