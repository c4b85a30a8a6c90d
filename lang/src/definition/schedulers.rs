//! Schedulers, as rows know them.

use super::cron::CronDef;
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
    /// `createAbsoluteSourceStamps`: a codebase without a change is built at the
    /// revision that was seen last (SC-17).
    #[serde(default)]
    pub absolute: bool,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    #[serde(default)]
    pub reason: String,
    /// None: not given, which is 0, or for a triggered one the priority of the build that triggers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
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
    /// Every so many microseconds (SC-13).
    Periodic {
        interval_us: u64,
        #[serde(default)]
        timed: TimedDef,
    },
    /// At times of the day (SC-14 to SC-16).
    Nightly(NightlyDef),
    /// The latest trigger, at times of the day (SC-19).
    NightlyTriggerable { at: CronDef },
    /// Fired by a Trigger step (SC-18).
    Triggerable,
    /// A button and a form (SC-22).
    Force(Box<ForceDef>),
    /// The project's own rule (SC-23): [`crate::policies::Policies::schedule`].
    Custom(CustomSchedulerDef),
    /// Any other of Buildbot's: `Try_Jobdir`, `Try_Userpass`, with its arguments
    /// under Buildbot's names.
    Declared(Declared),
}

/// What Periodic and Nightly do when their time comes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedDef {
    /// Only if an important change came since the last time.
    #[serde(default)]
    pub only_if_changed: bool,
    #[serde(default)]
    pub only_important: bool,
    /// The branch of codebases for which neither a change nor `codebases` says one.
    #[serde(default)]
    pub branch: Option<String>,
    /// `branch` was given, maybe as `None`: changes of other branches are not its own.
    #[serde(default)]
    pub branch_given: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NightlyDef {
    pub at: CronDef,
    /// Also without a change then.
    #[serde(default)]
    pub force_at: Option<CronDef>,
    /// It begins so much later at most, microseconds: always the same for one scheduler.
    #[serde(default)]
    pub jitter_us: u64,
    #[serde(default)]
    pub timed: TimedDef,
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

impl SchedulerDef {
    /// Whether it takes what people try (SC-20, SC-21): both of Buildbot's are one here.
    pub fn takes_tries(&self) -> bool {
        matches!(self.kind.name(), "Try_Userpass" | "Try_Jobdir")
    }
}

impl SchedulerKind {
    /// Buildbot's name of the kind.
    pub fn name(&self) -> &str {
        match self {
            SchedulerKind::SingleBranch { .. } => "SingleBranchScheduler",
            SchedulerKind::AnyBranch { .. } => "AnyBranchScheduler",
            SchedulerKind::Dependent { .. } => "Dependent",
            SchedulerKind::Periodic { .. } => "Periodic",
            SchedulerKind::Nightly(_) => "Nightly",
            SchedulerKind::NightlyTriggerable { .. } => "NightlyTriggerable",
            SchedulerKind::Triggerable => "Triggerable",
            SchedulerKind::Force(_) => "ForceScheduler",
            SchedulerKind::Custom(_) => "Custom",
            SchedulerKind::Declared(declared) => &declared.kind,
        }
    }
}

impl SchedulerDef {
    /// Whether it looks at changes.
    pub fn watches(&self) -> bool {
        match &self.kind {
            SchedulerKind::SingleBranch { .. } | SchedulerKind::AnyBranch { .. } | SchedulerKind::Custom(_) => true,
            SchedulerKind::Periodic { timed, .. } => timed.only_if_changed || self.absolute,
            SchedulerKind::Nightly(nightly) => nightly.timed.only_if_changed || self.absolute,
            _ => false,
        }
    }

    /// The schedulers of whose buildsets it hears.
    pub fn upstream(&self) -> &[String] {
        match &self.kind {
            SchedulerKind::Dependent { upstream } => std::slice::from_ref(upstream),
            SchedulerKind::Custom(custom) => &custom.upstream,
            _ => &[],
        }
    }

    /// `branch` and whether it was given, of those that the clock sets off.
    pub fn timed(&self) -> Option<&TimedDef> {
        match &self.kind {
            SchedulerKind::Periodic { timed, .. } => Some(timed),
            SchedulerKind::Nightly(nightly) => Some(&nightly.timed),
            _ => None,
        }
    }
}
