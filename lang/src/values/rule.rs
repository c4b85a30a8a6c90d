//! What `util.BuildStep` returns: a kind of step, called to make steps (C-45).

use super::descriptor::Descriptor;
use super::spec::{Kind, Spec};
use super::tree::{self, Tree};
use crate::host::stack::nested;
use crate::vocabulary;
use allocative::Allocative;
use starlark::any::ProvidesStaticType;
use starlark::coerce::Coerce;
use starlark::collections::SmallMap;
use starlark::eval::{Arguments, Evaluator};
use starlark::starlark_complex_value;
use starlark::values::{
    Freeze, FreezeResult, Freezer, NoSerialize, StarlarkValue, Trace, Value, ValueLike, starlark_value,
};
use std::fmt;
use std::sync::OnceLock;

#[derive(Debug, Trace, Coerce, ProvidesStaticType, NoSerialize, Allocative)]
#[repr(C)]
pub(crate) struct RuleGen<V> {
    /// The vocabulary's step whose arguments it takes.
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub spec: &'static Spec,
    /// Given, or that of the variable that it is assigned to.
    #[allocative(skip)]
    #[trace(unsafe_ignore)]
    pub name: OnceLock<String>,
    /// `implementation`, `base` (the custom step that it builds on), `getCurrentSummary`,
    /// `getResultSummary`, as far as given.
    pub parts: SmallMap<String, V>,
    /// Its own arguments and those of its base: `util.attr` values, or plain defaults.
    pub attrs: SmallMap<String, V>,
    /// Other defaults for arguments of the vocabulary's step.
    pub defaults: SmallMap<String, V>,
    /// By the name of the log.
    pub observers: SmallMap<String, V>,
    #[trace(unsafe_ignore)]
    pub prohibited: Vec<String>,
    #[trace(unsafe_ignore)]
    pub metrics: Vec<String>,
    #[trace(unsafe_ignore)]
    pub doc: String,
}

starlark_complex_value!(pub(crate) Rule);

impl<V> fmt::Display for RuleGen<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.get().map_or("custom step", String::as_str))
    }
}

#[starlark_value(type = "custom_step")]
impl<'v, V: ValueLike<'v>> StarlarkValue<'v> for RuleGen<V>
where
    Self: ProvidesStaticType<'v>,
{
    fn name_for_call_stack(&self, _me: Value<'v>) -> String {
        self.to_string()
    }

    fn export_as(&self, variable_name: &str, _eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<()> {
        let _ = self.name.set(variable_name.to_owned());
        Ok(())
    }

    fn invoke(
        &self,
        me: Value<'v>,
        args: &Arguments<'v, '_>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        vocabulary::custom_step(me, args, eval)
    }
}

impl<'v> Freeze for Rule<'v> {
    type Frozen = FrozenRule;

    fn freeze(self, freezer: &Freezer) -> FreezeResult<FrozenRule> {
        let map = |map: SmallMap<String, Value<'v>>| {
            map.into_iter().map(|(k, v)| Ok((k, v.freeze(freezer)?))).collect::<FreezeResult<SmallMap<_, _>>>()
        };
        nested(|| {
            Ok(RuleGen {
                spec: self.spec,
                name: self.name,
                parts: map(self.parts)?,
                attrs: map(self.attrs)?,
                defaults: map(self.defaults)?,
                observers: map(self.observers)?,
                prohibited: self.prohibited,
                metrics: self.metrics,
                doc: self.doc,
            })
        })
    }
}

impl<'v> Rule<'v> {
    pub fn called(&self) -> String {
        self.to_string()
    }

    /// One of `parts`.
    pub fn part(&self, name: &str) -> Option<Value<'v>> {
        self.parts.get(name).copied()
    }

    /// Whether its work is a function, of its own or of what it builds on.
    pub fn has_function(&self) -> bool {
        self.part("implementation").is_some()
            || self.part("base").and_then(Rule::from_value).is_some_and(Rule::has_function)
    }

    /// What an own argument takes.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'v>> {
        self.attrs.get(name).map(|v| Attribute::of(*v))
    }

    /// Names to offer to people.
    pub fn names(&self) -> Vec<String> {
        let refused = |n: &&str| !self.prohibited.iter().any(|p| p == n);
        self.attrs.keys().cloned().chain(self.spec.names().filter(refused).map(str::to_owned)).collect()
    }
}

/// An argument of a custom step.
pub(crate) struct Attribute<'v> {
    pub types: Vec<String>,
    pub default: Option<Value<'v>>,
    pub required: bool,
    pub doc: String,
}

impl<'v> Attribute<'v> {
    /// From a `util.attr`, or from a plain default.
    pub fn of(value: Value<'v>) -> Attribute<'v> {
        let Some(descriptor) = Descriptor::from_value(value).filter(|d| d.kind() == Kind::Attribute) else {
            return Attribute { types: vec![], default: Some(value), required: false, doc: String::new() };
        };
        let types = descriptor.arg("type").map(types).unwrap_or_default();
        let default = descriptor.arg("default");
        let required = descriptor.arg("required").and_then(|v| v.unpack_bool()).unwrap_or(true) && default.is_none();
        let doc = descriptor.arg("doc").and_then(|v| v.unpack_str()).unwrap_or_default().to_owned();
        Attribute { types, default, required, doc }
    }

    /// Why the value is not of its type.
    pub fn mismatch(&self, tree: &Tree) -> Option<String> {
        let name = match tree {
            Tree::Bool(_) => "bool",
            Tree::Int(_) => "int",
            Tree::Float(_) => "float",
            Tree::Text(_) => "string",
            Tree::List(_) => "list",
            Tree::Dict(_) => "dict",
            Tree::Function => "function",
            _ => return None,
        };
        let fits = |t: &String| t == name || (t == "float" && name == "int");
        if self.types.is_empty() || self.types.iter().any(fits) {
            return None;
        }
        let article = |t: &String| format!("{} {t}", if t == "int" { "an" } else { "a" });
        let expected = self.types.iter().map(article).collect::<Vec<_>>().join(" or ");
        Some(format!("must be {expected}, got {}", tree.describe()))
    }
}

/// `str`, `int`, … as functions of the language, or as texts; or a list of them.
fn types(value: Value<'_>) -> Vec<String> {
    if let Some(items) = tree::items(value) {
        return items.iter().flat_map(|v| types(*v)).collect();
    }
    let name = match value.unpack_str() {
        Some(text) => text.to_owned(),
        None => value.to_str(),
    };
    let known = ["bool", "int", "float", "string", "list", "dict", "function"];
    let name = match name.as_str() {
        "str" => "string",
        "tuple" => "list",
        "callable" => "function",
        other => known.iter().find(|k| **k == other).copied().unwrap_or_default(),
    };
    if name.is_empty() { vec![] } else { vec![name.to_owned()] }
}
