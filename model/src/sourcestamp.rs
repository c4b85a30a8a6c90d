//! A source stamp: which version of one codebase to build.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
    /// A difference that is applied on top. Stamps with one never merge (D-40).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
}

/// What is known of a stored patch without its body, which a worker fetches
/// under its lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Patch {
    pub id: i64,
    /// [`NewPatch::hash`].
    pub hash: String,
    /// Leading parts of each path that are dropped, as in `patch -p`.
    pub level: u32,
    /// The folder below the checkout that it is of; empty is the checkout itself.
    #[serde(default)]
    pub subdir: String,
    #[serde(default)]
    pub author: String,
    #[serde(default)]
    pub comment: String,
    /// Bytes of the body.
    pub size: u64,
}

/// A patch as it comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewPatch {
    pub body: Vec<u8>,
    pub level: u32,
    pub subdir: String,
    pub author: String,
    pub comment: String,
}

/// Most bytes of a patch.
pub const PATCH_MAX: usize = 10 << 20;

impl NewPatch {
    /// What no checkout could apply, in words for who gave it. Its size is another matter.
    pub fn fault(&self) -> Option<&'static str> {
        if self.level > 100 {
            return Some("`level` is a small number, most often 0 or 1");
        }
        if self.subdir.starts_with('/') || self.subdir.split('/').any(|part| part == "..") {
            return Some("`subdir` is a folder below the checkout");
        }
        None
    }

    /// Hex SHA-256 over all of it: equal patches are one.
    pub fn hash(&self) -> String {
        hash(&self.body, self.level, &self.subdir, &self.author, &self.comment)
    }
}

impl Patch {
    /// Whether this is the body that was stored.
    pub fn is_of(&self, body: &[u8]) -> bool {
        self.hash == hash(body, self.level, &self.subdir, &self.author, &self.comment)
    }
}

/// Lengths go in before the bytes, so that no two different patches share an input.
fn hash(body: &[u8], level: u32, subdir: &str, author: &str, comment: &str) -> String {
    let mut sha = Sha256::new();
    sha.update(level.to_le_bytes());
    for part in [body, subdir.as_bytes(), author.as_bytes(), comment.as_bytes()] {
        sha.update((part.len() as u64).to_le_bytes());
        sha.update(part);
    }
    hex::encode(sha.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_known_by_all_that_it_is() {
        let one = NewPatch { body: b"x".into(), level: 1, author: "ab".into(), ..NewPatch::default() };
        for other in [
            NewPatch { body: b"y".into(), ..one.clone() },
            NewPatch { level: 0, ..one.clone() },
            NewPatch { author: "a".into(), comment: "b".into(), ..one.clone() },
        ] {
            assert_ne!(one.hash(), other.hash());
        }
        let stored = Patch { hash: one.hash(), level: 1, author: "ab".into(), size: 1, ..Patch::default() };
        assert!(stored.is_of(b"x") && !stored.is_of(b"xx"));
    }

    #[test]
    fn a_stamp_without_a_patch_says_nothing_of_one() {
        let text = serde_json::to_string(&SourceStamp::default()).unwrap();
        assert!(!text.contains("patch"), "{text}");
        assert_eq!(serde_json::from_str::<SourceStamp>(r#"{"patch": null}"#).unwrap(), SourceStamp::default());
    }
}
