//! The project's files, its Starlark and the manifest of vendored packages, read
//! from disk or from a commit.

use super::git::Target;
use crate::error::{Doing, Failure, Result};
use std::collections::BTreeMap;
use std::path::Path;
use tidemill_lang::packages::MANIFEST;
use tidemill_model::revision::{Files, ROOT_FILE};

/// Bounds of what is sent to a master.
const COUNT_MAX: usize = 500;
const SIZE_MAX: u64 = 1 << 20;
/// Folders that hold other people's or built files.
const SKIPPED: [&str; 5] = ["target", "node_modules", "build", "dist", "venv"];

/// All `*.star` files below a folder, which must hold the root file, and its `packages.toml`.
pub fn from_folder(folder: &Path) -> Result<Files> {
    if !folder.join(ROOT_FILE).is_file() {
        return Err(no_project(folder));
    }
    let mut files = BTreeMap::new();
    collect(folder, "", &mut files)?;
    Ok(Files(files))
}

/// Why there is no project in a folder, and where one is.
fn no_project(folder: &Path) -> Failure {
    if !folder.is_dir() {
        let shown = folder.display();
        return Failure::usage(format!("there is no folder {shown}")).hint(format!("name the folder of {ROOT_FILE}"));
    }
    let whole = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let above = whole.ancestors().skip(1).find(|f| f.join(ROOT_FILE).is_file());
    let hint = match above {
        Some(above) => format!("there is one in {}: name that folder", above.display()),
        None => "name its folder; or `tidemill init` writes a first one".to_owned(),
    };
    Failure::usage(format!("there is no {ROOT_FILE} in {}", whole.display())).hint(hint)
}

/// Whether a path is one of a project's files.
pub fn belongs(path: &str) -> bool {
    path.ends_with(".star") || path == MANIFEST
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).doing(|| format!("read {}", folder.display()))?;
    for entry in entries {
        let entry = entry.doing(|| format!("read {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let kind = entry.file_type().doing(|| format!("look at {}", path.display()))?;
        let relative = format!("{prefix}{name}");
        if kind.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
                collect(&path, &format!("{relative}/"), files)?;
            }
        } else if belongs(&relative) {
            // One link is followed to a file; folders are not, they may be circles.
            let size = std::fs::metadata(&path).doing(|| format!("read {}", path.display()))?.len();
            if size > SIZE_MAX {
                return Err(Failure::usage(format!("{} is larger than {} KiB", path.display(), SIZE_MAX >> 10)));
            }
            let text = std::fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
            files.insert(relative, text);
            if files.len() > COUNT_MAX {
                let message = format!("more than {COUNT_MAX} *.star files below the project folder");
                return Err(Failure::usage(message).hint("put master.star and what it loads in a folder of its own"));
            }
        }
    }
    Ok(())
}

/// The same from the newest commit of a mirror; none if it has no root file.
pub fn from_commit(target: &Target) -> Result<Option<Files>> {
    let paths: Vec<String> = target.paths()?.into_iter().filter(|p| belongs(p)).collect();
    if !paths.iter().any(|p| p == ROOT_FILE) {
        return Ok(None);
    }
    let mut files = BTreeMap::new();
    for path in paths.into_iter().take(COUNT_MAX) {
        if path.split('/').any(|part| SKIPPED.contains(&part)) {
            continue;
        }
        if let Some(text) = target.read(&path).filter(|t| t.len() as u64 <= SIZE_MAX) {
            files.insert(path, text);
        }
    }
    Ok(Some(Files(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_by_their_path_below_the_project() {
        let dir = tempfile::tempdir().unwrap();
        assert!(from_folder(dir.path()).unwrap_err().to_string().contains("tidemill init"));
        let missing = from_folder(&dir.path().join("nosuch")).unwrap_err().to_string();
        assert!(missing.contains("no folder") && missing.contains("nosuch"), "{missing}");
        for path in [
            "master.star",
            "packages.toml",
            "lib/x.star",
            "lib/x.txt",
            "lib/packages.toml",
            "target/y.star",
            ".git/z.star",
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let below = from_folder(&dir.path().join("lib")).unwrap_err().to_string();
        assert!(below.contains("there is one in"), "{below}");
        let files = from_folder(dir.path()).unwrap();
        assert_eq!(files.0.into_keys().collect::<Vec<_>>(), ["lib/x.star", "master.star", "packages.toml"]);
    }
}
