//! File commands of a step function, all below the builder's folder.

use super::host::Host;
use super::walk::{Fault, below, copy, fault, remove, visit};
use crate::exec::env::is_secret;
use crate::exec::tail::plain;
use crate::exec::workdir;
use globset::GlobBuilder;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use tidemill_lang::custom::{FileFault, FileReply, FileRequest, FileStat, HostError};

/// Most names in one reply.
const NAMES_MAX: usize = 100_000;

type Reply = Result<FileReply, Fault>;

impl Host {
    pub(super) fn files(&self, request: &FileRequest) -> Result<FileReply, HostError> {
        self.go_on()?;
        let done = self.work(request);
        self.go_on()?;
        Ok(done.unwrap_or_else(|(fault, text)| FileReply::Fault(fault, self.ground.secrets.shown(&text))))
    }

    fn work(&self, request: &FileRequest) -> Reply {
        let root = self.ground.folder.as_path();
        let go_on = || self.go_on().map_err(io::Error::other);
        match request {
            FileRequest::Stat { path } => stat(root, path),
            FileRequest::ListDir { path } => list(root, path),
            FileRequest::Glob { pattern } => glob(root, pattern, &go_on).map(FileReply::Names),
            FileRequest::Mkdir { paths } => {
                paths.iter().try_for_each(|path| make(root, path)).map(|()| FileReply::Done)
            }
            FileRequest::Rmdir { paths } => {
                for path in paths {
                    let place = inside(root, path)?;
                    remove(&place, &go_on).map_err(|e| fault(path, &e))?;
                }
                Ok(FileReply::Done)
            }
            FileRequest::Copy { from, to } => copied(root, from, to, &go_on),
            FileRequest::Remove { path } => {
                let place = inside(root, path)?;
                fs::remove_file(place).map(|()| FileReply::Done).map_err(|e| fault(path, &e))
            }
            FileRequest::Read { path, max } => read(root, path, *max),
            FileRequest::Write { path, content, mode } => self.put(root, path, content, *mode),
            FileRequest::Environment => {
                let own = self.ground.shared.own_env.iter().filter(|(name, _)| !is_secret(name));
                let text = |s: &std::ffi::OsString| s.to_string_lossy().into_owned();
                Ok(FileReply::Variables(own.map(|(k, v)| (text(k), text(v))).collect()))
            }
        }
    }

    /// A file with a secret is nobody else's to read.
    fn put(&self, root: &Path, path: &str, content: &str, mode: Option<u32>) -> Reply {
        let secret = self.ground.secrets.has_marks(content);
        let content = self.ground.secrets.resolve(content).map_err(|e| (FileFault::Other, e.to_string()))?;
        if secret {
            // A command that runs may show the file at once.
            self.ground.logs.mask(&self.ground.secrets.patterns());
        }
        let mode = mode.unwrap_or(if secret { 0o600 } else { 0o644 });
        write(root, path, content.as_bytes(), mode)
    }
}

/// Not the builder's folder itself.
fn inside(root: &Path, path: &str) -> Result<std::path::PathBuf, Fault> {
    let place = below(root, path, false)?;
    if place == root {
        return Err((FileFault::Refused, "the builder's folder itself stays: name something in it".into()));
    }
    Ok(place)
}

fn stat(root: &Path, path: &str) -> Reply {
    let meta = fs::symlink_metadata(below(root, path, false)?).map_err(|e| fault(path, &e))?;
    let mtime_us = meta.mtime().saturating_mul(1_000_000).saturating_add(meta.mtime_nsec() / 1000);
    Ok(FileReply::Stat(FileStat { mode: meta.mode(), size: meta.size(), mtime_us }))
}

fn list(root: &Path, path: &str) -> Reply {
    let entries = fs::read_dir(below(root, path, true)?).map_err(|e| fault(path, &e))?;
    let mut names: Vec<String> =
        entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).take(NAMES_MAX + 1).collect();
    if names.len() > NAMES_MAX {
        return Err((FileFault::TooLarge, format!("{path}: more than {NAMES_MAX} names")));
    }
    names.sort();
    Ok(FileReply::Names(names))
}

