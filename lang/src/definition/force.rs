//! The form of a ForceScheduler (SC-22, B5): which fields it has and what each
//! accepts. [`crate::force`] makes a wish of what somebody filled in.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForceDef {
    #[serde(default)]
    pub label: Option<String>,
    #[serde(default)]
    pub button_name: Option<String>,
    /// With `%(owner)s` and `%(reason)s`.
    #[serde(default)]
    pub reason_string: Option<String>,
    pub reason: Field,
    pub username: Field,
    pub priority: Field,
    pub codebases: Vec<Field>,
    /// Fields that become properties.
    #[serde(default)]
    pub properties: Vec<Field>,
}

/// A field of the form, or a group of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// The property that it sets; empty for a group without a name of its own.
    pub name: String,
    /// What its value is called in a filled form: the names of the groups around it and its own,
    /// joined with `_`.
    pub full_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tablabel: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tooltip: String,
    /// Null where nothing is said.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub default: Value,
    #[serde(default, skip_serializing_if = "no")]
    pub required: bool,
    #[serde(default, skip_serializing_if = "no")]
    pub hide: bool,
    #[serde(default, skip_serializing_if = "no")]
    pub multiple: bool,
    /// Most bytes of its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maxsize: Option<u64>,
    /// It must match from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// For a choice: what other fields become that are left empty, `{choice: {full name: value}}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub autopopulate: BTreeMap<String, BTreeMap<String, Value>>,
    pub kind: FieldKind,
}

fn no(flag: &bool) -> bool {
    !flag
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FieldKind {
    /// Always its default, and not shown.
    Fixed,
    #[default]
    String,
    Text {
        cols: u64,
        rows: u64,
    },
    Int,
    Boolean,
    Choice {
        choices: Vec<String>,
        strict: bool,
    },
    UserName {
        need_email: bool,
    },
    File,
    /// A name and a value, as `…_name` and `…_value`.
    AnyProperty,
    /// The properties of a build, given as `BUILDER/NUMBER`.
    InheritBuild,
    WorkerChoice,
    Nested {
        layout: String,
        columns: Option<u64>,
        fields: Vec<Field>,
    },
    /// The source stamp of a codebase: fields named branch, revision, repository, project and patch.
    Codebase {
        codebase: String,
        layout: String,
        columns: Option<u64>,
        fields: Vec<Field>,
    },
    Patch {
        fields: Vec<Field>,
    },
}

impl Field {
    /// A line of text without any condition.
    pub fn string(name: &str, label: &str) -> Field {
        Field { name: name.into(), full_name: name.into(), label: label.into(), ..Field::default() }
    }

    /// Those in a group.
    pub fn fields(&self) -> &[Field] {
        match &self.kind {
            FieldKind::Nested { fields, .. } | FieldKind::Codebase { fields, .. } | FieldKind::Patch { fields } => {
                fields
            }
            _ => &[],
        }
    }

    /// Whether it is a group of others and has no value of its own.
    pub fn is_group(&self) -> bool {
        matches!(self.kind, FieldKind::Nested { .. } | FieldKind::Codebase { .. } | FieldKind::Patch { .. })
    }

    /// The names under which a filled form has its values.
    pub fn value_names(&self) -> Vec<String> {
        match &self.kind {
            FieldKind::AnyProperty => ["name", "value"].map(|part| format!("{}_{part}", self.full_name)).to_vec(),
            _ if self.is_group() => self.fields().iter().flat_map(Field::value_names).collect(),
            _ => vec![self.full_name.clone()],
        }
    }
}

impl ForceDef {
    /// All fields in the order of the form.
    pub fn all(&self) -> impl Iterator<Item = &Field> {
        [&self.username, &self.reason, &self.priority].into_iter().chain(&self.codebases).chain(&self.properties)
    }
}
