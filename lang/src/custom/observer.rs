//! Log observers (C-79 to C-85).
//!
//! An observer whose functions stand at the top of a file runs each batch of
//! lines in an evaluator of its own, so memory stays flat however long the log
//! is. One with inner functions or lambdas runs in the step's evaluator, which
//! sees what these captured, and whose memory grows with the lines.

use super::attributes::Loaded;
use super::host::{HostError, Output};
use super::lines::{LINE_MAX, Lines};
use super::running::{Running, Shared, failure, running};
use super::slot::Slot;
use super::step::{StepValue, step_of};
use crate::host::diagnostics::EvalError;
use crate::values::convert;
use crate::values::descriptor::Descriptor;
use crate::values::spec::Kind;
use crate::values::tree::Tree;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;
use starlark::values::{
    AllocValue, FrozenValue, Heap, NoSerialize, OwnedFrozenValue, StarlarkValue, Trace, Value, ValueLike,
    starlark_value,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tidemill_model::log::Channel;

/// State of an observer, for all evaluators.
#[derive(Default)]
pub(super) struct State {
    attributes: Slot<BTreeMap<String, Tree>>,
    out: Slot<Lines>,
    err: Slot<Lines>,
    header: Slot<Lines>,
    finished: Slot<bool>,
}

/// The observer as its functions see it.
#[derive(ProvidesStaticType, NoSerialize, Allocative, Trace)]
pub(super) struct ObserverValue<'v> {
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    state: Arc<State>,
    loaded: Loaded<'v>,
    step: Value<'v>,
}

impl fmt::Debug for ObserverValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObserverValue")
    }
}

impl fmt::Display for ObserverValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log observer")
    }
}

impl<'v> AllocValue<'v> for ObserverValue<'v> {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

#[starlark_value(type = "LogLineObserver")]
impl<'v> StarlarkValue<'v> for ObserverValue<'v> {
    fn get_attr(&self, attribute: &str, heap: Heap<'v>) -> Option<Value<'v>> {
        match attribute {
            "step" => Some(self.step),
            name => self.loaded.get(name, &self.state.attributes, heap),
        }
    }

    fn set_attr(&self, attribute: &str, value: Value<'v>) -> starlark::Result<()> {
        self.loaded.set(attribute, value);
        Ok(())
    }

    fn dir_attr(&self) -> Vec<String> {
        self.state.attributes.borrow().keys().cloned().chain(["step".to_owned()]).collect()
    }
}

/// An observer of one log of a step.
#[derive(Trace, Allocative)]
pub(super) struct Registered<'v> {
    #[trace(unsafe_ignore)]
    pub log: String,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    state: Arc<State>,
    functions: Functions<'v>,
    /// In the step's evaluator.
    value: Value<'v>,
    #[trace(unsafe_ignore)]
    max: usize,
    /// A plain function takes the line alone.
    #[trace(unsafe_ignore)]
    plain: bool,
}

#[derive(Clone, Copy, Trace, Allocative)]
struct Functions<'v> {
    out: Option<Value<'v>>,
    err: Option<Value<'v>>,
    header: Option<Value<'v>>,
    finished: Option<Value<'v>>,
}

impl<'v> Functions<'v> {
    fn of(&self, channel: Channel) -> Option<Value<'v>> {
        match channel {
            Channel::Stdout => self.out,
            Channel::Stderr => self.err,
            Channel::Header => self.header,
            _ => None,
        }
    }

    /// All of them as values that outlive an evaluator; none if one is an inner function.
    fn frozen(&self) -> Option<[Option<FrozenValue>; 4]> {
        let mut all = [None; 4];
        for (place, function) in all.iter_mut().zip([self.out, self.err, self.header, self.finished]) {
            if let Some(function) = function {
                *place = Some(function.unpack_frozen()?);
            }
        }
        Some(all)
    }
}

