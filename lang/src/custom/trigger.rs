//! `trigger` of a running step: which schedulers to fire, with what, from which
//! sources. What depends on the build is settled here, so the host only sends.

use super::host::{Trigger, Triggered};
use super::running::Facts;
use crate::plan::BuildContext;
use crate::values::tree::Tree;
use serde_json::Value as Json;
use starlark::collections::SmallMap;
use starlark::values::Value;
use std::collections::BTreeMap;
use tidemill_model::SourceStamp;

/// Arguments of the method.
const ARGUMENTS: [&str; 8] = [
    "schedulers",
    "unimportant",
    "wait",
    "properties",
    "sourcestamps",
    "always_use_latest",
    "update_sourcestamp",
    "parent_relationship",
];

/// What a source stamp may say.
const FIELDS: [&str; 5] = ["codebase", "repository", "project", "branch", "revision"];

/// What the call asks for.
pub(super) fn wanted<'v>(facts: &Facts, args: &SmallMap<String, Value<'v>>) -> Result<Trigger, String> {
    if let Some(unknown) = args.keys().find(|name| !ARGUMENTS.contains(&name.as_str())) {
        return Err(format!("`trigger` has no argument `{unknown}`; it takes {}", ARGUMENTS.join(", ")));
    }
    let given = |name: &str| match args.get(name).map(|v| Tree::of(*v)) {
        None | Some(Tree::None) => Ok(None),
        Some(tree) => match tree.to_json() {
            Some(json) => Ok(Some(json)),
            None => Err(format!("`{name}` of a trigger cannot be {}", tree.describe())),
        },
    };
    let flag = |name: &str, default: bool| {
        args.get(name).map(|v| Tree::of(*v)).filter(|t| !matches!(t, Tree::None)).map_or(default, |t| t.truth())
    };
    let shared = properties("properties", given("properties")?)?;
    let unimportant = match given("unimportant")? {
        None => vec![],
        Some(json) => names("unimportant", json)?,
    };
    let schedulers = targets(given("schedulers")?.unwrap_or_default(), &shared, &unimportant)?;
    if let Some(stranger) = unimportant.iter().find(|u| !schedulers.iter().any(|s| s.scheduler == **u)) {
        return Err(format!("`{stranger}` is unimportant, but it is not among the schedulers to trigger"));
    }
    let own = stamps(given("sourcestamps")?)?;
    let latest = flag("always_use_latest", false);
    let context = facts.context.borrow();
    let (sourcestamps, inherits) = match (own.is_empty(), latest) {
        (false, true) => return Err("give source stamps, or have the latest always: not both".into()),
        (false, false) => (own, false),
        (true, true) => (vec![], false),
        (true, false) => (of_build(&context, flag("update_sourcestamp", true)), true),
    };
    let parent_relationship = match given("parent_relationship")? {
        None => None,
        Some(Json::String(text)) => Some(text),
        Some(other) => return Err(format!("`parent_relationship` of a trigger is a text, got {other}")),
    };
    Ok(Trigger { schedulers, wait: flag("wait", false), sourcestamps, inherits, parent_relationship })
}

