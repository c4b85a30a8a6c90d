//! Schedulers, as rows know them.

use super::force::ForceDef;
use super::sources::Declared;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchedulerDef {
    pub name: String,
    pub kind: SchedulerKind,
    /// Empty where `builders_function` is set.
    pub builder_names: Vec<String>,
    /// `builderNames` is a function of changes and properties (SC-01).
    #[serde(default)]
    pub builders_function: bool,
    /// Codebases that it declares; a change of another codebase is ignored
    /// (SC-02). Empty means the one codebase without a name.
    #[serde(default)]
    pub codebases: Vec<String>,
    /// What the source stamp of a codebase is where no change says.
    #[serde(default)]
    pub codebase_defaults: BTreeMap<String, CodebaseDef>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub priority: i32,
    /// `priority` is a function (SC-06).
    #[serde(default)]
    pub priority_function: bool,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodebaseDef {
    #[serde(default)]
    pub repository: String,
    #[serde(default)]
    pub branch: Option<String>,
    #[serde(default)]
    pub revision: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerKind {
    /// One timer for all matching changes (SC-10).
    SingleBranch {
        /// `treeStableTimer`, microseconds; none starts a build for each change at once.
        tree_stable_us: Option<u64>,
        only_important: bool,
    },
    /// A timer for each branch (SC-11).
    AnyBranch { tree_stable_us: Option<u64>, only_important: bool },
    /// After another scheduler's buildset (SC-12).
    Dependent { upstream: String },
    /// `only_if_changed` and `only_important` as in Nightly (SC-13).
    Periodic { interval_us: u64, only_if_changed: bool, only_important: bool },
    /// Fired by a Trigger step (SC-18).
    Triggerable,
    /// A button and a form (SC-22).
    Force(Box<ForceDef>),
    /// The project's own rule (SC-23): [`crate::policies::Policies::schedule`].
    Custom(CustomSchedulerDef),
    /// Any other of Buildbot's: `Nightly`, `NightlyTriggerable`, `Try_Jobdir`,
    /// `Try_Userpass`, with its arguments under Buildbot's names.
    Declared(Declared),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CustomSchedulerDef {
    /// Called at least so often, microseconds; none only when something happens.
    #[serde(default)]
    pub interval_us: Option<u64>,
    #[serde(default)]
    pub only_important: bool,
    /// Schedulers whose finished buildsets it wants to hear of.
    #[serde(default)]
    pub upstream: Vec<String>,
    /// What the file passes to the rule as `ctx.attrs`.
    #[serde(default)]
    pub attrs: BTreeMap<String, Value>,
}

impl SchedulerKind {
    /// Buildbot's name of the kind.
    pub fn name(&self) -> &str {
        match self {
            SchedulerKind::SingleBranch { .. } => "SingleBranchScheduler",
            SchedulerKind::AnyBranch { .. } => "AnyBranchScheduler",
            SchedulerKind::Dependent { .. } => "Dependent",
            SchedulerKind::Periodic { .. } => "Periodic",
            SchedulerKind::Triggerable => "Triggerable",
            SchedulerKind::Force(_) => "ForceScheduler",
            SchedulerKind::Custom(_) => "Custom",
            SchedulerKind::Declared(declared) => &declared.kind,
        }
    }
}
