//! What changes from one definition to the next: by name, field by field.
//! Places in files are no change.

use super::Definition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Kinds of named parts of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// What the project says about itself: title, global properties, …
    Project,
    Builder,
    Scheduler,
    ChangeSource,
    Worker,
    Lock,
    ProjectEntry,
    Service,
    SecretsProvider,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Project => "project",
            Group::Builder => "builder",
            Group::Scheduler => "scheduler",
            Group::ChangeSource => "change source",
            Group::Worker => "worker",
            Group::Lock => "lock",
            Group::ProjectEntry => "project entry",
            Group::Service => "service",
            Group::SecretsProvider => "secrets provider",
        })
    }
}

/// All changes, in the order of groups and names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    pub added: Vec<(Group, String)>,
    pub removed: Vec<(Group, String)>,
    pub changed: Vec<Changed>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    pub group: Group,
    pub name: String,
    pub fields: Vec<FieldChange>,
}

/// A field by its path, such as `properties.os` or `step_defs.make.args.command`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    pub field: String,
    /// None was not there.
    pub old: Option<Value>,
    pub new: Option<Value>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Lists of named parts in a definition's JSON.
const GROUPS: [(&str, Group); 10] = [
    ("builders", Group::Builder),
    ("schedulers", Group::Scheduler),
    ("change_sources", Group::ChangeSource),
    ("workers", Group::Worker),
    ("locks", Group::Lock),
    ("projects", Group::ProjectEntry),
    ("reporters", Group::Service),
    ("services", Group::Service),
    ("cancellers", Group::Service),
    ("secrets_providers", Group::SecretsProvider),
];
/// Places, and what follows from other fields.
const NO_CHANGE: [&str; 2] = ["location", "vocabulary"];

impl Definition {
    /// What differs in `self` from `old`, the definition before it.
    pub fn diff(&self, old: &Definition) -> Changes {
        let mut changes = Changes::default();
        let (mut new, mut old) = (object(self), object(old));
        for (key, group) in GROUPS {
            named(group, &by_name(old.remove(key)), &by_name(new.remove(key)), &mut changes);
        }
        let mut fields = vec![];
        compare("", &Value::Object(old), &Value::Object(new), &mut fields);
        if !fields.is_empty() {
            changes.changed.insert(0, Changed { group: Group::Project, name: String::new(), fields });
        }
        changes
    }
}

fn object(definition: &Definition) -> Map<String, Value> {
    match serde_json::to_value(definition) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("a definition is a struct with string keys"),
    }
}

/// By name; where several have one name (or none), the later ones get a number.
fn by_name(list: Option<Value>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let Some(Value::Array(items)) = list else { return found };
    for item in items {
        let text = |key: &str| item.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
        let base = text("name").or(text("kind")).unwrap_or("?").to_owned();
        let mut name = base.clone();
        let mut n = 2;
        while found.contains_key(&name) {
            name = format!("{base} ({n})");
            n += 1;
        }
        found.insert(name, item);
    }
    found
}

fn named(group: Group, old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>, changes: &mut Changes) {
    changes.removed.extend(old.keys().filter(|n| !new.contains_key(*n)).map(|n| (group, n.clone())));
    for (name, value) in new {
        let Some(before) = old.get(name) else {
            changes.added.push((group, name.clone()));
            continue;
        };
        let mut fields = vec![];
        compare("", before, value, &mut fields);
        // The digest says that a function changed; where arguments did too, they say it better.
        if fields.len() > 1 {
            fields.retain(|f| f.field != "digest");
        }
        if !fields.is_empty() {
            changes.changed.push(Changed { group, name: name.clone(), fields });
        }
    }
}

fn compare(path: &str, old: &Value, new: &Value, fields: &mut Vec<FieldChange>) {
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (old, new) {
        _ if old == new => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys.into_iter().filter(|k| !NO_CHANGE.contains(&k.as_str())) {
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => compare(&at(key), a, b, fields),
                    (old, new) => fields.push(FieldChange { field: at(key), old: old.cloned(), new: new.cloned() }),
                }
            }
        }
        // By name, so that a step put in between does not change all behind it.
        (Value::Array(a), Value::Array(b)) if names(a).is_some() && names(b).is_some() => {
            let (a, b) = (names(a).unwrap_or_default(), names(b).unwrap_or_default());
            let all: Vec<&str> = a.keys().chain(b.keys().filter(|n| !a.contains_key(*n))).copied().collect();
            for name in all {
                match (a.get(name), b.get(name)) {
                    (Some(a), Some(b)) => compare(&at(name), a, b, fields),
                    (old, new) => fields.push(FieldChange {
                        field: at(name),
                        old: old.map(|v| (*v).clone()),
                        new: new.map(|v| (*v).clone()),
                    }),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() && a.iter().chain(b).any(Value::is_object) => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{i}]"), a, b, fields);
            }
        }
        _ => fields.push(FieldChange { field: path.to_owned(), old: Some(old.clone()), new: Some(new.clone()) }),
    }
}

/// The elements of a list by their names, if all have one and no two the same.
fn names(list: &[Value]) -> Option<BTreeMap<&str, &Value>> {
    let named: BTreeMap<&str, &Value> =
        list.iter().map(|v| Some((v.get("name")?.as_str()?, v))).collect::<Option<_>>()?;
    (named.len() == list.len()).then_some(named)
}