/// `step.addLogObserver(log, observer)`; gives the live observer.
pub(super) fn register<'v>(
    step: Value<'v>,
    log: &str,
    observer: Value<'v>,
    eval: &Evaluator<'v, '_, '_>,
) -> starlark::Result<Value<'v>> {
    let owner = step_of(step)?;
    let state = Arc::<State>::default();
    let value = ObserverValue { state: state.clone(), loaded: Loaded::default(), step };
    let (functions, max, plain) = match Descriptor::from_value(observer).filter(|d| d.kind() == Kind::Observer) {
        Some(descriptor) => {
            let function = |name: &str| descriptor.arg(name).filter(|v| !v.is_none());
            for (name, initial) in &descriptor.args {
                if descriptor.spec.param(name).is_none() {
                    // A copy: one observer serves many builds.
                    value.loaded.set(name, Tree::of(*initial).alloc(eval.heap()));
                }
            }
            let max = descriptor.arg("maxLineLength").and_then(|v| convert::positive(&Tree::of(v))).flatten();
            let functions = Functions {
                out: function("outLineReceived"),
                err: function("errLineReceived"),
                header: function("headerLineReceived"),
                finished: function("finished"),
            };
            (functions, max.map_or(LINE_MAX, |n| usize::try_from(n).unwrap_or(usize::MAX)), false)
        }
        None if matches!(Tree::of(observer), Tree::Function) => {
            let functions = Functions { out: Some(observer), err: None, header: None, finished: None };
            (functions, LINE_MAX, true)
        }
        None => {
            let got = Tree::of(observer).describe();
            return Err(failure(format!("an observer is a util.LogLineObserver or a function of a line, got {got}")));
        }
    };
    let value = eval.heap().alloc(value);
    owner.facts.observed.borrow_mut().insert(log.to_owned());
    owner.observers.borrow_mut().push(Registered { log: log.to_owned(), state, functions, value, max, plain });
    Ok(value)
}

/// Gives output of a log to those who observe it.
pub(super) fn deliver<'v>(
    step: Value<'v>,
    log: &str,
    output: Output<'_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<()> {
    let owner = step_of(step)?;
    if !owner.own {
        // Its observers live in the step's own evaluator: they see it after this batch.
        return owner.facts.put_off(log, output.log, Some((output.channel, output.bytes)));
    }
    let depth = owner.facts.depth.get();
    if depth > DEPTH_MAX {
        return Err(failure("observers write to logs that they observe, without an end"));
    }
    owner.facts.depth.set(depth + 1);
    let delivered = to_each(step, log, output, eval);
    owner.facts.depth.set(depth);
    delivered
}

/// Deepest chain of observers that write to each other's logs.
const DEPTH_MAX: u32 = 8;

fn to_each<'v>(
    step: Value<'v>,
    log: &str,
    output: Output<'_>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<()> {
    let owner = step_of(step)?;
    let wanted: Vec<usize> = {
        let observers = owner.observers.borrow();
        let wants = |r: &Registered<'v>| r.log == log && r.functions.of(output.channel).is_some();
        observers.iter().enumerate().filter(|(_, r)| wants(r)).map(|(i, _)| i).collect()
    };
    for index in wanted {
        let (state, functions, value, max, plain) = {
            let observers = owner.observers.borrow();
            let r = &observers[index];
            (r.state.clone(), r.functions, r.value, r.max, r.plain)
        };
        let batch = |call: &mut dyn FnMut(&str) -> starlark::Result<()>| {
            let lines = match output.channel {
                Channel::Stdout => &state.out,
                Channel::Stderr => &state.err,
                _ => &state.header,
            };
            // Taken out meanwhile: the function may write to this log again.
            let mut cut = lines.take();
            let count = cut.feed(output.bytes, max, call);
            lines.set(cut);
            count
        };
        let function = functions.of(output.channel).expect("it was asked for");
        let count = match functions.frozen() {
            Some(_) => {
                let function = function.unpack_frozen().expect("all of them are frozen");
                apart(owner, value, function, plain, eval, batch)?
            }
            None => batch(&mut |line| {
                let line = eval.heap().alloc(line);
                let args = if plain { vec![line] } else { vec![value, line] };
                eval.eval_function(function, &args, &[]).map(|_| ())
            })?,
        };
        owner.facts.observed_lines.set(owner.facts.observed_lines.get() + count);
    }
    for pending in owner.facts.take_pending() {
        match &pending.output {
            Some((channel, bytes)) => {
                deliver(step, &pending.log, Output { log: pending.id, channel: *channel, bytes }, eval)?;
            }
            None => finish(step, &pending.log, eval)?,
        }
    }
    if owner.facts.summary_pending.get() {
        super::step::update_summary(step, eval)?;
    }
    Ok(())
}

