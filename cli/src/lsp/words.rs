//! Completion, hover and definitions, from the reference and from the files.

use super::documents::{Documents, below, uri_of};
use super::place::{self, Call, Place};
use super::text;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use tidemill_lang::editor;
use tidemill_lang::reference::{Arg, Item, reference};

/// Kinds of the protocol.
const METHOD: u8 = 2;
const FUNCTION: u8 = 3;
const VARIABLE: u8 = 6;
const MODULE: u8 = 9;
const PROPERTY: u8 = 10;
const FILE: u8 = 17;

/// Names that hold something of a known kind by custom.
const HOLDERS: [(&str, &str); 5] =
    [("self", "step"), ("self.build", "build"), ("cmd", "command"), ("log", "log"), ("req", "request")];

pub fn complete_all(documents: &Documents, path: &Path, text: &str, offset: usize) -> Value {
    complete(documents, path, text, offset).into()
}

fn complete(documents: &Documents, path: &Path, text: &str, offset: usize) -> Vec<Value> {
    let place = place::at(text, offset);
    if place.comment {
        return vec![];
    }
    if place.string.is_some() {
        return in_string(documents, path, &place);
    }
    if let Some((holder, _)) = place.word.rsplit_once('.') {
        return members(holder);
    }
    let mut all = place.call.as_ref().map(arguments).unwrap_or_default();
    let mut names: BTreeSet<String> = editor::globals().names().map(|n| n.as_str().to_owned()).collect();
    names.extend(defined(text).into_iter().map(|(name, _)| name));
    let namespaces = reference().namespaces();
    all.extend(names.iter().filter(|n| place.word != **n).map(|name| {
        let kind = if namespaces.contains(&name.as_str()) { MODULE } else { VARIABLE };
        json!({ "label": name, "kind": kind })
    }));
    all
}

fn in_string(documents: &Documents, path: &Path, place: &Place) -> Vec<Value> {
    if let Some("c" | "BuildmasterConfig") = place.indexed.as_deref() {
        let keys = reference().items.iter().filter(|i| i.namespace == "c");
        return keys.filter_map(|i| Some((key(&i.name)?, i))).map(|(label, i)| entry(label, i, PROPERTY)).collect();
    }
    let loading = place.call.as_ref().is_some_and(|c| c.callee == "load");
    let Some(root) = documents.root(path).filter(|_| loading) else { return vec![] };
    let own = below(&root, path).unwrap_or_default();
    let files = documents.files(&root).0;
    files.keys().filter(|f| f.ends_with(".star") && **f != own).map(|f| json!({ "label": f, "kind": FILE })).collect()
}

/// `builders` of `c["builders"]`.
fn key(name: &str) -> Option<&str> {
    name.strip_prefix("c[\"")?.strip_suffix("\"]")
}

fn members(holder: &str) -> Vec<Value> {
    let known = HOLDERS.iter().find(|(name, _)| *name == holder).map_or(holder, |(_, namespace)| namespace);
    let prefix = format!("{known}.");
    let mut seen = BTreeSet::new();
    let mut all = vec![];
    for item in &reference().items {
        let Some(rest) = item.name.strip_prefix(&prefix) else { continue };
        match rest.split_once('.') {
            // A namespace within: `util.re`.
            Some((inner, _)) if seen.insert(inner.to_owned()) => all.push(json!({ "label": inner, "kind": MODULE })),
            Some(_) => {}
            None => all.push(entry(rest, item, if known == holder { FUNCTION } else { METHOD })),
        }
    }
    all
}

fn entry(label: &str, item: &Item, kind: u8) -> Value {
    json!({
        "label": label,
        "kind": kind,
        "detail": item.summary,
        "documentation": { "kind": "markdown", "value": item.markdown() },
    })
}

