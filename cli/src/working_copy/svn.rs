//! The difference of a Subversion working copy against what was checked out.

use super::{Difference, Wish, added, output, text};
use crate::error::{Failure, Result};
use crate::project::git::without_secret;
use std::path::Path;
use std::process::Command;

pub fn difference(top: &Path, wish: &Wish) -> Result<Difference> {
    let info = |item: &str| svn(top, &["info", "--show-item", item, "."]).map(text);
    let base = match &wish.base {
        Some(named) => named.clone(),
        None => revision(top)?,
    };
    let mut body = svn(top, &["diff", "--internal-diff", "--patch-compatible"])?;
    if let Some(file) = binary(&body) {
        return Err(Failure::usage(format!("{file} is binary, which a difference of Subversion cannot hold"))
            .hint("commit it first, or give a difference of your own with --diff FILE"));
    }
    let status = String::from_utf8_lossy(&svn(top, &["status"])?).into_owned();
    let others: Vec<&str> = status.lines().filter_map(|l| l.strip_prefix("?       ")).collect();
    if wish.untracked {
        for file in others.iter().flat_map(|f| files(top, f)) {
            body.extend(added(top, &file, false)?);
        }
    }
    let (branch, subdir) = place(&info("relative-url")?);
    Ok(Difference {
        body,
        level: 0,
        subdir,
        base: Some(base),
        branch,
        repository: Some(without_secret(&info("repos-root-url")?)),
        left_out: if wish.untracked { 0 } else { others.len() },
        ..Difference::default()
    })
}

/// The newest revision in the copy: of a mixed one, parts are older.
fn revision(top: &Path) -> Result<String> {
    let mut command = Command::new("svnversion");
    command.current_dir(top).arg("--no-newline").arg(".");
    let said = text(output(command, "svnversion", ".")?);
    let newest = said.split(':').filter_map(|part| part.trim_end_matches(['M', 'S', 'P']).parse::<u64>().ok()).max();
    newest
        .map(|n| n.to_string())
        .ok_or_else(|| Failure::usage(format!("svnversion says {said:?}")).hint("say the revision with --base"))
}

/// A file of which Subversion prints no difference.
fn binary(body: &[u8]) -> Option<String> {
    let body = String::from_utf8_lossy(body);
    let mut name = String::new();
    for line in body.lines() {
        if let Some(file) = line.strip_prefix("Index: ") {
            file.clone_into(&mut name);
        }
        if line.starts_with("Cannot display: file marked as a binary type.") {
            return Some(name);
        }
    }
    None
}

/// The branch, as a suffix of the address in the usual layout, and the folder below it.
fn place(relative: &str) -> (Option<String>, String) {
    let path = relative.trim_start_matches("^/");
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    match parts.as_slice() {
        ["trunk", rest @ ..] => (None, rest.join("/")),
        [kind @ ("branches" | "tags"), name, rest @ ..] => (Some(format!("{kind}/{name}")), rest.join("/")),
        _ => (None, String::new()),
    }
}

/// A file, or all in a folder.
fn files(top: &Path, path: &str) -> Vec<String> {
    let full = top.join(path);
    match std::fs::symlink_metadata(&full) {
        Ok(meta) if meta.is_dir() => {
            let mut all = vec![];
            for entry in std::fs::read_dir(&full).into_iter().flatten().flatten() {
                all.extend(files(top, &format!("{path}/{}", entry.file_name().to_string_lossy())));
            }
            all.sort();
            all
        }
        Ok(_) => vec![path.to_owned()],
        Err(_) => vec![],
    }
}

fn svn(top: &Path, args: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("svn");
    command.current_dir(top).env("LC_ALL", "C.UTF-8").arg("--non-interactive").args(args);
    output(command, "svn", args[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_layout_tells_branch_and_folder() {
        assert_eq!(place("^/trunk"), (None, String::new()));
        assert_eq!(place("^/trunk/lib/x"), (None, "lib/x".into()));
        assert_eq!(place("^/branches/1.0/lib"), (Some("branches/1.0".into()), "lib".into()));
        assert_eq!(place("^/"), (None, String::new()));
    }

    #[test]
    fn a_binary_file_in_a_difference_is_named() {
        let body = b"Index: a.png\n=====\nCannot display: file marked as a binary type.\n";
        assert_eq!(binary(body).as_deref(), Some("a.png"));
        assert_eq!(binary(b"Index: a\n--- a\n+++ a\n"), None);
    }
}