/// Tells the observers of a log that it ended.
pub(super) fn finish<'v>(step: Value<'v>, log: &str, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<()> {
    let owner = step_of(step)?;
    if !owner.own {
        return owner.facts.put_off(log, 0, None);
    }
    let mut index = 0;
    loop {
        let next = {
            let observers = owner.observers.borrow();
            let found = observers.iter().enumerate().skip(index).find(|(_, r)| r.log == log);
            found.map(|(i, r)| (i, r.state.clone(), r.functions, r.value, r.plain))
        };
        let Some((at, state, functions, value, plain)) = next else { return Ok(()) };
        index = at + 1;
        if state.finished.replace(true) {
            continue;
        }
        for (channel, lines) in
            [(Channel::Stdout, &state.out), (Channel::Stderr, &state.err), (Channel::Header, &state.header)]
        {
            let Some(function) = functions.of(channel) else { continue };
            lines.take().finish(|line| {
                let line = eval.heap().alloc(line);
                let args = if plain { vec![line] } else { vec![value, line] };
                eval.eval_function(function, &args, &[]).map(|_| ())
            })?;
        }
        if let Some(function) = functions.finished {
            eval.eval_function(function, &[value], &[])?;
        }
    }
}

/// Runs a batch in an evaluator of its own. What the observer and the step keep
/// goes over as plain copies, and comes back.
fn apart<'v>(
    owner: &StepValue<'v>,
    observer: Value<'v>,
    function: FrozenValue,
    plain: bool,
    eval: &Evaluator<'v, '_, '_>,
    batch: impl FnOnce(&mut dyn FnMut(&str) -> starlark::Result<()>) -> starlark::Result<u64>,
) -> starlark::Result<u64> {
    let outer = running(eval)?;
    let here = observer.downcast_ref::<ObserverValue<'v>>().expect("it was made as one");
    here.loaded.keep(&here.state.attributes)?;
    owner.loaded.keep(&owner.facts.attributes)?;
    let (facts, state) = (owner.facts.clone(), here.state.clone());
    let owned = outer.owner.map(|_| function);
    let result = in_fresh(outer, facts, state, &owned, plain, batch);
    result.map_err(|e| match e {
        Failed::Language(error) => error,
        Failed::Placed(error) => failure(error),
    })
}

enum Failed {
    Language(starlark::Error),
    Placed(EvalError),
}

fn in_fresh<'h>(
    outer: &'h Running<'h>,
    facts: Shared,
    state: Arc<State>,
    function: &OwnedFrozenValue,
    plain: bool,
    batch: impl FnOnce(&mut dyn FnMut(&str) -> starlark::Result<()>) -> starlark::Result<u64>,
) -> Result<u64, Failed> {
    outer.limits.run_until(
        &outer,
        || outer.host.cancelled(),
        |eval| {
            let function = eval.heap().access_owned_frozen_value(function);
            let step = StepValue::guest(facts.clone(), eval.heap());
            let value = ObserverValue { state: state.clone(), loaded: Loaded::default(), step };
            let value = eval.heap().alloc(value);
            let mut placed = None;
            let count = batch(&mut |line| {
                let line = eval.heap().alloc(line);
                let called = if plain {
                    eval.eval_function(function, &[line], &[])
                } else {
                    eval.eval_function(function, &[value, line], &[])
                };
                called.map(|_| ()).map_err(|e| {
                    // Its place is told here: outside, the spans of this evaluator mean nothing more.
                    placed = Some(EvalError::from(e));
                    failure("an observer failed")
                })
            });
            let count = match (count, placed) {
                (_, Some(error)) => return Err(Failed::Placed(error)),
                (Err(error), None) => return Err(Failed::Language(error)),
                (Ok(count), None) => count,
            };
            let seen = value.downcast_ref::<ObserverValue<'_>>().expect("it was made as one");
            seen.loaded.keep(&seen.state.attributes).map_err(Failed::Language)?;
            let step = step_of(step).map_err(Failed::Language)?;
            step.loaded.keep(&step.facts.attributes).map_err(Failed::Language)?;
            Ok(count)
        },
    )
}

/// For a sink: the error is kept by the caller.
pub(super) fn as_host_error(facts: &Shared) -> HostError {
    facts.ended.borrow().clone().unwrap_or(HostError::Function)
}
