//! Locks (B7) as data.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
pub use tidemill_model::{AccessMode, LockAccess};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDef {
    pub name: String,
    pub kind: LockKind,
    pub max_count: u32,
    /// Worker locks: other counts for some workers.
    #[serde(default)]
    pub max_count_for_worker: BTreeMap<String, u32>,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockKind {
    /// One counter for the whole cluster (`util.MasterLock`).
    Master,
    /// One counter for each worker (`util.WorkerLock`).
    Worker,
}
