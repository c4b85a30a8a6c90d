//! Commands of a step: shell commands and the worker's own (C-52 to C-57, C-91 to C-93).

// Arguments of methods have Buildbot's names.
#![allow(non_snake_case)]

use super::files;
use super::host::{HostError, LogId, Output, Run};
use super::observer;
use super::running::{Facts, failure, running};
use super::step::step_of;
use crate::host::diagnostics::EvalError;
use crate::plan::Shell;
use crate::render::Rendering;
use crate::steps::{Rendered, shell};
use crate::values::convert;
use crate::values::tree::Tree;
use crate::vocabulary;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::collections::SmallMap;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::none::{NoneOr, NoneType};
use starlark::values::{AllocValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::LogKind;

/// Most bytes that `collectStdout` keeps.
const COLLECT_MAX: usize = 64 << 20;

#[derive(ProvidesStaticType, NoSerialize, Allocative, Trace)]
pub(super) struct CommandValue<'v> {
    #[trace(unsafe_ignore)]
    pub name: String,
    /// Of a command other than `shell`.
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub args: BTreeMap<String, Tree>,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    shell: Option<Box<Shell>>,
    /// None keeps its output out of every log.
    #[trace(unsafe_ignore)]
    log: Option<String>,
    #[trace(unsafe_ignore)]
    collect: (bool, bool),
    /// Logs given by `useLog`: which of its logs, the log, whether it is finished with the command.
    used: RefCell<Vec<(String, Value<'v>, bool)>>,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub outcome: RefCell<Outcome>,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    decode: BTreeMap<i32, Results>,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    ran: Cell<bool>,
}

#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub rc: Option<i32>,
    pub reason: Option<String>,
    pub stdout: String,
    pub stderr: String,
    /// As Buildbot's workers send them: lists by name.
    pub updates: BTreeMap<String, Vec<Tree>>,
}

impl fmt::Debug for CommandValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandValue({})", self.name)
    }
}

impl fmt::Display for CommandValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command {}", self.name)
    }
}

impl<'v> AllocValue<'v> for CommandValue<'v> {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

impl CommandValue<'_> {
    fn results(&self) -> Option<Results> {
        let rc = self.outcome.borrow().rc?;
        let default = if rc == 0 { Results::Success } else { Results::Failure };
        Some(self.decode.get(&rc).copied().unwrap_or(default))
    }
}

#[starlark_value(type = "RemoteCommand")]
impl<'v> StarlarkValue<'v> for CommandValue<'v> {
    fn get_methods() -> Option<&'static Methods> {
        Some(COMMAND_METHODS.methods())
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        let outcome = self.outcome.borrow();
        Some(match attribute {
            "rc" => outcome.rc.map_or(Value::new_none(), |rc| heap.alloc(rc)),
            "stdout" => heap.alloc(outcome.stdout.as_str()),
            "stderr" => heap.alloc(outcome.stderr.as_str()),
            "reason" => outcome.reason.as_deref().map_or(Value::new_none(), |r| heap.alloc(r)),
            "remote_command" => heap.alloc(self.name.as_str()),
            "updates" => {
                let lists = outcome.updates.iter();
                let tree = lists.map(|(k, v)| (Tree::Text(k.clone()), Tree::List(v.clone()))).collect();
                Tree::Dict(tree).alloc(heap)
            }
            _ => return None,
        })
    }

    fn dir_attr(&self) -> Vec<String> {
        ["rc", "stdout", "stderr", "reason", "remote_command", "updates"].map(str::to_owned).to_vec()
    }
}

fn command_of<'v>(value: Value<'v>) -> starlark::Result<&'v CommandValue<'v>> {
    value.downcast_ref::<CommandValue<'v>>().ok_or_else(|| {
        failure(format!(
            "a command is needed, such as util.RemoteCommand(…) or step.makeRemoteShellCommand(…), got {}",
            Tree::of(value).describe()
        ))
    })
}

#[starlark_module]
fn command_methods(builder: &mut MethodsBuilder) {
    /// Whether its result is a failure.
    fn didFail<'v>(this: Value<'v>) -> starlark::Result<bool> {
        Ok(command_of(this)?.results().is_some_and(|r| r == Results::Failure))
    }

    /// Its result by `decodeRC`; `None` before it ran.
    fn results<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
        let results = command_of(this)?.results();
        Ok(results.map_or(Value::new_none(), |r| eval.heap().alloc(i32::from(r.code()))))
    }

    /// Its output goes to this log, which is finished with the command if `closeWhenFinished`.
    fn useLog<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] log: Value<'v>,
        #[starlark(default = false)] closeWhenFinished: bool,
        #[starlark(default = NoneOr::None)] logfileName: NoneOr<&str>,
    ) -> starlark::Result<NoneType> {
        let command = command_of(this)?;
        super::logs::log_of(log)?;
        let name = logfileName.into_option().or(command.log.as_deref()).unwrap_or("stdio").to_owned();
        command.used.borrow_mut().push((name, log, closeWhenFinished));
        Ok(NoneType)
    }
}

