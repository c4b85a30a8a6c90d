//! Changes that wait for one buildset.

use super::Decision;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidemill_model::ChangeId;

/// How many changes a buildset lists. Of more, the newest are listed and the
/// others counted: what is built is that of the newest of each codebase anyway
/// (D-25), and a state does not grow without an end.
pub const LISTED: usize = 1000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Oldest first, as they came.
    #[serde(default, rename = "collected", skip_serializing_if = "Vec::is_empty")]
    ids: Vec<i64>,
    /// The newest of each codebase: listed whatever comes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    newest: BTreeMap<String, i64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    left_out: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Collected {
    pub fn push(&mut self, id: ChangeId, codebase: &str) {
        self.ids.push(id.0);
        match self.newest.get_mut(codebase) {
            Some(newest) => *newest = id.0,
            None => drop(self.newest.insert(codebase.to_owned(), id.0)),
        }
        if self.ids.len() > LISTED
            && let Some(oldest) = self.ids.iter().position(|id| !self.newest.values().any(|n| n == id))
        {
            self.ids.remove(oldest);
            self.left_out += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many, also those that are not listed.
    pub fn count(&self) -> u64 {
        self.ids.len() as u64 + self.left_out
    }

    /// Those that are listed.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = ChangeId> {
        self.ids.iter().copied().map(ChangeId)
    }

    /// A buildset of all of them; nothing is left.
    pub fn take(&mut self) -> Decision {
        let Collected { ids, left_out, .. } = std::mem::take(self);
        Decision { changes: ids.into_iter().map(ChangeId).collect(), left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_changes_the_newest_of_each_codebase_and_the_newest_of_all_are_listed() {
        let mut collected = Collected::default();
        collected.push(ChangeId(1), "lib");
        for id in 2..=5000 {
            collected.push(ChangeId(id), "app");
        }
        assert_eq!(collected.count(), 5000);
        let decision = collected.take();
        assert_eq!((decision.changes.len(), decision.left_out), (LISTED, 4000));
        assert_eq!(decision.changes[..2], [ChangeId(1), ChangeId(4002)]);
        assert_eq!(decision.changes[LISTED - 1], ChangeId(5000));
        assert!(collected.is_empty() && collected.count() == 0);
    }
}
