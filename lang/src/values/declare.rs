//! Values as JSON for definitions: plain ones as they are, others as a dict with
//! one key that begins with `$`.

use super::descriptor::Descriptor;
use super::factory;
use super::placeholder::{Form, Placeholder};
use super::rule::Rule;
use super::spec::Kind;
use super::tree::{self, DEPTH_MAX, NODES_MAX, Tree};
use crate::definition::Declared;
use serde_json::{Map, Value as Json, json};
use starlark::values::Value;
use starlark::values::dict::DictRef;
use std::collections::BTreeMap;

/// As [`Declared::args`] describes.
pub(crate) fn value(value: Value<'_>) -> Json {
    copy(value, 0, &mut 0)
}

/// A descriptor's arguments.
pub(crate) fn arguments(descriptor: &Descriptor<'_>, without: &[&str]) -> BTreeMap<String, Json> {
    let kept = descriptor.args.iter().filter(|(name, _)| !without.contains(&name.as_str()));
    kept.map(|(name, v)| (name.clone(), value(*v))).collect()
}

pub(crate) fn declared(descriptor: &Descriptor<'_>, without: &[&str]) -> Declared {
    let name = descriptor.arg("name").and_then(|v| v.unpack_str()).unwrap_or_default();
    Declared {
        kind: descriptor.spec.short().to_owned(),
        name: name.to_owned(),
        args: arguments(descriptor, without),
        location: descriptor.site.location(),
    }
}

/// Longest text of a placeholder that is kept.
const SHOWN_MAX: usize = 500;

fn copy(value: Value<'_>, depth: usize, nodes: &mut usize) -> Json {
    *nodes += 1;
    if depth > DEPTH_MAX || *nodes > NODES_MAX {
        return json!({ "$value": "too large" });
    }
    if let Some(simple) = Tree::simple(value) {
        return simple.to_json().unwrap_or(Json::Null);
    }
    if let Some(items) = tree::items(value) {
        return items.iter().map(|v| copy(*v, depth + 1, nodes)).collect();
    }
    if let Some(dict) = DictRef::from_value(value) {
        let entries = dict.iter().map(|(k, v)| {
            let key = Tree::simple(k).map_or_else(|| k.get_type().to_owned(), |t| t.printed());
            (key, copy(v, depth + 1, nodes))
        });
        return Json::Object(entries.collect::<Map<_, _>>());
    }
    if let Some(placeholder) = Placeholder::from_value(value) {
        return match &placeholder.form {
            Form::Secret { name } => json!({ "$secret": name }),
            _ => {
                let shown: String = placeholder.to_string().chars().take(SHOWN_MAX).collect();
                json!({ "$placeholder": shown })
            }
        };
    }
    if let Some(descriptor) = Descriptor::from_value(value) {
        return match descriptor.kind() {
            Kind::Step(_) => json!({ "$step": descriptor.called() }),
            _ => {
                let args: Map<String, Json> =
                    descriptor.args.iter().map(|(k, v)| (k.clone(), copy(*v, depth + 1, nodes))).collect();
                json!({ "$declared": { "kind": descriptor.spec.short(), "args": args } })
            }
        };
    }
    match Tree::of(value) {
        Tree::Function => json!({ "$function": function_name(value) }),
        _ if factory::is_factory(value) => json!({ "$value": "a util.BuildFactory" }),
        _ if Rule::from_value(value).is_some() => json!({ "$value": value.to_str() }),
        other => json!({ "$value": other.describe() }),
    }
}

/// The name that a function was defined with; `lambda` has none.
pub(crate) fn function_name(value: Value<'_>) -> String {
    let text = value.to_str();
    // Functions of a file are shown as `file.name`.
    text.rsplit('.').next().unwrap_or(&text).chars().take(SHOWN_MAX).collect()
}

/// Names of the secrets in a value.
pub(crate) fn secrets(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Array(items) => items.iter().for_each(|v| secrets(v, found)),
        Json::Object(map) => {
            if let Some(name) = map.get("$secret").and_then(Json::as_str) {
                found.push(name.to_owned());
            }
            map.values().for_each(|v| secrets(v, found));
        }
        _ => {}
    }
}