starlark::methods_static!(COMMAND_METHODS = command_methods);

/// Reads named values with their placeholders resolved.
pub(super) fn rendered<'v>(
    facts: &Facts,
    named: impl IntoIterator<Item = (String, Value<'v>)>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<BTreeMap<String, Tree>> {
    let allowed = running(eval)?.allowed_secrets;
    let context = facts.context.borrow().clone();
    let mut rendering = Rendering::new(eval, &context);
    rendering.allow_secrets(allowed);
    let mut trees = BTreeMap::new();
    for (name, value) in named {
        let tree = rendering.render(value).map_err(failure)?;
        trees.insert(name, tree);
    }
    Ok(trees)
}

/// `util.RemoteCommand(name, args, …)`. Its arguments are rendered when it runs.
pub(crate) fn remote_command<'v>(
    given: &SmallMap<String, Value<'v>>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let tree = |name: &str| given.get(name).map(|v| Tree::of(*v));
    let flag = |name: &str| tree(name).and_then(|t| convert::boolean(&t)).unwrap_or(false);
    let name = tree("remote_command").and_then(|t| convert::text(&t)).unwrap_or_default();
    let args = match tree("args") {
        Some(Tree::Dict(entries)) => entries.into_iter().filter_map(|(k, v)| Some((convert::text(&k)?, v))).collect(),
        _ => BTreeMap::new(),
    };
    let log = match tree("stdioLogName") {
        Some(t) => convert::optional_text(&t).flatten(),
        None => Some("stdio".to_owned()),
    };
    Ok(eval.heap().alloc(CommandValue {
        args,
        shell: None,
        log: log.filter(|_| name == "shell"),
        name,
        collect: (flag("collectStdout"), flag("collectStderr")),
        used: RefCell::default(),
        outcome: RefCell::default(),
        decode: tree("decodeRC").and_then(|t| convert::decode_rc(&t)).unwrap_or_default(),
        ran: Cell::new(false),
    }))
}

/// `step.makeRemoteShellCommand(**options)`: the step's options, and these over them.
pub(super) fn shell_command<'v>(
    step: Value<'v>,
    options: SmallMap<String, Value<'v>>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let owner = step_of(step)?;
    let spec = vocabulary::specs().find(|s| s.name == "steps.ShellCommand").expect("it is in the table");
    let own = ["collectStdout", "collectStderr", "stdioLogName"];
    for name in options.keys() {
        if spec.type_of(name).is_none() && !own.contains(&name.as_str()) {
            let known = spec.names().chain(own);
            let near = crate::names::nearest(name, known).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            return Err(failure(format!("a shell command has no option `{name}`{near}")));
        }
    }
    let mut values = rendered(&owner.facts, options, eval)?;
    let mut take = |name: &str| values.remove(name);
    let flag = |tree: Option<Tree>| tree.and_then(|t| convert::boolean(&t)).unwrap_or(false);
    let collect = (flag(take("collectStdout")), flag(take("collectStderr")));
    let log = match take("stdioLogName") {
        Some(tree) => convert::optional_text(&tree)
            .ok_or_else(|| failure(format!("`stdioLogName` must be a string or None, got {}", tree.describe())))?,
        None => Some("stdio".to_owned()),
    };
    let args = Rendered { spec, called: "a shell command".into(), site: &Default::default(), values };
    let shell =
        shell::overlay(owner.facts.shell.clone(), &args).map_err(|e: EvalError| failure(&e.diagnostic().message))?;
    if matches!(&shell.command, crate::plan::Command::Argv(argv) if argv.is_empty()) {
        return Err(failure("a shell command needs `command`"));
    }
    Ok(eval.heap().alloc(CommandValue {
        name: "shell".into(),
        args: BTreeMap::new(),
        decode: shell.decode_rc.clone(),
        shell: Some(Box::new(shell)),
        log,
        collect,
        used: RefCell::default(),
        outcome: RefCell::default(),
        ran: Cell::new(false),
    }))
}

/// The result of a command that ran.
pub(super) fn results(command: Value<'_>) -> starlark::Result<Results> {
    Ok(command_of(command)?.results().unwrap_or(Results::Success))
}