/// Arguments of a known word that are not given yet.
fn arguments(call: &Call) -> Vec<Value> {
    let Some(item) = word(&call.callee) else { return vec![] };
    let open = |a: &&Arg| a.alias_of.is_none() && a.ignored.is_none() && a.name != "…" && !call.given.contains(&a.name);
    item.args
        .iter()
        .filter(open)
        .map(|arg| {
            json!({
                "label": arg.name,
                "kind": PROPERTY,
                "detail": if arg.required { format!("{}, required", arg.r#type) } else { arg.r#type.clone() },
                "documentation": arg.doc,
                "insertText": format!("{} = ", arg.name),
                // Before all that has another meaning here.
                "sortText": format!("{}{}", if arg.required { " 0" } else { " 1" }, arg.name),
            })
        })
        .collect()
}

/// By its whole name only: `name` alone may be anything.
fn word(name: &str) -> Option<&'static Item> {
    let items = &reference().items;
    let held = HOLDERS.iter().find_map(|(holder, namespace)| {
        let rest = name.strip_prefix(holder)?.strip_prefix('.')?;
        items.iter().find(|i| i.name == format!("{namespace}.{rest}"))
    });
    items.iter().find(|i| i.name == name).or(held)
}

pub fn hover(text: &str, offset: usize) -> Value {
    let place = place::at(text, offset);
    let words = |value: String| json!({ "contents": { "kind": "markdown", "value": value } });
    if place.comment {
        return Value::Null;
    }
    if let Some(start) = place.string {
        let end = text[start..].find(['"', '\'']).map_or(text.len(), |e| start + e);
        let name = format!("c[\"{}\"]", &text[start..end]);
        let indexed = matches!(place.indexed.as_deref(), Some("c" | "BuildmasterConfig"));
        return word(&name).filter(|_| indexed).map_or(Value::Null, |i| words(i.markdown()));
    }
    let name = place::word_around(text, offset);
    if let Some(item) = word(name) {
        return words(item.markdown());
    }
    let argument = place.call.as_ref().and_then(|call| word(&call.callee)?.args.iter().find(|a| a.name == name));
    match argument {
        Some(arg) => {
            let default = if arg.default.is_empty() { String::new() } else { format!(", default `{}`", arg.default) };
            words(format!("`{}`: {}{default}\n\n{}", arg.name, arg.r#type, arg.doc))
        }
        None => Value::Null,
    }
}

/// Where a loaded file, or a name of this file or of one that it loads, stands.
pub fn definition(documents: &Documents, path: &Path, text: &str, offset: usize) -> Value {
    let place = place::at(text, offset);
    let root = documents.root(path);
    let file = |loaded: &str| {
        let root = root.as_ref()?;
        let target = root.join(editor::resolve(&below(root, path)?, loaded)?);
        documents.text(&target).map(|text| (target, text))
    };
    if let Some(start) = place.string {
        let end = text[start..].find(['"', '\'']).map_or(text.len(), |e| start + e);
        let loading = place.call.is_some_and(|c| c.callee == "load");
        let found = file(&text[start..end]).filter(|_| loading);
        return found.map_or(Value::Null, |(path, text)| location(&path, &text, 1));
    }
    let name = place::word_around(text, offset);
    let line = |text: &str| defined(text).into_iter().find(|(n, _)| n == name).map(|(_, line)| line);
    if let Some(line) = line(text) {
        return location(path, text, line);
    }
    let found = loads(text).into_iter().filter_map(file).find_map(|(path, text)| {
        let line = line(&text)?;
        Some(location(&path, &text, line))
    });
    found.unwrap_or(Value::Null)
}

fn location(path: &Path, source: &str, line: u32) -> Value {
    json!({ "uri": uri_of(path), "range": text::range(source, line, 1, 1) })
}

/// Names that a text gives at its top, with their lines.
fn defined(text: &str) -> Vec<(String, u32)> {
    let name =
        |rest: &str| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
    let mut all = vec![];
    for (i, line) in text.lines().enumerate() {
        let found = match line.strip_prefix("def ") {
            Some(rest) => name(rest),
            None => {
                let word = name(line);
                let rest = line[word.len()..].trim_start();
                let assigned = rest.starts_with('=') && !rest.starts_with("==") && !word.is_empty();
                if assigned { word } else { String::new() }
            }
        };
        if !found.is_empty() && all.iter().all(|(n, _)| *n != found) {
            all.push((found, i as u32 + 1));
        }
    }
    all
}

/// Paths of `load`.
fn loads(text: &str) -> Vec<&str> {
    let lines =
        text.lines().filter_map(|l| l.trim_start().strip_prefix("load(")?.trim_start().strip_prefix(['"', '\'']));
    lines.filter_map(|rest| rest.split(['"', '\'']).next()).collect()
}