/// Names below the folder that match, sorted; links to folders are not followed.
pub(in crate::build) fn glob(
    root: &Path,
    pattern: &str,
    go_on: &dyn Fn() -> io::Result<()>,
) -> Result<Vec<String>, Fault> {
    let pattern = pattern.trim_start_matches("./");
    let bad = |e: globset::Error| (FileFault::Other, format!("{pattern}: {}", e.kind()));
    let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(bad)?.compile_matcher();
    // Only the folder that the pattern begins with is searched.
    let plain = pattern.split('/').take_while(|p| !p.contains(['*', '?', '[', '{', '\\']));
    let depth = pattern.split('/').count() - 1;
    let prefix = plain.take(depth).collect::<Vec<_>>().join("/");
    let folder = match below(root, &prefix, true) {
        Ok(folder) => folder,
        Err((FileFault::NotFound, _)) => return Ok(vec![]),
        Err(fault) => return Err(fault),
    };
    // A name that begins with a dot is found only where the pattern says so.
    let hidden_wanted = pattern.split('/').any(|p| p.starts_with('.'));
    let mut names = vec![];
    let mut each = |path: &Path| {
        let hidden = path.components().any(|c| c.as_os_str().as_encoded_bytes().starts_with(b"."));
        if glob.is_match(path) && (hidden_wanted || !hidden) {
            if names.len() >= NAMES_MAX {
                return Err(io::Error::other(format!("more than {NAMES_MAX} names match")));
            }
            names.push(path.to_string_lossy().into_owned());
        }
        Ok(())
    };
    visit(&folder, Path::new(&prefix), go_on, &mut each)
        .map_err(|e| (FileFault::TooLarge, format!("{pattern}: {e}")))?;
    names.sort();
    Ok(names)
}

fn make(root: &Path, path: &str) -> Result<(), Fault> {
    use workdir::WorkdirError as E;
    workdir::make(root, path).map(|_| ()).map_err(|error| match &error {
        E::Absolute(_) | E::Outside(_) => (FileFault::Refused, format!("{path}: leads out of the builder's folder")),
        E::NotAFolder(_) => (FileFault::NotADirectory, format!("{path}: there is a file in the way")),
        E::Io { error, .. } => fault(path, error),
    })
}

/// Makes the folder that a path is in.
fn make_parent(root: &Path, path: &str) -> Result<(), Fault> {
    match Path::new(path).parent().and_then(Path::to_str) {
        Some(parent) => make(root, parent),
        None => Ok(()),
    }
}

fn copied(root: &Path, from: &str, to: &str, go_on: &dyn Fn() -> io::Result<()>) -> Reply {
    let source = below(root, from, true)?;
    fs::metadata(&source).map_err(|e| fault(from, &e))?;
    make_parent(root, to)?;
    let target = inside(root, to)?;
    if target.starts_with(&source) {
        return Err((FileFault::Other, format!("{to} is inside {from}: a folder cannot be copied into itself")));
    }
    if source.starts_with(&target) {
        let why = format!("{from} is inside {to}, which the copy would replace: copy to a folder beside it");
        return Err((FileFault::Other, why));
    }
    remove(&target, go_on).and_then(|()| copy(&source, &target, go_on)).map_err(|e| fault(to, &e))?;
    Ok(FileReply::Done)
}

fn read(root: &Path, path: &str, max: u64) -> Reply {
    let place = below(root, path, true)?;
    let file = plain(&place).map_err(|e| fault(path, &e))?;
    let mut bytes = vec![];
    file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| fault(path, &e))?;
    if bytes.len() as u64 > max {
        return Err((FileFault::TooLarge, format!("{path}: larger than {max} bytes")));
    }
    Ok(FileReply::Content(bytes))
}

/// All of it or nothing: the file is written beside its place and moved there.
fn write(root: &Path, path: &str, content: &[u8], mode: u32) -> Reply {
    make_parent(root, path)?;
    let place = inside(root, path)?;
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".tidemill-new");
    let new = place.with_file_name(name);
    let put = || {
        let _ = fs::remove_file(&new);
        let options = fs::OpenOptions::new().write(true).create_new(true).mode(mode & 0o777).to_owned();
        let mut file = options.open(&new)?;
        file.write_all(content)?;
        // What the mask of the process took away.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode & 0o777))?;
        fs::rename(&new, &place)
    };
    put().map(|()| FileReply::Done).map_err(|e| {
        let _ = fs::remove_file(&new);
        fault(path, &e)
    })
}
