//! A plain copy of a Starlark value, of bounded size.
//!
//! A list may hold itself, and a few lines make a value with more paths than
//! atoms: [`Tree::of`] stops at a depth and a number of nodes.

use super::descriptor::Descriptor;
use super::factory;
use super::placeholder::Placeholder;
use super::rule::Rule;
use super::spec::Spec;
use crate::vocabulary::{self, later::Broken};
use serde_json::Value as Json;
use starlark::values::dict::DictRef;
use starlark::values::list::ListRef;
use starlark::values::tuple::TupleRef;
use starlark::values::{UnpackValue, Value, ValueLike};
use std::fmt::Write;

pub(crate) const DEPTH_MAX: usize = 64;
pub(crate) const NODES_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// A list or tuple.
    List(Vec<Tree>),
    Dict(Vec<(Tree, Tree)>),
    /// Stands for a value that only a build has. Reads as any text.
    Placeholder,
    Function,
    Factory,
    /// A kind of step: a constructor, or a custom step.
    StepKind,
    Descriptor(&'static Spec),
    /// An error about it was already reported.
    Broken,
    /// Any other value, by its type.
    Other(String),
    TooLarge,
}

impl Tree {
    pub fn of(value: Value<'_>) -> Tree {
        Tree::copy(value, 0, &mut 0)
    }

    fn copy(value: Value<'_>, depth: usize, nodes: &mut usize) -> Tree {
        *nodes += 1;
        if depth > DEPTH_MAX || *nodes > NODES_MAX {
            return Tree::TooLarge;
        }
        if let Some(simple) = Tree::simple(value) {
            return simple;
        }
        if let Some(items) = items(value) {
            return Tree::List(items.iter().map(|v| Tree::copy(*v, depth + 1, nodes)).collect());
        }
        if let Some(dict) = DictRef::from_value(value) {
            let entry = |(k, v)| (Tree::copy(k, depth + 1, nodes), Tree::copy(v, depth + 1, nodes));
            return Tree::Dict(dict.iter().map(entry).collect());
        }
        if let Some(descriptor) = Descriptor::from_value(value) {
            return Tree::Descriptor(descriptor.spec);
        }
        match value.get_type() {
            _ if Placeholder::from_value(value).is_some() => Tree::Placeholder,
            _ if factory::is_factory(value) => Tree::Factory,
            _ if value.downcast_ref::<Broken>().is_some() => Tree::Broken,
            _ if Rule::from_value(value).is_some() || vocabulary::is_step_kind(value) => Tree::StepKind,
            name if name.contains("function") || name == "partial" => Tree::Function,
            name => Tree::Other(name.to_owned()),
        }
    }

    /// What has no parts.
    pub fn simple(value: Value<'_>) -> Option<Tree> {
        if value.is_none() {
            Some(Tree::None)
        } else if let Some(b) = value.unpack_bool() {
            Some(Tree::Bool(b))
        } else if let Some(s) = value.unpack_str() {
            Some(Tree::Text(s.to_owned()))
        } else if let Ok(Some(i)) = i64::unpack_value(value) {
            Some(Tree::Int(i))
        } else if value.get_type() == "float" {
            let float = starlark::values::float::UnpackFloat::unpack_value(value).ok().flatten()?;
            Some(Tree::Float(float.0))
        } else {
            None
        }
    }

    /// Whether any part of it is a [`Tree::Placeholder`].
    pub fn has_placeholder(&self) -> bool {
        self.any(&|t| matches!(t, Tree::Placeholder))
    }

    /// Whether it holds nothing but texts, numbers, bools, None, lists and dicts.
    pub fn is_plain(&self) -> bool {
        !self.any(&|t| {
            matches!(
                t,
                Tree::Placeholder
                    | Tree::Function
                    | Tree::Factory
                    | Tree::StepKind
                    | Tree::Descriptor(_)
                    | Tree::Broken
                    | Tree::Other(_)
                    | Tree::TooLarge
            )
        })
    }

    pub fn has_broken(&self) -> bool {
        self.any(&|t| matches!(t, Tree::Broken))
    }

    pub fn too_large(&self) -> bool {
        self.any(&|t| matches!(t, Tree::TooLarge))
    }

    fn any(&self, test: &dyn Fn(&Tree) -> bool) -> bool {
        test(self)
            || match self {
                Tree::List(items) => items.iter().any(|t| t.any(test)),
                Tree::Dict(entries) => entries.iter().any(|(k, v)| k.any(test) || v.any(test)),
                _ => false,
            }
    }

    /// Python's truth.
    pub fn truth(&self) -> bool {
        match self {
            Tree::None => false,
            Tree::Bool(b) => *b,
            Tree::Int(i) => *i != 0,
            Tree::Float(f) => *f != 0.0,
            Tree::Text(s) => !s.is_empty(),
            Tree::List(items) => !items.is_empty(),
            Tree::Dict(entries) => !entries.is_empty(),
            _ => true,
        }
    }

