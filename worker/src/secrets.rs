//! The values of secrets, from files on the worker's own disk.
//!
//! A project names secrets only; rendered text holds marks
//! ([`tidemill_lang::secret`]). The value is read when a command or file needs
//! it, goes nowhere else, and from then on is masked in every log of the build,
//! so that a later step that prints a file shows no value either.
//!
//! Commands run as the worker's own user and can read its files: what keeps a
//! project's builds from a secret is a worker that does not hold it.

use crate::mask::Patterns;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tidemill_lang::secret;

/// Largest value.
const VALUE_MAX: u64 = 64 << 10;

/// Random bytes in a build's mark.
const MARK_BYTES: usize = 16;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("{0:?} cannot be the name of a secret: it has to be that of a file")]
    Name(String),
    #[error("the worker has no secret {name:?}: put its value into the file {path}, mode 0600")]
    Missing { name: String, path: PathBuf },
    #[error("the secret {name:?} is readable by others: chmod 0600 {path}")]
    Open { name: String, path: PathBuf },
    #[error("the secret {name:?} cannot be read from {path}: {why}")]
    Read { name: String, path: PathBuf, why: String },
}

/// The secrets of one build.
#[derive(Debug)]
pub(crate) struct Secrets {
    dir: PathBuf,
    mark: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    values: BTreeMap<String, String>,
    patterns: Arc<Patterns>,
}

impl Secrets {
    pub fn new(dir: &Path) -> Secrets {
        let mark = tidemill_service::token::random_hex(MARK_BYTES);
        Secrets { dir: dir.to_owned(), mark, known: Mutex::default() }
    }

    /// Stands in rendered text where a secret belongs, see [`secret`].
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// The text with values in place of marks.
    pub fn resolve(&self, text: &str) -> Result<String, SecretError> {
        secret::resolve(text, &self.mark, |name| self.value(name)).map(|t| t.into_owned())
    }

    pub fn has_marks(&self, text: &str) -> bool {
        secret::parts(text, &self.mark).iter().any(|p| matches!(p, secret::Part::Secret(_)))
    }

    /// For people: names in place of marks, and of values that are known by now.
    pub fn shown(&self, text: &str) -> String {
        let text = secret::masked(text, &self.mark);
        let patterns = self.patterns();
        if patterns.is_empty() { text.into_owned() } else { patterns.text(&text) }
    }

    pub fn shown_json(&self, value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value as Json;
        match value {
            Json::String(text) => Json::String(self.shown(text)),
            Json::Array(items) => items.iter().map(|v| self.shown_json(v)).collect(),
            Json::Object(map) => {
                map.iter().map(|(k, v)| (self.shown(k), self.shown_json(v))).collect::<serde_json::Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    /// What logs have to mask now.
    pub fn patterns(&self) -> Arc<Patterns> {
        self.known.lock().expect("no panic while holding the secrets").patterns.clone()
    }

    fn value(&self, name: &str) -> Result<String, SecretError> {
        let mut known = self.known.lock().expect("no panic while holding the secrets");
        if let Some(value) = known.values.get(name) {
            return Ok(value.clone());
        }
        let value = read(&self.dir, name)?;
        known.values.insert(name.to_owned(), value.clone());
        known.patterns = Arc::new(Patterns::new(known.values.clone()));
        Ok(value)
    }
}

/// Without the newline that an editor puts at the end.
fn read(dir: &Path, name: &str) -> Result<String, SecretError> {
    if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        return Err(SecretError::Name(name.to_owned()));
    }
    let (name, path) = (name.to_owned(), dir.join(name));
    let meta = match std::fs::metadata(&path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(SecretError::Missing { name, path }),
        Err(e) => return Err(SecretError::Read { name, path, why: e.to_string() }),
    };
    if meta.mode() & 0o077 != 0 {
        return Err(SecretError::Open { name, path });
    }
    if !meta.is_file() || meta.len() > VALUE_MAX {
        let why = format!("it is no file of at most {VALUE_MAX} bytes");
        return Err(SecretError::Read { name, path, why });
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned()),
        Err(e) => Err(SecretError::Read { name, path, why: e.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn put(dir: &Path, name: &str, value: &str, mode: u32) {
        std::fs::write(dir.join(name), value).unwrap();
        std::fs::set_permissions(dir.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn values_come_from_files_that_nobody_else_can_read() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "key", "hunter2\n", 0o600);
        put(dir.path(), "open", "x", 0o644);
        let secrets = Secrets::new(dir.path());
        let marked = |name: &str| format!("a\u{10FFFE}{}:{name}\u{10FFFF}b", secrets.mark());
        assert_eq!(secrets.shown("hunter2"), "hunter2", "not known yet");
        assert_eq!(secrets.resolve(&marked("key")).unwrap(), "ahunter2b");
        assert_eq!(secrets.shown(&marked("key")), "a<secret key>b");
        assert_eq!(secrets.shown("hunter2"), "<secret key>");
        assert!(matches!(secrets.resolve(&marked("open")), Err(SecretError::Open { .. })));
        assert!(matches!(secrets.resolve(&marked("none")), Err(SecretError::Missing { .. })));
        for bad in ["../key", ".key", "", "a/b"] {
            assert!(matches!(secrets.resolve(&marked(bad)), Err(SecretError::Name(_))), "{bad}");
        }
    }
}
