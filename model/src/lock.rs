//! How a builder, worker or step holds a lock.

use serde::{Deserialize, Serialize};

/// The access to one lock (LK-03).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockAccess {
    /// Name of the lock.
    pub lock: String,
    pub mode: AccessMode,
    /// Units taken; 1 for exclusive.
    pub count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    /// Shares it with others, up to its capacity.
    Counting,
    /// Excludes all others.
    Exclusive,
}
