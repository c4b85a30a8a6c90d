//! A person's working tree in the place of a checkout (`tidemill run`).
//!
//! In the folder of the one builder stands a link to the tree where its steps
//! expect the sources, most often `build`. Paths may lead through that link; it
//! is the only one that may lead out. Nothing that the worker itself does
//! replaces or removes the tree or its repository: such requests are refused
//! before they begin. A command of the project can do what the person can.
//!
//! Known per folder for the life of the build; another builder's folder, and a
//! link that a build makes by itself, get nothing of this.

use crate::settings::WorkingTree;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use tidemill_lang::custom::FileRequest;
use tidemill_lang::plan::{Action, RenderedStep};

/// Trees by the canonical folder of their builder.
static TREES: Mutex<BTreeMap<PathBuf, Tree>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Debug)]
struct Tree {
    /// Canonical.
    path: PathBuf,
    /// Where the steps see it.
    link: PathBuf,
}

/// The tree stands in the builder's folder until this is dropped.
#[derive(Debug)]
pub(crate) struct Standing {
    folder: PathBuf,
}

impl Standing {
    /// The builder's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        trees().remove(&self.folder);
    }
}

fn trees() -> MutexGuard<'static, BTreeMap<PathBuf, Tree>> {
    TREES.lock().expect("no panic while holding the trees")
}

fn of(folder: &Path) -> Option<Tree> {
    trees().get(folder).cloned()
}

/// Puts the tree into a builder's folder. Where the work folder is the
/// builder's folder itself, the tree becomes that.
pub(crate) fn stand(tree: &WorkingTree, folder: &Path) -> io::Result<Standing> {
    let path = tree.path.canonicalize()?;
    if !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let below: PathBuf = Path::new(&tree.workdir).components().filter(|c| *c != Component::CurDir).collect();
    if below.components().any(|c| !matches!(c, Component::Normal(_))) {
        return Err(io::Error::other(format!("the workdir {:?} leads out of the builder's folder", tree.workdir)));
    }
    if below.as_os_str().is_empty() {
        trees().insert(path.clone(), Tree { path: path.clone(), link: path.clone() });
        return Ok(Standing { folder: path });
    }
    let link = folder.join(&below);
    std::fs::create_dir_all(link.parent().unwrap_or(folder))?;
    std::os::unix::fs::symlink(&path, &link)?;
    trees().insert(folder.to_owned(), Tree { path, link });
    Ok(Standing { folder: folder.to_owned() })
}

/// Whether a place is below a builder's folder, or in the tree that stands there.
pub(crate) fn is_inside(folder: &Path, place: &Path) -> bool {
    place.starts_with(folder) || of(folder).is_some_and(|tree| place.starts_with(tree.path))
}

/// The place in the tree that a work folder is, whether it exists or not; none
/// if it lies elsewhere.
pub(crate) fn place(folder: &Path, workdir: &str) -> Option<PathBuf> {
    let tree = of(folder)?;
    let named = resolved(folder, workdir);
    if let Ok(rest) = named.strip_prefix(&tree.link) {
        // Without a slash at the end.
        return Some(tree.path.join(rest).components().collect());
    }
    named.canonicalize().ok().filter(|place| place.starts_with(&tree.path))
}

fn resolved(folder: &Path, path: &str) -> PathBuf {
    // Components leave out what means nothing, such as a dot at the end.
    folder.join(path).components().collect()
}

/// Why a step must not run on the tree.
pub(crate) fn refuses_step(folder: &Path, step: &RenderedStep) -> Option<String> {
    let workdir = match &step.action {
        Action::Svn(svn) => &svn.checkout.workdir,
        Action::Mercurial(hg) => &hg.checkout.workdir,
        _ => return None,
    };
    place(folder, workdir).map(|place| {
        format!(
            "{} would bring other sources into the working tree {}; only steps.Git takes the tree as it is. \
             Leave the step out here: doStepIf = lambda step: step.getProperty(\"workername\") != \"local\"",
            step.kind,
            place.display()
        )
    })
}

