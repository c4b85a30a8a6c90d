//! The difference of a Subversion working copy against what was checked out.
//!
//! Subversion's own differences hold no binary and no empty files. So what it
//! keeps of the changed files and what they are now are laid side by side, and
//! git makes the difference.

use super::{Difference, Wish, output, text};
use crate::error::{Doing, Failure, Result};
use crate::project::git::{command, without_secret};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

pub fn difference(top: &Path, wish: &Wish) -> Result<Difference> {
    let info = |item: &str| svn(top, &["info", "--show-item", item, "."]).map(text);
    let base = match &wish.base {
        Some(named) => named.clone(),
        None => revision(top)?,
    };
    let sides = Sides::new()?;
    for file in touched(&svn(top, &["diff", "--summarize", "--xml"])?)? {
        if file.known {
            sides.was(top, &file.path, &base)?;
        }
        if !file.deleted {
            sides.is(top, &file.path)?;
        }
    }
    let status = String::from_utf8_lossy(&svn(top, &["status", "--ignore-externals"])?).into_owned();
    let others: Vec<&str> = status.lines().filter_map(|l| l.strip_prefix("?       ")).collect();
    if wish.untracked {
        for file in others.iter().flat_map(|f| files(top, f)) {
            sides.is(top, &file)?;
        }
    }
    let (branch, subdir) = place(&info("relative-url")?);
    Ok(Difference {
        body: sides.difference()?,
        level: 1,
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

/// A file that differs from what was checked out.
#[derive(Debug, PartialEq, Eq)]
struct Touched {
    path: String,
    /// It was checked out.
    known: bool,
    deleted: bool,
}

/// What `svn diff --summarize --xml` says of files.
fn touched(xml: &[u8]) -> Result<Vec<Touched>> {
    let bad = |why: String| Failure::usage(format!("cannot read what svn diff --summarize --xml says: {why}"));
    let xml = std::str::from_utf8(xml).map_err(|e| bad(e.to_string()))?;
    let document = roxmltree::Document::parse(xml).map_err(|e| bad(e.to_string()))?;
    let files = document.descendants().filter(|n| n.has_tag_name("path") && n.attribute("kind") == Some("file"));
    let file = |n: roxmltree::Node<'_, '_>| {
        let item = n.attribute("item").filter(|i| *i != "none")?;
        let path = n.text().unwrap_or_default().to_owned();
        Some(Touched { path, known: item != "added", deleted: item == "deleted" })
    };
    Ok(files.filter_map(file).collect())
}

/// Changed files as they were, below `a`, and as they are, below `b`.
struct Sides(tempfile::TempDir);

impl Sides {
    fn new() -> Result<Sides> {
        let dir = tempfile::tempdir().doing(|| "make a temporary folder".into())?;
        for side in ["a", "b"] {
            std::fs::create_dir(dir.path().join(side)).doing(|| "make a temporary folder".into())?;
        }
        Ok(Sides(dir))
    }

    /// Puts down what was checked out.
    fn was(&self, top: &Path, path: &str, base: &str) -> Result<()> {
        let named = format!("{path}@");
        let body = svn(top, &["cat", "--revision", "BASE", "--", &named]).or_else(|_| {
            // It was replaced; then the repository alone has what was there.
            let folder = text(svn(top, &["info", "--show-item", "url", "."])?);
            svn(top, &["cat", "--", &format!("{folder}/{}@{base}", path.replace('%', "%25"))])
        })?;
        let to = self.place("a", path)?;
        let is = top.join(path);
        let now = is.symlink_metadata().ok();
        if let Some(target) = body.strip_prefix(b"link ")
            && (now.as_ref().is_some_and(std::fs::Metadata::is_symlink) || special(top, &named))
        {
            return symlink(std::ffi::OsStr::from_bytes(target), &to).doing(|| format!("write {}", to.display()));
        }
        std::fs::write(&to, body).doing(|| format!("write {}", to.display()))?;
        // Modes are Subversion's properties: of a file that was there they are no difference.
        if let Some(now) = now.filter(std::fs::Metadata::is_file) {
            std::fs::set_permissions(&to, now.permissions()).doing(|| format!("write {}", to.display()))?;
        }
        Ok(())
    }

    /// Puts down what is there now, if it is.
    fn is(&self, top: &Path, path: &str) -> Result<()> {
        let from = top.join(path);
        let Ok(now) = from.symlink_metadata() else { return Ok(()) };
        let to = self.place("b", path)?;
        let done = match now.is_symlink() {
            true => std::fs::read_link(&from).and_then(|target| symlink(target, &to)),
            false if now.is_file() => std::fs::copy(&from, &to).map(drop),
            // No file that a difference can hold.
            false => Ok(()),
        };
        done.doing(|| format!("read {}", from.display()))
    }

    fn place(&self, side: &str, path: &str) -> Result<std::path::PathBuf> {
        let place = self.0.path().join(side).join(path);
        let folder = place.parent().unwrap_or(&place);
        std::fs::create_dir_all(folder).doing(|| format!("make {}", folder.display()))?;
        Ok(place)
    }

    fn difference(&self) -> Result<Vec<u8>> {
        let mut command = command(self.0.path());
        command.args(["-c", "core.quotepath=on", "-c", "core.autocrlf=false", "diff", "--no-index", "--no-prefix"]);
        command.args(["--binary", "--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv"]);
        let output = command.args(["a", "b"]).output().doing(|| "run git".into())?;
        // 1 says that there is a difference.
        match output.status.code() {
            Some(0 | 1) => Ok(output.stdout),
            _ => {
                let said = crate::sanitize::text(String::from_utf8_lossy(&output.stderr).trim());
                Err(Failure::usage(format!("git diff: {said}")))
            }
        }
    }
}

/// Whether what was checked out is a symbolic link.
fn special(top: &Path, named: &str) -> bool {
    svn(top, &["propget", "--revision", "BASE", "svn:special", "--", named]).is_ok_and(|said| !said.is_empty())
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

/// A file, or all in a folder; what belongs to version control is nobody's difference.
fn files(top: &Path, path: &str) -> Vec<String> {
    let full = top.join(path);
    match std::fs::symlink_metadata(&full) {
        Ok(meta) if meta.is_dir() => {
            let mut all = vec![];
            for entry in std::fs::read_dir(&full).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if ![".git", ".hg", ".svn"].contains(&name.as_str()) {
                    all.extend(files(top, &format!("{path}/{name}")));
                }
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
    fn files_are_touched_and_folders_and_properties_are_not() {
        let xml = b"<?xml version=\"1.0\"?><diff><paths>\
            <path item=\"modified\" props=\"none\" kind=\"file\">a &amp; b</path>\
            <path item=\"added\" props=\"none\" kind=\"dir\">d</path>\
            <path item=\"added\" props=\"none\" kind=\"file\">d/n</path>\
            <path item=\"deleted\" props=\"none\" kind=\"file\">x</path>\
            <path item=\"none\" props=\"modified\" kind=\"file\">p</path></paths></diff>";
        let of = |path: &str, known, deleted| Touched { path: path.into(), known, deleted };
        assert_eq!(touched(xml).unwrap(), [of("a & b", true, false), of("d/n", false, false), of("x", true, true)]);
        assert!(touched(b"<diff").is_err());
    }
}