    /// As a property's value. `None` where JSON has no such value.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Tree::None => Json::Null,
            Tree::Bool(b) => Json::from(*b),
            Tree::Int(i) => Json::from(*i),
            Tree::Float(f) => Json::Number(serde_json::Number::from_f64(*f)?),
            Tree::Text(s) => Json::from(s.as_str()),
            Tree::List(items) => Json::Array(items.iter().map(Tree::to_json).collect::<Option<_>>()?),
            Tree::Dict(entries) => {
                let entry = |(k, v): &(Tree, Tree)| match k {
                    Tree::Text(k) => Some((k.clone(), v.to_json()?)),
                    _ => None,
                };
                Json::Object(entries.iter().map(entry).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    /// From a property's value. Numbers beyond 64 bits become floats.
    pub fn from_json(json: &Json) -> Tree {
        match json {
            Json::Null => Tree::None,
            Json::Bool(b) => Tree::Bool(*b),
            Json::Number(n) => match n.as_i64() {
                Some(i) => Tree::Int(i),
                None => Tree::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Tree::Text(s.clone()),
            Json::Array(items) => Tree::List(items.iter().map(Tree::from_json).collect()),
            Json::Object(map) => {
                Tree::Dict(map.iter().map(|(k, v)| (Tree::Text(k.clone()), Tree::from_json(v))).collect())
            }
        }
    }

    /// The text that `%s` puts in: a string as it is, nothing for `None`, else as
    /// Python writes it. `None` for what is no plain value.
    pub fn interpolated(&self) -> Option<String> {
        match self {
            Tree::None => Some(String::new()),
            Tree::Text(s) => Some(s.clone()),
            other => other.to_json().map(|_| other.repr(usize::MAX)),
        }
    }

    /// As `print` shows it.
    pub fn printed(&self) -> String {
        match self {
            Tree::Text(s) => s.clone(),
            other => other.repr(2000),
        }
    }

    /// As Python writes it, cut after about `max` bytes.
    pub fn repr(&self, max: usize) -> String {
        let mut out = String::new();
        self.write_repr(&mut out, max);
        out
    }

    fn write_repr(&self, out: &mut String, max: usize) {
        if out.len() > max {
            if !out.ends_with('…') {
                out.push('…');
            }
            return;
        }
        // Writing to a String does not fail.
        let _ = match self {
            Tree::None => write!(out, "None"),
            Tree::Bool(b) => write!(out, "{}", if *b { "True" } else { "False" }),
            Tree::Int(i) => write!(out, "{i}"),
            Tree::Float(x) => write!(out, "{x:?}"),
            Tree::Text(s) if s.len() > max => {
                write!(out, "{}…", quoted(&s.chars().take(max).collect::<String>()))
            }
            Tree::Text(s) => write!(out, "{}", quoted(s)),
            Tree::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    item.write_repr(out, max);
                    if out.len() > max {
                        break;
                    }
                }
                write!(out, "]")
            }
            Tree::Dict(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    key.write_repr(out, max);
                    out.push_str(": ");
                    value.write_repr(out, max);
                    if out.len() > max {
                        break;
                    }
                }
                write!(out, "}}")
            }
            other => write!(out, "<{}>", other.kind()),
        };
    }

    /// What it is, in a few words.
    fn kind(&self) -> String {
        match self {
            Tree::None => "None".into(),
            Tree::Bool(_) => "a bool".into(),
            Tree::Int(_) => "an int".into(),
            Tree::Float(_) => "a float".into(),
            Tree::Text(_) => "a string".into(),
            Tree::List(_) => "a list".into(),
            Tree::Dict(_) => "a dict".into(),
            Tree::Placeholder => "a placeholder".into(),
            Tree::Function => "a function".into(),
            Tree::Factory => "a util.BuildFactory".into(),
            Tree::StepKind => "a kind of step".into(),
            Tree::Descriptor(spec) => format!("a {}", spec.name),
            Tree::Broken => "a value that could not be made".into(),
            Tree::Other(name) => format!("a value of type {name}"),
            Tree::TooLarge => "a value that is too large or holds itself".into(),
        }
    }

    /// For «got …»: kind and value.
    pub fn describe(&self) -> String {
        if self.too_large() {
            return Tree::TooLarge.kind();
        }
        match self {
            Tree::Bool(_) | Tree::Int(_) | Tree::Float(_) | Tree::Text(_) | Tree::List(_) | Tree::Dict(_) => {
                format!("{} {}", self.kind().split_once(' ').map_or("", |(_, k)| k), self.repr(60))
            }
            _ => self.kind(),
        }
    }
}

/// A string literal as Python writes it.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// The items of a list or tuple.
pub(crate) fn items<'v>(value: Value<'v>) -> Option<&'v [Value<'v>]> {
    ListRef::from_value(value).map(|l| l.content()).or_else(|| TupleRef::from_value(value).map(|t| t.content()))
}
