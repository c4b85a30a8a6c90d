//! Logs of a step as its functions see them (C-63 to C-73).

use super::host::{LogId, Output};
use super::observer;
use super::running::{Shared, failure, running};
use super::step::step_of;
use crate::values::tree::Tree;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::none::NoneType;
use starlark::values::{AllocValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value};
use std::fmt;
use tidemill_model::log::Channel;
use tidemill_model::wire::LogKind;

#[derive(ProvidesStaticType, NoSerialize, Allocative, Trace)]
pub(super) struct LogValue<'v> {
    #[trace(unsafe_ignore)]
    pub name: String,
    #[trace(unsafe_ignore)]
    pub id: LogId,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    facts: Shared,
    step: Value<'v>,
}

impl fmt::Debug for LogValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogValue({})", self.name)
    }
}

impl fmt::Display for LogValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log {}", self.name)
    }
}

impl<'v> AllocValue<'v> for LogValue<'v> {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

#[starlark_value(type = "log")]
impl<'v> StarlarkValue<'v> for LogValue<'v> {
    fn get_methods() -> Option<&'static Methods> {
        Some(LOG_METHODS.methods())
    }

    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        (attribute == "name").then(|| heap.alloc(self.name.as_str()))
    }
}

pub(super) fn log_of<'v>(value: Value<'v>) -> starlark::Result<&'v LogValue<'v>> {
    let got = || failure(format!("a log is needed, as from step.addLog(name), got {}", Tree::of(value).describe()));
    value.downcast_ref::<LogValue<'v>>().ok_or_else(got)
}

/// `s`, `t`, `h` as in Buildbot.
pub(super) fn kind(letter: &str) -> starlark::Result<LogKind> {
    match letter {
        "s" => Ok(LogKind::Stdio),
        "t" => Ok(LogKind::Text),
        "h" => Ok(LogKind::Html),
        other => {
            Err(failure(format!("the type of a log is \"s\" (stdio), \"t\" (text) or \"h\" (HTML), got {other:?}")))
        }
    }
}

/// Opens a log.
pub(super) fn open<'v>(
    step: Value<'v>,
    name: &str,
    kind: LogKind,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let facts = step_of(step)?.facts.clone();
    if name.trim().is_empty() {
        return Err(failure("a log needs a name"));
    }
    let id = facts.open_log(running(eval)?.host, name, kind)?;
    Ok(eval.heap().alloc(LogValue { name: name.to_owned(), id, facts, step }))
}

/// A log that some part of the step opened (C-69).
pub(super) fn find<'v>(step: Value<'v>, name: &str, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
    let facts = step_of(step)?.facts.clone();
    let Some(log) = facts.log(name) else {
        let open: Vec<String> = facts.logs.borrow().iter().map(|l| l.name.clone()).collect();
        let open = if open.is_empty() { "none yet".into() } else { open.join(", ") };
        return Err(failure(format!("the step has no log `{name}`; it has {open}")));
    };
    Ok(eval.heap().alloc(LogValue { name: log.name, id: log.id, facts, step }))
}

/// Adds text, which observers of the log see too (C-76).
pub(super) fn write<'v>(
    log: Value<'v>,
    channel: Channel,
    text: &str,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<NoneType> {
    let log = log_of(log)?;
    let host = running(eval)?.host;
    log.facts.write(host, log.id, channel, text)?;
    observer::deliver(log.step, &log.name, Output { log: log.id, channel, bytes: text.as_bytes() }, eval)?;
    Ok(NoneType)
}

pub(super) fn finish<'v>(log: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<NoneType> {
    let log = log_of(log)?;
    log.facts.may_finish(log.id)?;
    observer::finish(log.step, &log.name, eval)?;
    log.facts.finish_log(running(eval)?.host, log.id)?;
    Ok(NoneType)
}

#[starlark_module]
fn log_methods(builder: &mut MethodsBuilder) {
    /// Adds text to the channel of standard output.
    fn addStdout<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        write(this, Channel::Stdout, text, eval)
    }

    /// Adds text to the channel of standard error.
    fn addStderr<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        write(this, Channel::Stderr, text, eval)
    }

    /// Adds text to the channel of headers.
    fn addHeader<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        write(this, Channel::Header, text, eval)
    }

    /// Adds text to a log of text or HTML.
    fn addContent<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] text: &str,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<NoneType> {
        write(this, Channel::Stdout, text, eval)
    }

    /// No more will come.
    fn finish<'v>(this: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<NoneType> {
        super::logs::finish(this, eval)
    }
}

starlark::methods_static!(LOG_METHODS = log_methods);

/// For the reference.
pub(super) fn methods() -> &'static Methods {
    LOG_METHODS.methods()
}
