//! Builders, as rows know them.

use super::locks::LockAccess;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuilderDef {
    pub name: String,
    /// Workers that may build it. `["*"]` is every worker (Tidemill's own).
    pub workernames: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub description: String,
    /// `markdown`, or none for plain text.
    #[serde(default)]
    pub description_format: Option<String>,
    #[serde(default)]
    pub project: String,
    /// Always set on its builds.
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// Set unless something else set them.
    #[serde(default)]
    pub default_properties: BTreeMap<String, Value>,
    /// Yes or no; none where it is not given or says more, see `collapse`.
    #[serde(default)]
    pub collapse_requests: Option<bool>,
    /// `collapseRequests` in full; none is what the project says.
    #[serde(default)]
    pub collapse: Option<Collapse>,
    /// How often a request is tried again after a lost worker before it ends
    /// with EXCEPTION; none is the cluster's default.
    #[serde(default)]
    pub max_attempts: Option<u32>,
    /// Only workers whose labels fit: [`tidemill_model::requires`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<String>,
    /// A request ends with EXCEPTION after no worker that may build it was connected for so long,
    /// microseconds; none waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after_us: Option<u64>,
    /// Locks that each of its builds holds. Empty also where `policies.locks` is set.
    #[serde(default)]
    pub locks: Vec<LockAccess>,
    /// The variables of all its commands: text, null to remove, or `{"$placeholder": text}`.
    #[serde(default)]
    pub env: BTreeMap<String, Value>,
    #[serde(default)]
    pub folders: FolderDef,
    /// Which functions it has; they are called through [`crate::Project::policies`].
    #[serde(default)]
    pub policies: PolicyNames,
    /// Names of the factory's steps, for people who look before the first build.
    #[serde(default)]
    pub steps: Vec<String>,
    /// The same with kind and arguments, for comparing revisions.
    #[serde(default)]
    pub step_defs: Vec<StepDef>,
    /// Hash over the steps and the text of the functions that they use (C-102).
    #[serde(default)]
    pub digest: String,
    /// File and line of the definition, for messages.
    #[serde(default)]
    pub location: String,
}

/// `builddir`, `workerbuilddir`: none is derived from the builder's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderDef {
    #[serde(default)]
    pub builddir: Option<String>,
    #[serde(default)]
    pub workerbuilddir: Option<String>,
}

/// Which requests of a builder are merged (BU-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Collapse {
    Never,
    /// D-40, as in Buildbot.
    Compatible,
    /// A function of builder and two requests: [`crate::policies::Policies::may_collapse`].
    Predicate,
    /// A function that gives each request a key; those with the same key merge:
    /// [`crate::policies::Policies::collapse_key`].
    Key,
}

/// Functions of a builder, by presence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyNames {
    #[serde(default)]
    pub next_build: bool,
    #[serde(default)]
    pub next_worker: bool,
    #[serde(default)]
    pub can_start_build: bool,
    /// Locks depend on the build.
    #[serde(default)]
    pub locks: bool,
    /// `do_build_if` (BU-15), asked by the worker before the first step.
    #[serde(default)]
    pub do_build_if: bool,
}

/// A step of a factory. Placeholders are `{"$placeholder": text}`, functions
/// `{"$function": name}`, secrets `{"$secret": name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepDef {
    pub name: String,
    /// Such as `steps.ShellCommand`, or the name of a custom step.
    pub kind: String,
    #[serde(default)]
    pub args: BTreeMap<String, Value>,
    #[serde(default)]
    pub location: String,
}

/// `util.Project` (BU-05).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDef {
    pub name: String,
    #[serde(default)]
    pub slug: Option<String>,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub description_format: Option<String>,
    /// Its part of the workers where projects want the same; none is 1, if another one has a share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// False: in reports only who was granted it sees its builders. None is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
    #[serde(default)]
    pub location: String,
}
