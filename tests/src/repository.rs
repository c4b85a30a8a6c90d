//! A real git repository: a bare one that is polled, and a work tree to commit in.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Repository {
    bare: PathBuf,
    work: PathBuf,
}

impl Repository {
    /// A bare repository with one commit on `main`.
    pub fn create(dir: &Path) -> Repository {
        let (bare, work) = (dir.join("repo.git"), dir.join("work"));
        git(dir, &["init", "--quiet", "--bare", "-b", "main", "repo.git"]);
        git(dir, &["init", "--quiet", "-b", "main", "work"]);
        let this = Repository { bare, work };
        this.git(&["remote", "add", "origin", &this.url()]);
        this.commit("README", "first\n", "first commit");
        this
    }

    /// The work tree.
    pub fn work(&self) -> &Path {
        &self.work
    }

    pub fn url(&self) -> String {
        self.bare.display().to_string()
    }

    /// Commits a file on the current branch, without pushing; returns the commit's id.
    pub fn commit_only(&self, file: &str, text: &str, message: &str) -> String {
        std::fs::write(self.work.join(file), text).expect("the work tree is writable");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits and pushes.
    pub fn commit(&self, file: &str, text: &str, message: &str) -> String {
        let id = self.commit_only(file, text, message);
        self.push();
        id
    }

    pub fn push(&self) {
        self.git(&["push", "--quiet", "--force", "origin", "HEAD"]);
    }

    /// Runs git in the work tree.
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.work, args)
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
