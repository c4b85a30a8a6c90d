//! Locks (B7) as data.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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

/// How a builder, worker or step holds a lock (LK-03).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockAccess {
    /// Name of a [`LockDef`].
    pub lock: String,
    pub mode: AccessMode,
    /// Units taken; 1 for exclusive.
    pub count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    Counting,
    Exclusive,
}