/// `step.runCommand(command)`.
pub(super) fn run<'v>(
    step: Value<'v>,
    command: Value<'v>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let value = command_of(command)?;
    let owner = step_of(step)?;
    if value.ran.replace(true) {
        return Err(failure("this command ran already: make another one"));
    }
    match (&value.shell, value.name.as_str()) {
        (Some(shell), _) => run_shell(step, value, shell, eval)?,
        (None, "shell") => {
            // The worker's own words for the options.
            let named = value.args.iter().map(|(k, v)| (k.clone(), v.alloc(eval.heap()))).collect::<Vec<_>>();
            let options = named.into_iter().collect();
            let made = shell_command(step, options, eval)?;
            let shell = command_of(made)?.shell.as_ref().expect("it was made with one");
            run_shell(step, value, shell, eval)?;
        }
        _ => files::run(&owner.facts, value, eval)?,
    }
    Ok(command)
}

fn run_shell<'v>(
    step: Value<'v>,
    command: &CommandValue<'v>,
    shell: &Shell,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<()> {
    let owner = step_of(step)?;
    let facts = owner.facts.clone();
    let host = running(eval)?.host;
    let used: BTreeMap<String, (LogId, String, bool)> = {
        let used = command.used.borrow();
        let entries = used.iter().map(|(which, log, close)| {
            let log = super::logs::log_of(*log)?;
            Ok((which.clone(), (log.id, log.name.clone(), *close)))
        });
        entries.collect::<starlark::Result<_>>()?
    };
    // Logs by id: their names, and whether they end with the command.
    let mut names: BTreeMap<LogId, (String, bool)> = BTreeMap::new();
    let log = match &command.log {
        Some(name) => Some(match used.get(name) {
            Some((id, name, close)) => {
                names.insert(*id, (name.clone(), *close));
                *id
            }
            None => {
                let open = facts.log(name).filter(|l| !l.finished).map(|l| l.id);
                let id = match open {
                    Some(id) => id,
                    None => facts.open_log(host, name, LogKind::Stdio)?,
                };
                names.insert(id, (name.clone(), false));
                id
            }
        }),
        None => {
            names.insert(0, (String::new(), false));
            None
        }
    };
    let mut watched = BTreeMap::new();
    for name in shell.logfiles.keys() {
        let (id, log, close) = match used.get(name) {
            Some((id, log, close)) => (*id, log.clone(), *close),
            None => (facts.open_log(host, name, LogKind::Text)?, name.clone(), true),
        };
        names.insert(id, (log, close));
        watched.insert(name.clone(), id);
    }
    let collecting = command.collect.0 || command.collect.1;
    let own_log = log.unwrap_or(0);
    let seen =
        |id: LogId, name: &str| (collecting && id == own_log) || owner.observers.borrow().iter().any(|o| o.log == name);
    let observed = names.iter().filter(|(id, (name, _))| seen(**id, name)).map(|(id, _)| *id).collect();
    let request = Run { shell: shell.clone(), log, watched, observed };
    let (mut out, mut err) = (vec![], vec![]);
    let mut failed = None;
    let before = facts.current.replace(names.keys().copied().filter(|id| *id > 0).collect());
    let end = host.run(&request, &mut |output: Output<'_>| {
        if output.log == own_log {
            let kept = match output.channel {
                Channel::Stdout if command.collect.0 => Some(&mut out),
                Channel::Stderr if command.collect.1 => Some(&mut err),
                _ => None,
            };
            if let Some(kept) = kept {
                if kept.len() + output.bytes.len() > COLLECT_MAX {
                    failed = Some(failure(format!(
                        "the output is more than {} MiB: too much to be collected",
                        COLLECT_MAX >> 20
                    )));
                    return Err(HostError::Function);
                }
                kept.extend_from_slice(output.bytes);
            }
        }
        let Some((name, _)) = names.get(&output.log) else { return Ok(()) };
        observer::deliver(step, name, output, eval).map_err(|e| {
            failed = Some(e);
            observer::as_host_error(&facts)
        })
    });
    facts.current.set(before);
    let end = match (end, failed) {
        (Err(HostError::Function), Some(error)) => return Err(error),
        (Err(error), _) => return Err(facts.told(error)),
        (Ok(end), _) => end,
    };
    for (id, (name, close)) in &names {
        if *close {
            observer::finish(step, name, eval)?;
            facts.finish_log(host, *id)?;
        }
    }
    *command.outcome.borrow_mut() = Outcome {
        rc: Some(end.rc),
        reason: end.reason,
        stdout: String::from_utf8_lossy(&out).into_owned(),
        stderr: String::from_utf8_lossy(&err).into_owned(),
        updates: BTreeMap::from([("rc".to_owned(), vec![Tree::Int(end.rc.into())])]),
    };
    Ok(())
}

/// For the reference.
pub(super) fn methods() -> &'static Methods {
    COMMAND_METHODS.methods()
}
