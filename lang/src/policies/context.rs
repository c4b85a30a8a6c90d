//! `ctx` of custom schedulers, pollers and latent workers: what they see, and what they leave.

use super::announce::FIELDS;
use super::host::{HttpRequest, PollCommand, PollHost};
use super::values::{Master, asking};
use crate::values::alloc::json;
use crate::values::convert;
use crate::values::tree::Tree;
use crate::values::views;
use allocative::Allocative;
use serde::Serialize;
use serde_json::Value as Json;
use starlark::any::ProvidesStaticType;
use starlark::collections::SmallMap;
use starlark::environment::{Methods, MethodsBuilder};
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::dict::AllocDict;
use starlark::values::float::UnpackFloat;
use starlark::values::none::NoneType;
use starlark::values::structs::AllocStruct;
use starlark::values::{AllocValue, Heap, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value};
use std::cell::{Cell, RefCell};
use std::fmt;

/// Most buildsets or changes of one call.
const OUTPUT_MAX: usize = 1000;
/// Most bytes of the state as JSON.
const STATE_MAX: usize = 1 << 20;

#[derive(ProvidesStaticType, NoSerialize, Allocative, Trace)]
pub(super) struct Context<'v> {
    /// A dict that the function may change.
    state: Value<'v>,
    /// What it may read, by name.
    facts: SmallMap<String, Value<'v>>,
    /// What it asked for: arguments of `addBuildset` or `addChange`.
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    made: RefCell<Vec<Vec<(String, Tree)>>>,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    wake: Cell<Option<f64>>,
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    role: Role,
}

/// Whose function it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Scheduler,
    Poller,
    LatentWorker,
}

impl Role {
    const fn plural(self) -> &'static str {
        match self {
            Role::Scheduler => "schedulers",
            Role::Poller => "pollers",
            Role::LatentWorker => "latent workers",
        }
    }
}

/// Who may reach outside.
const OUTSIDE: &[Role] = &[Role::Poller, Role::LatentWorker];

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl fmt::Display for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ctx")
    }
}

impl<'v> AllocValue<'v> for Context<'v> {
    fn alloc_value(self, heap: Heap<'v>) -> Value<'v> {
        heap.alloc_complex_no_freeze(self)
    }
}

/// What every context has: the time, the name of whom it is for, and the values that the file gives.
pub(super) fn facts<'v>(
    now_us: i64,
    name: &str,
    attrs: &impl Serialize,
    heap: Heap<'v>,
) -> SmallMap<String, Value<'v>> {
    let attrs = serde_json::to_value(attrs).unwrap_or_default();
    [("now", heap.alloc(now_us as f64 / 1e6)), ("name", heap.alloc(name)), ("attrs", views::attributes(&attrs, heap))]
        .map(|(fact, value)| (fact.to_owned(), value))
        .into_iter()
        .collect()
}

/// What a function left.
pub(super) struct Left {
    pub state: Json,
    pub made: Vec<Vec<(String, Tree)>>,
    pub wake_at_us: Option<i64>,
}

impl<'v> Context<'v> {
    pub fn alloc(state: &Json, facts: SmallMap<String, Value<'v>>, role: Role, heap: Heap<'v>) -> Value<'v> {
        let state = match state {
            Json::Null => heap.alloc(AllocDict(std::iter::empty::<(&str, Value<'v>)>())),
            other => json(other, heap),
        };
        let mut facts = facts;
        facts.insert("master".to_owned(), heap.alloc(Master));
        heap.alloc(Context { state, facts, made: RefCell::default(), wake: Cell::new(None), role })
    }

    /// Reads it back after the call.
    pub fn left(value: Value<'v>) -> Result<Left, String> {
        let context = value.downcast_ref::<Context<'v>>().expect("the first argument is the context");
        let tree = Tree::of(context.state);
        let state = tree.to_json().ok_or_else(|| {
            format!("`ctx.state` must hold texts, numbers, bools, None, lists and dicts, got {}", tree.describe())
        })?;
        if state.to_string().len() > STATE_MAX {
            return Err(format!("`ctx.state` is larger than {} KiB", STATE_MAX >> 10));
        }
        let wake_at_us = context.wake.get().map(|s| (s * 1e6) as i64);
        Ok(Left { state, made: context.made.take(), wake_at_us })
    }
}

#[starlark_value(type = "ctx")]
impl<'v> StarlarkValue<'v> for Context<'v> {
    fn get_methods() -> Option<&'static Methods> {
        Some(CONTEXT_METHODS.methods())
    }

