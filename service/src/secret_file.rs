//! Values of secrets, each in a file of its own that nobody else can read: where
//! masters and workers have theirs.

use nix::fcntl::OFlag;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Largest value.
pub const VALUE_MAX: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    #[error("{0:?} cannot be the name of a secret: it has to be that of a file")]
    Name(String),
    #[error("the secret {name:?} is readable by others: chmod 0600 {path}")]
    Open { name: String, path: PathBuf },
    #[error("the secret {name:?} cannot be read from {path}: {why}")]
    Read { name: String, path: PathBuf, why: String },
}

/// A name leads to a file of the folder and nowhere else.
pub fn check_name(name: &str) -> Result<(), SecretFileError> {
    match name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
        true => Err(SecretFileError::Name(name.to_owned())),
        false => Ok(()),
    }
}

/// The value, without the newline that an editor puts at the end. None: there is no such file.
pub fn read(dir: &Path, name: &str) -> Result<Option<String>, SecretFileError> {
    check_name(name)?;
    let (name, path) = (name.to_owned(), dir.join(name));
    let wrong = |why: String| SecretFileError::Read { name: name.clone(), path: path.clone(), why };
    // A pipe would wait for somebody who writes.
    let opened = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path);
    let file = match opened {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| wrong(e.to_string()))?,
    };
    let meta = file.metadata().map_err(|e| wrong(e.to_string()))?;
    if meta.mode() & 0o077 != 0 {
        return Err(SecretFileError::Open { name, path });
    }
    let mut text = String::new();
    let read = file.take(VALUE_MAX + 1).read_to_string(&mut text);
    if !meta.is_file() || text.len() as u64 > VALUE_MAX {
        return Err(wrong(format!("it is no file of at most {VALUE_MAX} bytes")));
    }
    read.map_err(|e| wrong(e.to_string()))?;
    Ok(Some(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_value_comes_from_a_file_that_nobody_else_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let large = "x".repeat(VALUE_MAX as usize + 1);
        for (name, text, mode) in [("key", "geheim\n", 0o600), ("open", "geheim", 0o644), ("large", &large, 0o600)] {
            std::fs::write(dir.path().join(name), text).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        nix::unistd::mkfifo(&dir.path().join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        std::fs::set_permissions(dir.path().join("folder"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let of = |name: &str| read(dir.path(), name);
        assert_eq!(of("key").unwrap().as_deref(), Some("geheim"));
        assert_eq!(of("none").unwrap(), None);
        assert!(matches!(of("open"), Err(SecretFileError::Open { .. })));
        for bad in ["large", "pipe", "folder"] {
            assert!(matches!(of(bad), Err(SecretFileError::Read { .. })), "{bad}");
        }
        for bad in ["../key", ".key", "", "a/b", "a\0"] {
            assert!(matches!(of(bad), Err(SecretFileError::Name(_))), "{bad}");
        }
    }
}
