//! What cancels builds that nobody waits for any more.

use serde::{Deserialize, Serialize};

/// `util.OldBuildCanceller` or `util.FailingBuildsetCanceller`. Their filters are asked through
/// [`crate::policies::Policies::supersedes`] and [`crate::policies::Policies::fails_with`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancellerDef {
    pub name: String,
    pub kind: CancellerKind,
    pub rules: Vec<CancelRule>,
    #[serde(default)]
    pub location: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancellerKind {
    /// Older builds of a branch, when a newer change comes (RP-19).
    OldBuild,
    /// The others of a buildset, when one fails (RP-20).
    FailingBuildset,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRule {
    pub builders: Vec<String>,
    /// Whose builds are cancelled when one of `builders` fails; none is all.
    #[serde(default)]
    pub cancel: Option<Vec<String>>,
}
