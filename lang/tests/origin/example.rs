//! Loads examples, makes their input, and checks that none is without a test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tidemill_lang::policies::{BuilderView, RequestView, SourceView};
use tidemill_lang::{Limits, Project};
use tidemill_model::revision::Files;
use tidemill_model::{Change, ChangeId, NewChange, SourceStamp};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/origin")
}

/// The files of a project as the CLI takes them: all `*.star`, and the manifest of packages.
pub fn files(name: &str) -> Files {
    fn walk(folder: &Path, base: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                walk(&path, base, found);
            } else if name.ends_with(".star") || name == tidemill_lang::packages::MANIFEST {
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let base = folder().join(name);
    let mut found = BTreeMap::new();
    walk(&base, &base, &mut found);
    Files(found)
}

#[track_caller]
pub fn evaluate(files: &Files) -> Project {
    Project::evaluate(files, &Limits::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
pub fn load(name: &str) -> Project {
    evaluate(&files(name))
}

/// The example after somebody replaced a text in a file, which must be there.
#[track_caller]
pub fn edited(name: &str, file: &str, from: &str, to: &str) -> Files {
    let mut files = files(name);
    let text = files.0.get_mut(file).unwrap();
    assert!(text.contains(from), "{file} of {name} has no {from:?}");
    *text = text.replace(from, to);
    files
}

/// The errors of such an edit, in words.
#[track_caller]
pub fn refusal(name: &str, from: &str, to: &str) -> String {
    let files = edited(name, "master.star", from, to);
    match Project::evaluate(&files, &Limits::default()) {
        Ok(_) => panic!("{to:?} was to be refused"),
        Err(found) => found.to_string(),
    }
}

pub fn builder(name: &str) -> BuilderView {
    BuilderView { name: name.into(), ..Default::default() }
}

/// A request for a branch; its revision is its own.
pub fn request(id: i64, branch: Option<&str>) -> RequestView {
    let stamp = SourceStamp {
        branch: branch.map(str::to_owned),
        revision: Some(format!("revision {id}")),
        repository: "https://example.org/r.git".into(),
        ..Default::default()
    };
    RequestView {
        id,
        buildset: id,
        submitted_at_us: id * 1_000_000,
        sources: vec![SourceView { stamp, patch: false, changes: vec![id] }],
        ..Default::default()
    }
}

pub fn change(id: i64, new: NewChange) -> Change {
    Change { id: ChangeId(id), received_at: time::OffsetDateTime::UNIX_EPOCH, new }
}

#[test]
fn every_example_has_a_test_a_readme_and_no_error() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/origin");
    let texts: String = std::fs::read_dir(tests)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let mut names: Vec<String> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() >= 40, "only {names:?}");
    let mut faults = vec![];
    for name in &names {
        if !texts.contains(&format!("\"{name}\"")) {
            faults.push(format!("{name}: no test names it"));
        }
        let readme = std::fs::read_to_string(folder().join(name).join("README.md")).unwrap_or_default();
        if !(1..=3).contains(&readme.lines().count()) {
            faults.push(format!("{name}: README.md has not one to three lines"));
        }
        let report = Project::check(&files(name), &Limits::default());
        // What has no engine yet, and old names where the example is about them.
        let meant = |text: &str| text.contains("is accepted but not run") || text.contains("is an old name of");
        for found in report.diagnostics.iter().filter(|d| !meant(&d.message)) {
            faults.push(format!("{name}: {found}"));
        }
        if !report.ok() {
            faults.push(format!("{name}: it has errors"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