    fn get_attr(&self, attribute: &str, _heap: Heap<'v>) -> Option<Value<'v>> {
        match attribute {
            "state" => Some(self.state),
            name => self.facts.get(name).copied(),
        }
    }

    fn dir_attr(&self) -> Vec<String> {
        self.facts.keys().cloned().chain(["state".to_owned()]).collect()
    }
}

fn failure(text: impl fmt::Display) -> starlark::Error {
    starlark::Error::new_other(anyhow::anyhow!("{text}"))
}

fn context_of<'v>(value: Value<'v>, roles: &[Role], what: &str) -> starlark::Result<&'v Context<'v>> {
    let context = value.downcast_ref::<Context<'v>>().ok_or_else(|| failure("this is no context"))?;
    match roles.contains(&context.role) {
        true => Ok(context),
        false => {
            let who: Vec<_> = roles.iter().map(|r| r.plural()).collect();
            Err(failure(format!("`{what}` is for {}", who.join(" and "))))
        }
    }
}

fn keep<'v>(
    this: Value<'v>,
    role: Role,
    what: &str,
    known: &[&str],
    args: SmallMap<String, Value<'v>>,
) -> starlark::Result<NoneType> {
    let context = context_of(this, &[role], what)?;
    for name in args.keys() {
        if !known.contains(&name.as_str()) {
            let hint = crate::names::hint(name, known, "it takes");
            return Err(failure(format!("{what} has no argument `{name}`; {hint}")));
        }
    }
    let mut made = context.made.borrow_mut();
    if made.len() >= OUTPUT_MAX {
        return Err(failure(format!("{what} was called more than {OUTPUT_MAX} times")));
    }
    made.push(args.into_iter().map(|(name, value)| (name, read(value))).collect());
    Ok(NoneType)
}

/// Changes go by their number, source stamps as dicts.
fn read(value: Value<'_>) -> Tree {
    use starlark::values::structs::StructRef;
    let view = |v: Value<'_>| {
        let fields = StructRef::from_value(v)?;
        let number = fields.iter().find(|(f, _)| f.as_str() == "number").and_then(|(_, n)| Tree::simple(n));
        number.or_else(|| {
            let copied = fields.iter().map(|(f, v)| (Tree::Text(f.as_str().to_owned()), Tree::of(v)));
            fields.iter().any(|(f, _)| f.as_str() == "codebase").then(|| Tree::Dict(copied.collect()))
        })
    };
    match crate::values::tree::items(value) {
        Some(items) => Tree::List(items.iter().map(|v| view(*v).unwrap_or_else(|| Tree::of(*v))).collect()),
        None => view(value).unwrap_or_else(|| Tree::of(value)),
    }
}

const BUILDSET: [&str; 6] = ["builderNames", "changes", "sourcestamps", "properties", "reason", "priority"];
/// The way outside.
fn outside<'e>(eval: &Evaluator<'_, '_, 'e>) -> starlark::Result<&'e dyn PollHost> {
    let host = asking(eval).and_then(|a| a.outside);
    host.ok_or_else(|| failure("this can be done only while a poll or a function of a latent worker runs"))
}

