//! Paths below the builder's folder, and whole trees of files.
//!
//! No path leads out: not by `..`, not by a link. A build could swap a link
//! while a path is looked at, but gains nothing: its commands may write wherever
//! the worker may.

use crate::exec::tail::plain;
use crate::tree;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use tidemill_lang::custom::FileFault;

/// Why something cannot be done, and the words for people.
pub(in crate::build) type Fault = (FileFault, String);

pub(in crate::build) fn fault(path: &str, error: &io::Error) -> Fault {
    let kind = match error.kind() {
        ErrorKind::NotFound => FileFault::NotFound,
        ErrorKind::NotADirectory => FileFault::NotADirectory,
        ErrorKind::PermissionDenied => FileFault::Refused,
        _ => FileFault::Other,
    };
    (kind, format!("{path}: {error}"))
}

/// The place of `path` below `root`. A link at its end is followed only if `follow`.
pub(in crate::build) fn below(root: &Path, path: &str, follow: bool) -> Result<PathBuf, Fault> {
    let outside = || (FileFault::Refused, format!("{path}: leads out of the builder's folder"));
    if path.contains('\0') {
        return Err((FileFault::Refused, "the path holds a NUL byte".into()));
    }
    let mut place = root.to_owned();
    let mut parts = Path::new(path).components().peekable();
    while let Some(part) = parts.next() {
        match part {
            Component::CurDir => continue,
            Component::Normal(name) => place.push(name),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
        }
        let last = parts.peek().is_none();
        if (!last || follow) && fs::symlink_metadata(&place).is_ok_and(|m| m.is_symlink()) {
            place = place.canonicalize().map_err(|e| fault(path, &e))?;
            if !tree::is_inside(root, &place) {
                return Err(outside());
            }
        }
    }
    Ok(place)
}

/// Asked between two files: an error ends the work.
pub(in crate::build) type GoOn<'a> = &'a dyn Fn() -> io::Result<()>;

/// Removes a tree; links are removed, not followed.
pub(super) fn remove(path: &Path, go_on: GoOn<'_>) -> io::Result<()> {
    go_on()?;
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !meta.is_dir() {
        return fs::remove_file(path);
    }
    if meta.permissions().mode() & 0o700 != 0o700 {
        // A build may have left folders that nobody can write to.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    }
    for entry in fs::read_dir(path)? {
        remove(&entry?.path(), go_on)?;
    }
    fs::remove_dir(path)
}

/// Copies a tree with its permissions; links are copied as they are.
pub(super) fn copy(from: &Path, to: &Path, go_on: GoOn<'_>) -> io::Result<()> {
    go_on()?;
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if meta.is_file() {
        return copy_file(from, to, &meta, go_on);
    }
    if !meta.is_dir() {
        // Sockets and the like mean nothing elsewhere.
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()), go_on)?;
    }
    fs::set_permissions(to, meta.permissions())
}

fn copy_file(from: &Path, to: &Path, meta: &Metadata, go_on: GoOn<'_>) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok_and(|m| m.is_symlink()) {
        fs::remove_file(to)?;
    }
    let (mut source, mut target) = (plain(from)?, fs::File::create(to)?);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match source.read(&mut buffer)? {
            0 => break,
            n => target.write_all(&buffer[..n])?,
        }
        go_on()?;
    }
    target.set_permissions(meta.permissions())
}

/// Visits everything below a folder, without following links; paths are relative to it.
pub(super) fn visit(
    folder: &Path,
    relative: &Path,
    go_on: GoOn<'_>,
    each: &mut dyn FnMut(&Path) -> io::Result<()>,
) -> io::Result<()> {
    go_on()?;
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = relative.join(entry.file_name());
        each(&path)?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            visit(&entry.path(), &path, go_on, each)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn no_path_leads_out_of_the_builders_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("builder");
        fs::create_dir(&root).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        for bad in ["/etc/passwd", "..", "a/../../x", "up/x", "etc/passwd"] {
            assert_eq!(below(&root, bad, false).unwrap_err().0, FileFault::Refused, "{bad}");
        }
        assert_eq!(below(&root, "etc", true).unwrap_err().0, FileFault::Refused);
        assert_eq!(below(&root, "etc", false).unwrap(), root.join("etc"), "the link itself is inside");
        assert_eq!(below(&root, "./a/b", true).unwrap(), root.join("a/b"));
    }

    #[test]
    fn trees_are_copied_and_removed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let from = dir.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/run"), "#!").unwrap();
        fs::set_permissions(from.join("a/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&outside, from.join("link")).unwrap();
        let to = dir.path().join("to");
        copy(&from, &to, &fine).unwrap();
        assert_eq!(fs::metadata(to.join("a/run")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(to.join("a/b").is_dir() && fs::symlink_metadata(to.join("link")).unwrap().is_symlink());
        fs::set_permissions(to.join("a"), fs::Permissions::from_mode(0o555)).unwrap();
        remove(&to, &fine).unwrap();
        assert!(!to.exists() && outside.join("kept").exists());
        let stopped = || Err(io::Error::other("stopped"));
        assert!(remove(&from, &stopped).is_err() && from.join("a/run").exists());
    }
}
