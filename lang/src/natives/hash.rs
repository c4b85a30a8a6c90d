//! `util.hash`: digests in hex, for names of folders and keys (C-40).

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// SHA-256 of a text, 64 hex digits.
    fn sha256(#[starlark(require = pos)] text: &str) -> starlark::Result<String> {
        Ok(hex::encode(Sha256::digest(text.as_bytes())))
    }

    /// MD5 of a text, 32 hex digits. For names only: it protects nothing.
    fn md5(#[starlark(require = pos)] text: &str) -> starlark::Result<String> {
        Ok(hex::encode(Md5::digest(text.as_bytes())))
    }

    /// SHA-1 of a text, 40 hex digits. For names only: it protects nothing.
    fn sha1(#[starlark(require = pos)] text: &str) -> starlark::Result<String> {
        Ok(hex::encode(Sha1::digest(text.as_bytes())))
    }
}
