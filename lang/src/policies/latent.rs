//! Latent workers of the project's own (C-34 to C-37): functions that start,
//! stop and look after the machine of a `worker.CustomLatentWorker`.
//!
//! Whatever happens, the caller gets the state that the function left, and is to
//! store it: a function that started a machine and failed after it has written
//! down which one. As in Buildbot, the caller stops what failed to start. Masters of this release call none
//! of these.

use super::call::{Asking, Function};
use super::context::{self, Context, Role};
use super::host::PollHost;
use super::poll::limits;
use super::{Policies, unknown};
use crate::host::diagnostics::EvalError;
use crate::plan::BuildContext;
use crate::values::tree::Tree;
use crate::values::views::{BuildView, Side};
use serde_json::Value as Json;
use starlark::values::Value;
use std::cell::Cell;
use std::sync::Arc;

/// Most texts that `start_instance` may say of what it started, and characters
/// of each; more are cut off, for the machine runs already.
const NOTES_MAX: usize = 20;
const NOTE_MAX: usize = 200;

/// What a function of a latent worker is asked with.
#[derive(Clone, Debug, Default)]
pub struct LatentInput {
    pub now_us: i64,
    /// What the worker's functions left the last time; null at first.
    pub state: Json,
    /// The build that the worker is wanted for; none for stopping and checking.
    pub build: Option<BuildContext>,
}

/// What came of it, and the state to be stored, also after an error.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentOutput<T> {
    pub result: Result<T, EvalError>,
    pub state: Json,
}

/// What `start_instance` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// Not now: try again later.
    No,
    /// With short texts for people, such as the name of the instance (C-35).
    Yes(Vec<String>),
}

/// What `check_instance` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub good: bool,
    /// For people; may be empty.
    pub message: String,
}

impl Policies<'_> {
    /// Starts the machine of a `worker.CustomLatentWorker`; the worker on it then
    /// connects by itself. Blocks as long as its host does, 9 minutes at most.
    pub fn start_instance(&self, worker: &str, input: LatentInput, host: &dyn PollHost) -> LatentOutput<Started> {
        match self.worker(worker).and_then(|w| w.start_instance.as_ref()) {
            Some(function) => self.latent(worker, function, None, input, host, started),
            None => absent(worker, input),
        }
    }

    /// Stops it. `fast`: the master ends, so only what cannot wait is to be done.
    /// What the function returns is ignored.
    pub fn stop_instance(&self, worker: &str, fast: bool, input: LatentInput, host: &dyn PollHost) -> LatentOutput<()> {
        match self.worker(worker).and_then(|w| w.stop_instance.as_ref()) {
            Some(function) => self.latent(worker, function, Some(fast), input, host, |_, _| Ok(())),
            None => absent(worker, input),
        }
    }

    /// Whether the machine still lives, while its worker has not connected; good
    /// where the worker has no `check_instance`.
    pub fn check_instance(&self, worker: &str, input: LatentInput, host: &dyn PollHost) -> LatentOutput<Checked> {
        let Some(found) = self.worker(worker).filter(|w| w.start_instance.is_some()) else {
            return absent(worker, input);
        };
        match &found.check_instance {
            Some(function) => self.latent(worker, function, None, input, host, checked),
            None => LatentOutput { result: Ok(Checked { good: true, message: String::new() }), state: input.state },
        }
    }

    fn latent<T>(
        &self,
        worker: &str,
        function: &Function,
        fast: Option<bool>,
        input: LatentInput,
        host: &dyn PollHost,
        read: impl for<'v> FnOnce(&Function, Value<'v>) -> Result<T, String>,
    ) -> LatentOutput<T> {
        let declared = self.definition().workers.iter().find(|w| w.name == worker).and_then(|w| w.latent.as_ref());
        let attrs = declared.and_then(|d| d.args.get("attrs")).cloned().unwrap_or_default();
        let LatentInput { now_us, state, build } = input;
        let build = build.map(Arc::new);
        let asking = Asking { host, outside: Some(host), asked: Cell::new(0) };
        function.call_through(
            &limits(),
            &asking,
            |eval| {
                let heap = eval.heap();
                let build = build.map(|context| heap.alloc(BuildView { context, side: Side::Build }));
                let mut facts = context::facts(now_us, worker, &attrs, heap);
                facts.insert("build".to_owned(), build.unwrap_or(Value::new_none()));
                let context = Context::alloc(&state, facts, Role::LatentWorker, heap);
                [Some(context), fast.map(Value::new_bool)].into_iter().flatten().collect()
            },
            |answer, args| {
                let result = answer.and_then(|value| read(function, value).map_err(|why| function.error(why)));
                match Context::left(args[0]) {
                    Ok(left) => LatentOutput { result, state: left.state },
                    Err(why) => LatentOutput { result: result.and(Err(function.error(why))), state: state.clone() },
                }
            },
        )
    }
}

fn absent<T>(worker: &str, input: LatentInput) -> LatentOutput<T> {
    LatentOutput { result: Err(unknown("latent worker of its own", worker)), state: input.state }
}

/// None is a success, as in Buildbot.
fn started(function: &Function, answer: Value<'_>) -> Result<Started, String> {
    let wrong = || function.wrong("True, False, None, a text or a list of texts", answer);
    let note = |text: &str| text.chars().take(NOTE_MAX).collect::<String>();
    match Tree::of(answer) {
        Tree::Bool(false) => Ok(Started::No),
        Tree::Bool(true) | Tree::None => Ok(Started::Yes(vec![])),
        Tree::Text(text) => Ok(Started::Yes(vec![note(&text)])),
        Tree::List(items) => {
            let texts = items.iter().take(NOTES_MAX).map(|item| match item {
                Tree::Text(text) => Ok(note(text)),
                _ => Err(wrong()),
            });
            texts.collect::<Result<_, _>>().map(Started::Yes)
        }
        _ => Err(wrong()),
    }
}

fn checked(function: &Function, answer: Value<'_>) -> Result<Checked, String> {
    let wrong = || function.wrong("True, False, or a pair (True or False, text)", answer);
    match Tree::of(answer) {
        Tree::Bool(good) => Ok(Checked { good, message: String::new() }),
        Tree::List(pair) => match pair.as_slice() {
            [Tree::Bool(good), Tree::Text(text)] => Ok(Checked { good: *good, message: text.clone() }),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}
