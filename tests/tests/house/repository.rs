//! The files of this repository.

use std::path::{Path, PathBuf};

/// Folders of build results and of other tools, never looked into.
const SKIPPED: [&str; 4] = [".git", "target", "node_modules", ".sqlx"];

/// The top of the work tree.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crate tests lies in the workspace")
}

/// A file: its path from the top, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    /// The crate's folder, such as `worker`.
    pub fn member(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// Code that ships, in contrast to tests and build scripts.
    pub fn is_src(&self) -> bool {
        self.path.split('/').nth(1) == Some("src")
    }
}

/// All text files below a folder of the repository whose names end so, in order of path.
pub fn files(below: &str, ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    walk(&root().join(below), &mut |path| {
        if path.to_string_lossy().ends_with(ending)
            && let Ok(text) = std::fs::read_to_string(path)
        {
            let path = path.strip_prefix(root()).expect("below the top").to_string_lossy().into_owned();
            found.push(File { path, text });
        }
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// One file that must be there.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

fn walk(dir: &Path, seen: &mut impl FnMut(&Path)) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_symlink() || SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            walk(&path, seen);
        } else {
            seen(&path);
        }
    }
}
