//! The base directory: the only place where a worker writes.
//!
//! `instance` names this installation for ever, `lock` is held while a worker
//! runs (a second process on the same folder is refused), `builds/` holds one
//! folder for each builder, `spool/` what no master has acknowledged yet, and
//! `secrets/`, where people put values that builds need. The kernel drops the lock with the process, however that ends.

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    #[error("the base directory {path} is in use by another worker{pid}; give each worker its own with --base")]
    Busy { path: PathBuf, pid: String },
    #[error("cannot {what} {path}: {error}")]
    Io { what: &'static str, path: PathBuf, error: std::io::Error },
}

fn io<T>(what: &'static str, path: &Path, result: std::io::Result<T>) -> Result<T, BaseError> {
    result.map_err(|error| BaseError::Io { what, path: path.to_owned(), error })
}

#[derive(Debug)]
pub(crate) struct Base {
    root: PathBuf,
    instance: String,
    folders: Arc<Mutex<HashSet<String>>>,
    _lock: Flock<File>,
}

impl Base {
    /// Makes what is missing and takes the lock.
    pub fn open(path: &Path) -> Result<Base, BaseError> {
        io("make the folder", path, std::fs::create_dir_all(path))?;
        let root = io("resolve", path, path.canonicalize())?;
        let lock = take_lock(&root)?;
        for (name, mode) in [("builds", 0o755), ("spool", 0o700)] {
            let folder = root.join(name);
            io("make the folder", &folder, std::fs::DirBuilder::new().recursive(true).mode(mode).create(&folder))?;
        }
        let instance = instance(&root)?;
        Ok(Base { root, instance, folders: Default::default(), _lock: lock })
    }

    /// The random id of this installation.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// A builder's folder for one build at a time: a second build of the same
    /// builder on this worker, while the first runs, gets one beside it.
    pub fn builder_folder(&self, builder: &str) -> Result<Folder, BaseError> {
        let slug = slug(builder);
        let mut taken = self.folders.lock().expect("no panic while holding the folder table");
        let name = (1..)
            .map(|n| if n == 1 { slug.clone() } else { format!("{slug}~{n}") })
            .find(|name| !taken.contains(name))
            .expect("an endless range of names");
        let path = self.root.join("builds").join(&name);
        io("make the folder", &path, std::fs::create_dir_all(&path))?;
        // Of a life that was cut off; there may be a password in it.
        for entry in io("read", &path, std::fs::read_dir(&path))?.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(OWN.as_bytes()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        taken.insert(name.clone());
        Ok(Folder { path, name, table: self.folders.clone() })
    }
}

/// Names of the worker's own files in a builder's folder begin so.
pub(crate) const OWN: &str = ".tidemill-";

/// A builder's folder, in use by one build until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    name: String,
    table: Arc<Mutex<HashSet<String>>>,
}

impl Folder {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.table.lock().expect("no panic while holding the folder table").remove(&self.name);
    }
}

fn take_lock(root: &Path) -> Result<Flock<File>, BaseError> {
    let path = root.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    match Flock::lock(io("open", &path, opened)?, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            // For people only: the lock itself is the kernel's.
            let write = lock.set_len(0).and_then(|_| writeln!(*lock, "{}", std::process::id()));
            io("write", &path, write)?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut text = String::new();
            let read = file.rewind().and_then(|_| file.read_to_string(&mut text));
            let pid = read.ok().and_then(|_| text.trim().parse::<u32>().ok());
            Err(BaseError::Busy {
                path: root.to_owned(),
                pid: pid.map(|p| format!(" (process {p})")).unwrap_or_default(),
            })
        }
        Err((_, error)) => Err(BaseError::Io { what: "lock", path, error: error.into() }),
    }
}

fn instance(root: &Path) -> Result<String, BaseError> {
    let path = root.join("instance");
    if let Ok(text) = std::fs::read_to_string(&path) {
        let text = text.trim();
        if text.len() >= 16 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(text.to_owned());
        }
    }
    let id = tidemill_service::token::random_hex(16);
    let new = root.join("instance.new");
    io("write", &new, std::fs::write(&new, format!("{id}\n")))?;
    io("write", &path, std::fs::rename(&new, &path))?;
    Ok(id)
}

/// A folder name for a builder: the name itself where that is plain and short,
/// else a cleaned one with a piece of the name's hash, so that no two builders
/// share a folder and none leaves its place.
pub(crate) fn slug(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_plain = !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(plain);
    if is_plain && !ends_like_a_hash(name) {
        return name.to_owned();
    }
    let mut clean: String = name.chars().take(40).map(|c| if plain(c) { c } else { '_' }).collect();
    if clean.is_empty() || clean.starts_with('.') {
        clean.insert(0, '_');
    }
    format!("{clean}-{}", &hex::encode(Sha256::digest(name.as_bytes()))[..8])
}

fn ends_like_a_hash(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(_, end)| end.len() == 8 && end.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_names_are_safe_and_never_shared() {
        assert_eq!(slug("linux-x86_64"), "linux-x86_64");
        let hostile =
            ["", ".", "..", "../x", "/etc", "a/b", "a_b", "a b", "\0", "ü", "x\n", "-", "a_b-12345678", ".git"];
        let slugs: HashSet<_> = hostile.iter().map(|n| slug(n)).collect();
        assert_eq!(slugs.len(), hostile.len());
        for s in slugs {
            assert!(!s.contains(['/', '\0', '~', '\n']) && !s.starts_with('.'), "{s}");
        }
        assert!(slug(&"é".repeat(5000)).len() < 60);
        // Somebody who names a builder after the folder of another gets a folder of their own.
        assert_ne!(slug(&slug("a/b")), slug("a/b"));
    }

    #[test]
    fn a_second_worker_on_the_same_base_is_refused_and_told_why() {
        let dir = tempfile::tempdir().unwrap();
        let first = Base::open(dir.path()).unwrap();
        let text = Base::open(dir.path()).unwrap_err().to_string();
        assert!(text.contains("in use by another worker") && text.contains("--base"), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
        let id = first.instance().to_owned();
        drop(first);
        assert_eq!(Base::open(dir.path()).unwrap().instance(), id);
    }

    #[test]
    fn two_builds_of_one_builder_at_once_do_not_share_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let base = Base::open(dir.path()).unwrap();
        let a = base.builder_folder("b").unwrap();
        let b = base.builder_folder("b").unwrap();
        assert_ne!(a.path(), b.path());
        let first = a.path().to_owned();
        drop(a);
        std::fs::write(first.join(".tidemill-login"), "geheim").unwrap();
        assert_eq!(base.builder_folder("b").unwrap().path(), first);
        assert!(!first.join(".tidemill-login").exists(), "what a killed worker left");
    }
}