/// Why a request on files must not be fulfilled.
pub(crate) fn refuses_request(folder: &Path, request: &FileRequest) -> Option<String> {
    let tree = of(folder)?;
    let (what, paths) = match request {
        FileRequest::Rmdir { paths } => ("removed", paths.as_slice()),
        FileRequest::Remove { path } => ("removed", std::slice::from_ref(path)),
        FileRequest::Copy { to, .. } => ("replaced", std::slice::from_ref(to)),
        FileRequest::Write { path, .. } => ("overwritten", std::slice::from_ref(path)),
        _ => return None,
    };
    let path = paths.iter().find(|path| is_kept(folder, &tree, path))?;
    Some(format!(
        "{path} is the working tree {} or its repository, which is not {what}: this build runs on it as it is. \
         Name a folder in it, or leave the step out here: \
         doStepIf = lambda step: step.getProperty(\"workername\") != \"local\"",
        tree.path.display()
    ))
}

/// Whether a path is the tree, holds it, or is its repository.
fn is_kept(folder: &Path, tree: &Tree, path: &str) -> bool {
    let named = resolved(folder, path);
    // The last part as it is: what is removed or replaced is a link, not its target.
    let real = match (named.parent(), named.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().map_or(named.clone(), |parent| parent.join(name)),
        _ => named.clone(),
    };
    let place = match named.strip_prefix(&tree.link) {
        Ok(rest) if rest.as_os_str().is_empty() => tree.path.clone(),
        _ => real,
    };
    tree.link.starts_with(&place) || tree.path.starts_with(&place) || place.starts_with(tree.path.join(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(workdir: &str) -> (tempfile::TempDir, PathBuf, Standing) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (path, folder) = (root.join("tree"), root.join("builds/b"));
        std::fs::create_dir_all(path.join(".git")).unwrap();
        std::fs::create_dir_all(path.join("sub")).unwrap();
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(".git", path.join("git")).unwrap();
        let standing = stand(&WorkingTree { path: path.clone(), workdir: workdir.into() }, &folder).unwrap();
        (dir, path, standing)
    }

    fn refused(standing: &Standing, path: &str) -> bool {
        let path = path.to_owned();
        refuses_request(standing.folder(), &FileRequest::Rmdir { paths: vec!["x".into(), path.clone()] }).is_some()
            && refuses_request(standing.folder(), &FileRequest::Copy { from: "a".into(), to: path.clone() }).is_some()
            && refuses_request(standing.folder(), &FileRequest::Remove { path }).is_some()
    }

    #[test]
    fn the_tree_and_its_repository_are_neither_removed_nor_replaced() {
        let (_dir, path, standing) = tree("build");
        for bad in ["build", "./build/", "build/.", ".", "build/.git", "build/.git/hooks", "build/git/hooks"] {
            assert!(refused(&standing, bad), "{bad}");
        }
        for good in ["build/sub", "build/sub/x", "other", "build/.github", "build/git", "builds"] {
            assert!(!refused(&standing, good), "{good}");
        }
        assert!(is_inside(standing.folder(), &path.join("sub")) && !is_inside(standing.folder(), Path::new("/etc")));
        let folder = standing.folder().to_owned();
        drop(standing);
        assert!(!is_inside(&folder, &path), "only while it stands there");
    }

    #[test]
    fn the_tree_stands_where_the_steps_look_for_it() {
        let (_dir, path, standing) = tree("build/src");
        assert_eq!(place(standing.folder(), "build/src/sub"), Some(path.join("sub")));
        assert_eq!(place(standing.folder(), "build/src/new"), Some(path.join("new")));
        assert_eq!(place(standing.folder(), "build"), None);
        assert!(refused(&standing, "build"), "it holds the tree");
        let (_dir, path, standing) = tree(".");
        assert_eq!(standing.folder(), path);
        assert!(refused(&standing, ".git") && !refused(&standing, "sub"));
    }

    #[test]
    fn only_a_work_folder_below_the_builders_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for bad in ["..", "/x", "a/../.."] {
            let tree = WorkingTree { path: dir.path().to_owned(), workdir: bad.into() };
            assert!(stand(&tree, dir.path()).is_err(), "{bad}");
        }
    }
}
