//! A source stamp: which version of one codebase to build.

use serde::{Deserialize, Serialize};

/// One codebase's source. Two stamps with equal fields are one row, found by
/// the hash of these fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SourceStamp {
    /// Name of the codebase; empty where a project has only one.
    #[serde(default)]
    pub codebase: String,
    /// What the version control system calls the repository, most often a URL.
    #[serde(default)]
    pub repository: String,
    #[serde(default)]
    pub project: String,
    /// `None` is the repository's default branch.
    #[serde(default)]
    pub branch: Option<String>,
    /// `None` is «the newest at build time».
    #[serde(default)]
    pub revision: Option<String>,
}
