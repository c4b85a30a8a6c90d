//! A config revision: the project's files, named by their content.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Name of the file that evaluation starts with.
pub const ROOT_FILE: &str = "master.star";

/// The project's files by relative path, `/` between folders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Files(pub BTreeMap<String, String>);

impl Files {
    /// Only a root file.
    pub fn single(text: impl Into<String>) -> Self {
        Files(BTreeMap::from([(ROOT_FILE.to_owned(), text.into())]))
    }

    /// Hex SHA-256 over names and contents. Lengths go in before the bytes, so
    /// that no two different sets of files share an input.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        for (name, text) in &self.0 {
            for part in [name, text] {
                sha.update((part.len() as u64).to_le_bytes());
                sha.update(part.as_bytes());
            }
        }
        hex::encode(sha.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_in_where_a_name_ends_have_different_hashes() {
        let files = |name: &str, text: &str| Files(BTreeMap::from([(name.into(), text.into())]));
        assert_ne!(files("ab", "c").hash(), files("a", "bc").hash());
        assert_eq!(files("a", "b").hash(), files("a", "b").hash());
    }
}
