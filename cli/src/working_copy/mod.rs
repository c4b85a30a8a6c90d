//! A person's working copy, and its difference against what the builders can
//! check out: what `tidemill try` sends.
//!
//! Nothing in the working copy or its repository is changed.

mod git;
mod hg;
mod svn;

use crate::error::{Doing, Failure, Result};
use crate::sanitize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What keeps the versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Vc {
    Git,
    Hg,
    Svn,
}

impl Vc {
    pub fn name(self) -> &'static str {
        match self {
            Vc::Git => "git",
            Vc::Hg => "hg",
            Vc::Svn => "svn",
        }
    }
}

/// A difference on top of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    pub body: Vec<u8>,
    /// Leading parts of its paths to drop.
    pub level: u32,
    /// The folder of the checkout that it is of; empty is the checkout.
    pub subdir: String,
    /// The revision that it is on top of.
    pub base: Option<String>,
    /// None is the default one.
    pub branch: Option<String>,
    /// Without a password.
    pub repository: Option<String>,
    /// Whose work it is, for people.
    pub who: String,
    /// Untracked files that are not in it.
    pub left_out: usize,
}

/// What the person says of it.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Instead of what is found.
    pub base: Option<String>,
    /// With files that are not tracked and not ignored.
    pub untracked: bool,
}

/// The working copy around a folder: the nearest one, as each of the three finds it.
pub fn find(dir: &Path, wanted: Option<Vc>) -> Result<(Vc, PathBuf)> {
    let dir = dir.canonicalize().doing(|| format!("open {}", dir.display()))?;
    for folder in dir.ancestors() {
        for (vc, admin) in [(Vc::Git, ".git"), (Vc::Hg, ".hg"), (Vc::Svn, ".svn")] {
            if wanted.is_none_or(|w| w == vc) && folder.join(admin).exists() {
                return Ok((vc, folder.to_owned()));
            }
        }
    }
    let what = wanted.map_or("git, Mercurial or Subversion", Vc::name);
    Err(Failure::usage(format!("{} is in no working copy of {what}", dir.display()))
        .hint("run it in one, name it with --dir, or give the difference with --diff FILE"))
}

/// The difference of a working copy.
pub fn difference(vc: Vc, top: &Path, wish: &Wish) -> Result<Difference> {
    match vc {
        Vc::Git => git::difference(top, wish),
        Vc::Hg => hg::difference(top, wish),
        Vc::Svn => svn::difference(top, wish),
    }
}

/// What a program prints; its error is the failure's text.
fn output(mut command: Command, program: &str, what: &str) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::usage(format!("{program} is not installed")),
        _ => Failure::usage(format!("cannot run {program}: {e}")),
    })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let said = sanitize::text(String::from_utf8_lossy(&output.stderr).trim());
            Err(Failure::usage(format!("{program} {what}: {said}")))
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// The difference that adds a file that is not there yet, in the format of git.
fn added(top: &Path, file: &str) -> Result<Vec<u8>> {
    let mut command = crate::project::git::command(top);
    command.args(["-c", "core.quotepath=on", "diff", "--no-index", "--binary", "--no-color", "--no-ext-diff"]);
    command.args(["--src-prefix=a/", "--dst-prefix=b/"]);
    let output = command.args(["--", "/dev/null", file]).output().doing(|| "run git".into())?;
    // 1 says that there is a difference.
    match output.status.code() {
        Some(0 | 1) => Ok(output.stdout),
        _ => {
            let said = sanitize::text(String::from_utf8_lossy(&output.stderr).trim());
            Err(Failure::usage(format!("git diff of {file}: {said}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_working_copy_is_found_and_a_folder_without_one_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("outer/.git")).unwrap();
        std::fs::create_dir_all(dir.path().join("outer/inner/.hg")).unwrap();
        std::fs::create_dir_all(dir.path().join("outer/inner/deep")).unwrap();
        let at = |path: &str, vc| find(&dir.path().join(path), vc).map(|(vc, _)| vc);
        assert_eq!(at("outer/inner/deep", None).unwrap(), Vc::Hg);
        assert_eq!(at("outer/inner/deep", Some(Vc::Git)).unwrap(), Vc::Git);
        assert_eq!(at("outer", None).unwrap(), Vc::Git);
        assert!(at("outer", Some(Vc::Svn)).unwrap_err().to_string().contains("--diff FILE"));
        assert!(find(Path::new("/nowhere/at/all"), None).is_err());
    }
}