/// Names, or dicts: in Buildbot's words (`sched_name`, `props_to_set`) too. One may come several times.
fn targets(json: Json, shared: &BTreeMap<String, Json>, unimportant: &[String]) -> Result<Vec<Triggered>, String> {
    let items = match json {
        Json::Null => vec![],
        one @ Json::String(_) => vec![one],
        Json::Array(items) => items,
        other => return Err(format!("the schedulers to trigger are a list of names, got {other}")),
    };
    if items.is_empty() {
        return Err("the trigger names no scheduler".into());
    }
    let target = |item: Json| {
        let mut target = Triggered { properties: shared.clone(), ..Triggered::default() };
        match item {
            Json::String(name) => target.scheduler = name,
            Json::Object(fields) => {
                for (field, value) in fields {
                    match (field.as_str(), value) {
                        ("name" | "sched_name", Json::String(name)) => target.scheduler = name,
                        ("unimportant", value) => target.unimportant = value == Json::Bool(true),
                        ("properties" | "props_to_set", value) => {
                            target.properties.extend(properties("properties", Some(value))?);
                        }
                        (field, value) => {
                            let takes = "a scheduler to trigger has `name`, `unimportant` and `properties`";
                            return Err(format!("{takes}, got `{field}`: {value}"));
                        }
                    }
                }
            }
            other => return Err(format!("a scheduler to trigger is a name or a dict with `name`, got {other}")),
        }
        if target.scheduler.is_empty() {
            return Err("a scheduler to trigger has no name".into());
        }
        target.unimportant |= unimportant.contains(&target.scheduler);
        Ok(target)
    };
    items.into_iter().map(target).collect()
}

fn names(what: &str, json: Json) -> Result<Vec<String>, String> {
    let wrong = |json: &Json| format!("`{what}` of a trigger is a list of names, got {json}");
    match json {
        Json::String(name) => Ok(vec![name]),
        Json::Array(items) => {
            let name = |item: &Json| item.as_str().map(str::to_owned).ok_or_else(|| wrong(item));
            items.iter().map(name).collect()
        }
        other => Err(wrong(&other)),
    }
}

fn properties(what: &str, json: Option<Json>) -> Result<BTreeMap<String, Json>, String> {
    match json {
        None | Some(Json::Null) => Ok(BTreeMap::new()),
        Some(Json::Object(fields)) => Ok(fields.into_iter().collect()),
        Some(other) => Err(format!("`{what}` of a trigger is a dict, got {other}")),
    }
}

/// Those that were given, as they are. An empty dict says nothing.
fn stamps(json: Option<Json>) -> Result<Vec<BTreeMap<String, Option<String>>>, String> {
    let items = match json {
        None | Some(Json::Null) => vec![],
        Some(Json::Array(items)) => items,
        Some(one) => vec![one],
    };
    let mut all = vec![];
    for item in items {
        let Json::Object(fields) = item else { return Err(format!("a source stamp is a dict, got {item}")) };
        let mut stamp = BTreeMap::new();
        for (field, value) in fields {
            if !FIELDS.contains(&field.as_str()) {
                return Err(format!("a source stamp has {}, not `{field}`", FIELDS.join(", ")));
            }
            let value = match value {
                Json::Null => None,
                Json::String(text) => Some(text),
                // A revision of Subversion.
                Json::Number(number) => Some(number.to_string()),
                other => return Err(format!("`{field}` of a source stamp is a text, got {other}")),
            };
            stamp.insert(field, value);
        }
        if !stamp.is_empty() {
            all.push(stamp);
        }
    }
    Ok(all)
}

/// The build's own; with `update` at the revisions that its steps found.
fn of_build(context: &BuildContext, update: bool) -> Vec<BTreeMap<String, Option<String>>> {
    let got = context.properties.get("got_revision").filter(|_| update);
    let revision = |stamp: &SourceStamp| {
        let found = match got {
            Some(Json::Object(all)) => all.get(&stamp.codebase),
            Some(one) if stamp.codebase.is_empty() || context.sourcestamps.len() == 1 => Some(one),
            _ => None,
        };
        match found {
            Some(Json::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Json::Number(number)) => Some(number.to_string()),
            _ => stamp.revision.clone(),
        }
    };
    let fields = |s: &SourceStamp| {
        BTreeMap::from([
            ("codebase".to_owned(), Some(s.codebase.clone())),
            ("repository".to_owned(), Some(s.repository.clone())),
            ("project".to_owned(), Some(s.project.clone())),
            ("branch".to_owned(), s.branch.clone()),
            ("revision".to_owned(), revision(s)),
        ])
    };
    context.sourcestamps.iter().map(fields).collect()
}
