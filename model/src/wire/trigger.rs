//! Triggers: a running build starts builds of triggerable schedulers, and may
//! wait for them. Both calls may be repeated without harm, on any replica.

use crate::Results;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most schedulers in one trigger; one may be named several times.
pub const TRIGGER_TARGETS_MAX: usize = 1000;

/// How many builds may stand above one another, each triggered by the next.
pub const TRIGGER_DEPTH_MAX: i32 = 20;

/// `POST /worker/v1/triggers`. The same (build, step, nth) fires once, however often it is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerCall {
    pub build: i64,
    pub token: String,
    /// The number of the step within the build.
    pub step: u32,
    /// 1, 2, 3 … within the step.
    pub nth: u32,
    pub targets: Vec<TriggerTarget>,
    /// The build waits for what it starts.
    #[serde(default)]
    pub wait: bool,
    /// Source stamps: `codebase`, and of `repository`, `project`, `branch`, `revision` what is to
    /// be so; the rest is as the scheduler says, and so is each codebase that is not here.
    #[serde(default)]
    pub sourcestamps: Vec<BTreeMap<String, Option<String>>>,
    /// The sources are those of the build, so the changes that led to it lead to these too.
    #[serde(default)]
    pub inherits: bool,
    /// How pages call the relation.
    #[serde(default)]
    pub parent_relationship: Option<String>,
}

/// A scheduler to fire.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerTarget {
    pub scheduler: String,
    /// Its result does not count.
    #[serde(default)]
    pub unimportant: bool,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
}

/// Given after the commit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TriggerReply {
    /// What was made, in the order of the targets.
    #[serde(default)]
    pub made: Vec<Fired>,
    /// Nothing is triggered here, and that is no fault: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    pub scheduler: String,
    #[serde(default)]
    pub unimportant: bool,
    /// None: the scheduler remembers it and starts builds later.
    pub buildset: Option<i64>,
}

/// `POST /worker/v1/triggers/wait`: what became of it. Answered when that differs
/// from `version`, when all is over, or after `wait_us`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerWatch {
    pub build: i64,
    pub token: String,
    pub step: u32,
    pub nth: u32,
    /// Of the answer before; empty at first.
    #[serde(default)]
    pub version: String,
    pub wait_us: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerState {
    pub version: String,
    pub sets: Vec<TriggeredSet>,
    /// Builders whose requests cannot start: each slot of the connected workers that may build them
    /// is held by a build that waits itself.
    #[serde(default)]
    pub blocked: Vec<String>,
}

impl TriggerState {
    /// Whether there is nothing left to wait for.
    pub fn over(&self) -> bool {
        self.sets.iter().all(|s| s.complete)
    }

    /// The worst of what counts (D-34).
    pub fn results(&self) -> Results {
        let counts = self.sets.iter().filter(|s| !s.unimportant).filter_map(|s| s.results);
        counts.fold(Results::Success, Results::worst)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggeredSet {
    pub scheduler: String,
    #[serde(default)]
    pub unimportant: bool,
    pub buildset: Option<i64>,
    pub complete: bool,
    #[serde(default)]
    pub results: Option<Results>,
    #[serde(default)]
    pub requests: Vec<TriggeredRequest>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggeredRequest {
    pub request: i64,
    pub builder: String,
    pub complete: bool,
    #[serde(default)]
    pub results: Option<Results>,
    /// Its attempts, oldest first.
    #[serde(default)]
    pub builds: Vec<TriggeredBuild>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggeredBuild {
    pub build: i64,
    pub number: i64,
    /// `claimed`, `running` or `finished`.
    pub state: String,
    #[serde(default)]
    pub results: Option<Results>,
    /// Address of its page.
    #[serde(default)]
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_the_important_ones_counts() {
        let set = |results, unimportant| TriggeredSet {
            scheduler: "s".into(),
            unimportant,
            buildset: Some(1),
            complete: true,
            results: Some(results),
            requests: vec![],
        };
        let state = |sets| TriggerState { sets, ..TriggerState::default() };
        assert_eq!(state(vec![]).results(), Results::Success);
        let mixed = vec![set(Results::Warnings, false), set(Results::Exception, true), set(Results::Failure, false)];
        assert_eq!(state(mixed).results(), Results::Failure);
        assert_eq!(state(vec![set(Results::Failure, true)]).results(), Results::Success);
        assert_eq!(state(vec![set(Results::Skipped, false)]).results(), Results::Success);
    }
}
