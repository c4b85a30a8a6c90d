//! Workers that the project file names.

use super::locks::LockAccess;
use super::sources::Declared;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerDef {
    pub name: String,
    #[serde(default)]
    pub max_builds: Option<u32>,
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// Set on its builds unless something else set them.
    #[serde(default)]
    pub default_properties: BTreeMap<String, Value>,
    /// What builders may require of it; over what the worker says of itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Value>,
    /// Each of its builds holds them (LK-06).
    #[serde(default)]
    pub locks: Vec<LockAccess>,
    /// It takes no build of what outsiders announced (A14).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted_only: bool,
    /// Mail addresses to tell when it stays away, and after how long.
    #[serde(default)]
    pub notify_on_missing: Vec<String>,
    #[serde(default)]
    pub missing_timeout_us: Option<u64>,
    /// A latent worker: who starts it, under Buildbot's names.
    #[serde(default)]
    pub latent: Option<Declared>,
    #[serde(default)]
    pub location: String,
}
