//! A change: what one commit did, as a source announced it.

use crate::{ChangeId, Properties, SourceStamp};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A change as a hook, a poller or `tidemill sendchange` hands it in. The one
/// entry point that stores it is `schema::changes::changes_insert`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewChange {
    /// Who wrote it, most often `Name <mail>`. Text only: it never grants anything (A13).
    #[serde(default)]
    pub author: String,
    #[serde(default)]
    pub committer: Option<String>,
    #[serde(default)]
    pub comments: String,
    /// Paths inside the repository.
    #[serde(default)]
    pub files: Vec<String>,
    #[serde(default)]
    pub branch: Option<String>,
    #[serde(default)]
    pub revision: Option<String>,
    #[serde(default)]
    pub repository: String,
    #[serde(default)]
    pub project: String,
    #[serde(default)]
    pub codebase: String,
    #[serde(default)]
    pub category: Option<String>,
    #[serde(default)]
    pub revlink: Option<String>,
    /// When it was committed; the time of arrival where unknown. Shown, never decided on (D-25).
    #[serde(default, with = "time::serde::timestamp::option")]
    pub when: Option<OffsetDateTime>,
    #[serde(default)]
    pub properties: Properties,
    /// Why its author is not trusted: a pull request of somebody who may not write to
    /// the repository. Builds of it get no secrets. None: it is trusted as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outsider: Option<String>,
}

impl NewChange {
    /// About its bytes as JSON.
    pub fn size(&self) -> usize {
        let files: usize = self.files.iter().map(|f| f.len() + 3).sum();
        300 + self.author.len() + self.comments.len() + files + self.properties.size()
    }

    /// The source stamp that a build of just this change uses.
    pub fn sourcestamp(&self) -> SourceStamp {
        SourceStamp {
            codebase: self.codebase.clone(),
            repository: self.repository.clone(),
            project: self.project.clone(),
            branch: self.branch.clone(),
            revision: self.revision.clone(),
            patch: None,
        }
    }
}

/// A stored change, as scheduler rules and filters see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub id: ChangeId,
    pub received_at: OffsetDateTime,
    pub new: NewChange,
}
