//! What the editor holds, and the project around a file.

use crate::project::files;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tidemill_model::revision::{Files, ROOT_FILE};

/// Open texts by path.
#[derive(Debug, Default)]
pub struct Documents(BTreeMap<PathBuf, String>);

impl Documents {
    pub fn set(&mut self, path: PathBuf, text: String) {
        self.0.insert(path, text);
    }

    pub fn close(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// As the editor holds it, else as it lies on disk.
    pub fn text(&self, path: &Path) -> Option<String> {
        self.0.get(path).cloned().or_else(|| std::fs::read_to_string(path).ok())
    }

    /// The nearest folder above with a root file.
    pub fn root(&self, path: &Path) -> Option<PathBuf> {
        let holds = |folder: &&Path| {
            let root = folder.join(ROOT_FILE);
            self.0.contains_key(&root) || root.is_file()
        };
        path.ancestors().skip(1).find(holds).map(Path::to_owned)
    }

    /// The project's files, with open texts over those on disk.
    pub fn files(&self, root: &Path) -> Files {
        // A root file that is not saved yet has no others beside it.
        let mut found = files::from_folder(root).unwrap_or_default();
        for (path, text) in &self.0 {
            if let Some(name) = below(root, path).filter(|n| files::belongs(n)) {
                found.0.insert(name, text.clone());
            }
        }
        found
    }
}

/// A path as the project names it.
pub fn below(root: &Path, path: &Path) -> Option<String> {
    Some(path.strip_prefix(root).ok()?.to_str()?.to_owned())
}

pub fn path_of(uri: &str) -> Option<PathBuf> {
    url::Url::parse(uri).ok()?.to_file_path().ok()
}

pub fn uri_of(path: &Path) -> Option<String> {
    url::Url::from_file_path(path).ok().map(String::from)
}
