//! Where a command runs: always below its builder's folder.

use crate::tree;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkdirError {
    #[error("the workdir {0:?} is absolute; give one relative to the builder's folder, such as build")]
    Absolute(String),
    #[error("the workdir {0:?} leads out of the builder's folder")]
    Outside(String),
    #[error("the workdir {0:?} is not a folder")]
    NotAFolder(String),
    #[error("cannot make the workdir {path}: {error}")]
    Io { path: PathBuf, error: std::io::Error },
}

/// The folder `workdir` below `root`, made if it is missing. Symbolic links
/// inside are followed as long as they stay inside.
///
/// `root` must be canonical. A build that runs at the same time in the same
/// folder could swap a link in between, but gains nothing: it may write there
/// by itself.
pub(crate) fn make(root: &Path, workdir: &str) -> Result<PathBuf, WorkdirError> {
    let named = || workdir.to_owned();
    if workdir.contains('\0') {
        return Err(WorkdirError::NotAFolder(named()));
    }
    let mut path = root.to_owned();
    for part in Path::new(workdir).components() {
        match part {
            Component::CurDir => continue,
            Component::Normal(name) => path.push(name),
            Component::ParentDir => return Err(WorkdirError::Outside(named())),
            Component::RootDir | Component::Prefix(_) => return Err(WorkdirError::Absolute(named())),
        }
        let io = |path: &Path, error| WorkdirError::Io { path: path.to_owned(), error };
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => {}
            Ok(meta) if meta.is_symlink() => {
                path = path.canonicalize().map_err(|e| io(&path, e))?;
                if !tree::is_inside(root, &path) {
                    return Err(WorkdirError::Outside(named()));
                }
                if !path.is_dir() {
                    return Err(WorkdirError::NotAFolder(named()));
                }
            }
            Ok(_) => return Err(WorkdirError::NotAFolder(named())),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                std::fs::create_dir(&path)
                    .or_else(|e| if path.is_dir() { Ok(()) } else { Err(e) })
                    .map_err(|e| io(&path, e))?;
            }
            Err(e) => return Err(io(&path, e)),
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_workdir_leads_out_of_the_builders_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("builder");
        std::fs::create_dir(&root).unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        symlink(&outside, root.join("link")).unwrap();
        symlink("../outside", root.join("relative")).unwrap();
        symlink("/nowhere", root.join("broken")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        for bad in ["/etc", "..", "a/../..", "link", "link/x", "relative/y", "broken/z", "file", "file/x", "a\0b"] {
            assert!(make(&root, bad).is_err(), "{bad:?}");
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn a_missing_workdir_is_made_and_links_inside_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(make(&root, "build/sub").unwrap(), root.join("build/sub"));
        assert!(root.join("build/sub").is_dir());
        symlink(root.join("build"), root.join("b")).unwrap();
        assert_eq!(make(&root, "./b/sub").unwrap(), root.join("build/sub"));
        assert_eq!(make(&root, "").unwrap(), root);
        assert_eq!(make(&root, ".").unwrap(), root);
    }
}
