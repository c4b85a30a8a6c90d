//! What a project file defines, as plain data: the result of evaluation that
//! the master stores with the revision and turns into rows.
//!
//! Functions and placeholders are not here: they stay in the evaluated
//! [`crate::Project`] and are called by name and position.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub title_url: String,
    /// Address of the web pages, for links in notices.
    #[serde(default)]
    pub buildbot_url: String,
    /// Level of the vocabulary that the files use, see `model::wire::VOCABULARY`.
    pub vocabulary: u32,
    pub builders: Vec<BuilderDef>,
    #[serde(default)]
    pub schedulers: Vec<SchedulerDef>,
    #[serde(default)]
    pub change_sources: Vec<ChangeSourceDef>,
    /// Names of the workers that the file mentions. Empty names no worker:
    /// then each enrolled worker may be named by a builder.
    #[serde(default)]
    pub workers: Vec<WorkerDef>,
    /// Global properties, set on every build (GC-04).
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// `collapseRequests` for builders that do not say (default true, as in Buildbot).
    #[serde(default)]
    pub collapse_requests: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuilderDef {
    pub name: String,
    /// Workers that may build it. `["*"]` is every worker (Tidemill's own).
    pub workernames: Vec<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub project: String,
    /// Always set on its builds.
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// Set unless something else set them.
    #[serde(default)]
    pub default_properties: BTreeMap<String, Value>,
    #[serde(default)]
    pub collapse_requests: Option<bool>,
    /// How often a request is tried again after a lost worker before it ends
    /// with EXCEPTION; none is the cluster's default.
    #[serde(default)]
    pub max_attempts: Option<u32>,
    /// Names of the factory's steps, for people who look before the first build.
    #[serde(default)]
    pub steps: Vec<String>,
    /// File and line of the definition, for messages.
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulerDef {
    pub name: String,
    pub kind: SchedulerKind,
    pub builder_names: Vec<String>,
    /// Codebases that it declares; a change of another codebase is ignored
    /// (SC-02). Empty means the one codebase without a name.
    #[serde(default)]
    pub codebases: Vec<String>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerKind {
    /// One timer for all matching changes (SC-10).
    SingleBranch {
        /// `treeStableTimer`, microseconds; none starts a build for each change at once.
        tree_stable_us: Option<u64>,
        only_important: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeSourceDef {
    /// Unique; the default is the kind and the repository.
    pub name: String,
    pub kind: ChangeSourceKind,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeSourceKind {
    GitPoller(GitPollerDef),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GitPollerDef {
    pub repourl: String,
    pub branches: Branches,
    pub poll_interval_us: u64,
    /// Emit nothing at first but remember the heads, unless this is set (D-38).
    #[serde(default)]
    pub build_pushes_with_no_commits: bool,
    #[serde(default)]
    pub project: String,
    #[serde(default)]
    pub codebase: String,
    #[serde(default)]
    pub category: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Branches {
    /// The remote's HEAD.
    Default,
    All,
    /// Names; `*` and `?` match as in a shell.
    Named(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerDef {
    pub name: String,
    #[serde(default)]
    pub max_builds: Option<u32>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
}
