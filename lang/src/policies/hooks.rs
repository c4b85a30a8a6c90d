//! Hooks of the project's own (WH-08), and codebases by a function of the payload.

use super::announce::{self, FIELDS};
use super::call::Function;
use super::host::NoHost;
use super::{Policies, unknown};
use crate::host::diagnostics::EvalError;
use crate::host::limits::Limits;
use crate::values::alloc::json;
use crate::values::convert::{optional_text, text};
use crate::values::tree::Tree;
use crate::values::views;
use serde_json::Value as Json;
use starlark::values::Value;
use starlark::values::dict::AllocDict;
use starlark::values::structs::AllocStruct;
use std::collections::BTreeMap;
use std::time::Duration;
use tidemill_model::NewChange;

/// Functions of one dialect.
#[derive(Default)]
pub(crate) struct HookRules {
    pub function: Option<Function>,
    pub codebase: Option<Function>,
}

/// A request as a custom dialect's function gets it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HookInput {
    /// Names are in small letters.
    pub headers: BTreeMap<String, String>,
    /// Of the address; the last of one name.
    pub args: BTreeMap<String, String>,
    pub body: String,
    /// The body as JSON, or the fields of a form; null for any other.
    pub data: Json,
    pub attrs: BTreeMap<String, Json>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum HookOutput {
    Changes(Vec<NewChange>),
    /// No change, for this reason; empty where it gave none.
    Ignored(String),
}

/// The field that makes a change an outsider's: beside those of any change.
const OUTSIDER: &str = "outsider";

/// More than for other policies: a payload of megabytes is a value.
fn limits() -> Limits {
    Limits { ticks: 5_000_000, heap_bytes: 256 << 20, time: Duration::from_secs(3), ..Limits::policy() }
}

impl Policies<'_> {
    /// Asks a custom dialect what changes a request announces.
    pub fn hook(&self, name: &str, input: &HookInput) -> Result<HookOutput, EvalError> {
        let Some(function) = self.global().hooks.get(name).and_then(|h| h.function.as_ref()) else {
            return Err(unknown("custom hook", name));
        };
        function.call(
            &limits(),
            &NoHost,
            |eval| {
                let heap = eval.heap();
                let dict = |map: &BTreeMap<String, String>| {
                    heap.alloc(AllocDict(map.iter().map(|(k, v)| (k.as_str(), v.as_str()))))
                };
                let attrs = serde_json::to_value(&input.attrs).unwrap_or_default();
                vec![heap.alloc(AllocStruct([
                    ("dialect", heap.alloc(name)),
                    ("headers", dict(&input.headers)),
                    ("args", dict(&input.args)),
                    ("body", heap.alloc(input.body.as_str())),
                    ("data", json(&input.data, heap)),
                    ("attrs", views::attributes(&attrs, heap)),
                ]))]
            },
            |answer, _| read(function, answer),
        )
    }

    /// The codebase of what a payload announces; none where the function says None.
    pub fn hook_codebase(&self, name: &str, payload: &Json) -> Result<Option<String>, EvalError> {
        let Some(function) = self.global().hooks.get(name).and_then(|h| h.codebase.as_ref()) else { return Ok(None) };
        function.call(
            &limits(),
            &NoHost,
            |eval| vec![json(payload, eval.heap())],
            |answer, _| {
                optional_text(&Tree::of(answer)).ok_or_else(|| function.wrong("the name of a codebase", answer))
            },
        )
    }
}

fn read(function: &Function, answer: Value<'_>) -> Result<HookOutput, String> {
    match Tree::of(answer) {
        Tree::None => Ok(HookOutput::Ignored(String::new())),
        Tree::Text(why) => Ok(HookOutput::Ignored(why)),
        Tree::List(items) => Ok(HookOutput::Changes(items.into_iter().map(change).collect::<Result<_, _>>()?)),
        _ => Err(function.wrong("a list of dicts, one for each change, or None", answer)),
    }
}

fn change(tree: Tree) -> Result<NewChange, String> {
    let Tree::Dict(entries) = tree else { return Err(format!("a change is a dict, not {}", tree.describe())) };
    let mut outsider = None;
    let mut args = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key =
            text(&key).ok_or_else(|| format!("the name of a field of a change is no text: {}", key.describe()))?;
        let key = if key == "when_timestamp" { "when".to_owned() } else { key };
        if !FIELDS.contains(&key.as_str()) && key != OUTSIDER {
            let known: Vec<&str> = FIELDS.into_iter().chain([OUTSIDER]).collect();
            let hint = crate::names::hint(&key, &known, "there are");
            return Err(format!("a change has no field `{key}`; {hint}"));
        }
        if key == OUTSIDER {
            outsider = match &value {
                Tree::Bool(false) => None,
                Tree::Bool(true) => Some("the hook's function says so".to_owned()),
                other => optional_text(other)
                    .ok_or_else(|| format!("`outsider` of a change cannot be {}", other.describe()))?,
            };
            continue;
        }
        args.push((key, value));
    }
    announce::change(NewChange { outsider, ..NewChange::default() }, args, "a change")
}