#[starlark_module]
fn context_methods(builder: &mut MethodsBuilder) {
    /// Makes a buildset; for schedulers.
    fn addBuildset<'v>(
        this: Value<'v>,
        #[starlark(kwargs)] args: SmallMap<String, Value<'v>>,
    ) -> starlark::Result<NoneType> {
        keep(this, Role::Scheduler, "addBuildset", &BUILDSET, args)
    }

    /// Asks to be called again at a time, in seconds since 1970; for schedulers.
    fn wakeAt<'v>(this: Value<'v>, #[starlark(require = pos)] seconds: UnpackFloat) -> starlark::Result<NoneType> {
        context_of(this, &[Role::Scheduler], "wakeAt")?.wake.set(Some(seconds.0));
        Ok(NoneType)
    }

    /// Announces a change; for pollers.
    fn addChange<'v>(
        this: Value<'v>,
        #[starlark(kwargs)] args: SmallMap<String, Value<'v>>,
    ) -> starlark::Result<NoneType> {
        keep(this, Role::Poller, "addChange", &FIELDS, args)
    }

    /// Asks an address; for pollers and latent workers. The reply has `status`, `headers`, `body`, and `data`: what the body says as JSON, or `None`.
    fn http<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] url: &str,
        #[starlark(default = "GET")] method: &str,
        headers: Option<Value<'v>>,
        #[starlark(default = "")] body: &str,
        #[starlark(default = 30)] timeout: i32,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        context_of(this, OUTSIDE, "http")?;
        let headers = match headers.map(Tree::of) {
            None | Some(Tree::None) => vec![],
            Some(Tree::Dict(entries)) => {
                let pairs = entries.iter().map(|(k, v)| Some((convert::text(k)?, convert::text(v)?)));
                pairs.collect::<Option<Vec<_>>>().ok_or_else(|| failure("headers are texts by name"))?
            }
            Some(other) => return Err(failure(format!("headers are a dict, got {}", other.describe()))),
        };
        let request = HttpRequest {
            method: method.to_uppercase(),
            url: url.to_owned(),
            headers,
            body: body.to_owned(),
            timeout_us: u64::from(timeout.clamp(1, 600).unsigned_abs()) * 1_000_000,
        };
        let reply = outside(eval)?.http(&request).map_err(failure)?;
        let heap = eval.heap();
        let headers = heap.alloc(AllocDict(reply.headers.iter().map(|(k, v)| (k.to_lowercase(), v.as_str()))));
        let parsed = serde_json::from_str::<Json>(&reply.body).ok();
        Ok(heap.alloc(AllocStruct([
            ("status", heap.alloc(i32::from(reply.status))),
            ("headers", headers),
            ("body", heap.alloc(reply.body.as_str())),
            ("data", parsed.map_or(Value::new_none(), |p| json(&p, heap))),
        ])))
    }

    /// Runs a program on the master, without a shell; for pollers and latent workers. The reply has `rc`, `stdout` and `stderr`.
    fn command<'v>(
        this: Value<'v>,
        #[starlark(require = pos)] argv: Value<'v>,
        #[starlark(default = "")] stdin: &str,
        #[starlark(default = 60)] timeout: i32,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        context_of(this, OUTSIDE, "command")?;
        let argv = convert::texts(&Tree::of(argv)).filter(|a| !a.is_empty());
        let argv = argv.ok_or_else(|| failure("a command is a list of a program and its arguments"))?;
        let timeout_us = u64::from(timeout.clamp(1, 600).unsigned_abs()) * 1_000_000;
        let command = PollCommand { argv, stdin: stdin.to_owned(), timeout_us };
        let end = outside(eval)?.command(&command).map_err(failure)?;
        let heap = eval.heap();
        Ok(heap.alloc(AllocStruct([
            ("rc", heap.alloc(end.rc)),
            ("stdout", heap.alloc(end.stdout.as_str())),
            ("stderr", heap.alloc(end.stderr.as_str())),
        ])))
    }
}

starlark::methods_static!(CONTEXT_METHODS = context_methods);

/// For the reference.
pub(super) fn methods() -> &'static Methods {
    CONTEXT_METHODS.methods()
}
