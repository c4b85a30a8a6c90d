//! Bearer tokens: random, shown once, stored only as a hash.

use rand::TryRngCore;
use sha2::{Digest, Sha256};

/// What a token is good for; the prefix shows it, so that a person (or a
/// secret scanner) can tell them apart, and one kind is never accepted as the
/// other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Worker,
    User,
    /// Made by `tidemill up` for the people of this machine.
    Local,
}

impl Kind {
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Worker => "tmw_",
            Kind::User => "tmu_",
            Kind::Local => "tml_",
        }
    }
}

/// 256 random bits in hex behind the kind's prefix.
pub fn generate(kind: Kind) -> String {
    format!("{}{}", kind.prefix(), random_hex(32))
}

/// So many random bytes from the operating system, as hex.
pub fn random_hex(bytes: usize) -> String {
    hex::encode(random(bytes))
}

/// `count` texts of [`random_hex`], by one call of the operating system.
pub fn random_hexes(count: usize, bytes: usize) -> Vec<String> {
    random(count * bytes).chunks_exact(bytes.max(1)).map(hex::encode).collect()
}

fn random(bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    rand::rngs::OsRng.try_fill_bytes(&mut buffer).expect("the operating system gives random bytes");
    buffer
}

/// What is stored. A plain SHA-256 is enough for 256 random bits: there is
/// nothing to guess.
pub fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_show_their_kind() {
        let (a, b) = (generate(Kind::Worker), generate(Kind::Worker));
        assert_ne!(a, b);
        assert!(a.starts_with("tmw_") && a.len() == 68);
        assert_ne!(hash(&a), hash(&b));
    }
}
