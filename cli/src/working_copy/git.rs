//! The difference of a git working copy: from the commit that its upstream has
//! to the files as they are, staged or not, with local commits between.

use super::{Difference, Wish, output, text};
use crate::error::{Doing, Failure, Result};
use crate::project::git::{command, git, without_secret};
use std::path::Path;

/// The same text whatever the person's configuration.
const DIFF: [&str; 8] = [
    "--binary",
    "--full-index",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--ignore-submodules=dirty",
];

pub fn difference(top: &Path, wish: &Wish) -> Result<Difference> {
    let upstream = Upstream::find(top)?;
    let base = match &wish.base {
        Some(named) => commit(top, named)?,
        None => upstream.base(top)?,
    };
    let body = match wish.untracked {
        false => diff(top, &["diff"], &base, None)?,
        true => snapshot(top, &base)?,
    };
    let others = git(top, &["ls-files", "--others", "--exclude-standard", "-z"])?;
    let left_out = if wish.untracked { 0 } else { others.split('\0').filter(|f| !f.is_empty()).count() };
    Ok(Difference {
        body,
        level: 1,
        base: Some(base),
        branch: upstream.branch,
        repository: Some(upstream.repository),
        who: who(top),
        left_out,
        ..Difference::default()
    })
}

/// Where builders get the commits from.
struct Upstream {
    repository: String,
    branch: Option<String>,
    /// The ref that says what is there; none where there is no other repository.
    tracking: Option<String>,
}

impl Upstream {
    fn find(top: &Path) -> Result<Upstream> {
        let ask = |args: &[&str]| git(top, args).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let current = ask(&["symbolic-ref", "--quiet", "--short", "HEAD"]);
        let remotes = ask(&["remote"]).unwrap_or_default();
        if remotes.is_empty() {
            // Builders clone this very repository.
            return Ok(Upstream { repository: top.display().to_string(), branch: current, tracking: None });
        }
        let configured = current.as_ref().and_then(|branch| {
            let remote = ask(&["config", "--get", &format!("branch.{branch}.remote")])?;
            let merge = ask(&["config", "--get", &format!("branch.{branch}.merge")])?;
            let tracking = ask(&["rev-parse", "--symbolic-full-name", &format!("{branch}@{{upstream}}")])?;
            Some((remote, merge.strip_prefix("refs/heads/").unwrap_or(&merge).to_owned(), tracking))
        });
        // A branch that nobody else has yet is tried on top of the default branch.
        let (remote, branch, tracking) = match configured {
            Some((remote, branch, tracking)) if remote != "." => (remote, Some(branch), Some(tracking)),
            _ => {
                let first = remotes.lines().find(|r| *r == "origin").or(remotes.lines().next()).unwrap_or_default();
                let folder = format!("refs/remotes/{first}/");
                let there =
                    |name: &str| ask(&["rev-parse", "--verify", "--quiet", &format!("{folder}{name}")]).is_some();
                let same = current.clone().filter(|c| there(c));
                let default = || ask(&["symbolic-ref", "--quiet", &format!("{folder}HEAD")]);
                let branch = same.or_else(|| default().and_then(|d| d.strip_prefix(&folder).map(str::to_owned)));
                let tracking = branch.as_ref().map(|b| format!("{folder}{b}"));
                (first.to_owned(), branch, tracking)
            }
        };
        let url = ask(&["remote", "get-url", &remote]).unwrap_or_default();
        Ok(Upstream { repository: without_secret(&url), branch, tracking })
    }

    fn base(&self, top: &Path) -> Result<String> {
        let Some(tracking) = &self.tracking else {
            if self.repository == top.display().to_string() {
                return commit(top, "HEAD");
            }
            return Err(Failure::usage("this branch has no upstream, so nobody knows what the builders can check out")
                .hint("set one (git branch --set-upstream-to=origin/main), or say the commit with --base"));
        };
        let base = git(top, &["merge-base", "HEAD", tracking]).map_err(|_| {
            Failure::usage(format!("this branch and {tracking} have no commit in common"))
                .hint("say with --base on which commit of the upstream to try it")
        })?;
        Ok(base.trim().to_owned())
    }
}

fn commit(top: &Path, named: &str) -> Result<String> {
    let asked = format!("{named}^{{commit}}");
    let id = git(top, &["rev-parse", "--verify", "--quiet", "--end-of-options", &asked])
        .map_err(|_| Failure::usage(format!("{named:?} is no commit of this repository")))?;
    Ok(id.lines().last().unwrap_or_default().trim().to_owned())
}

fn diff(top: &Path, first: &[&str], base: &str, index: Option<&Snapshot>) -> Result<Vec<u8>> {
    let mut command = command(top);
    if let Some(snapshot) = index {
        snapshot.on(&mut command);
    }
    command.args(["-c", "core.quotepath=on", "-c", "diff.noprefix=false"]).args(first).args(DIFF).arg(base).arg("--");
    output(command, "git", "diff")
}

/// Of everything that is not ignored, tracked or not. It is gathered in an index and
/// a folder of objects of its own, so that the repository stays as it is.
fn snapshot(top: &Path, base: &str) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir().doing(|| "make a temporary folder".into())?;
    let objects = git(top, &["rev-parse", "--path-format=absolute", "--git-path", "objects"])?;
    let index = git(top, &["rev-parse", "--path-format=absolute", "--git-path", "index"])?;
    let snapshot = Snapshot { index: dir.path().join("index"), objects: dir.path().join("objects"), others: objects };
    std::fs::create_dir(&snapshot.objects).doing(|| "make a temporary folder".into())?;
    // With what is known of unchanged files, so that they are not read again.
    let index = Path::new(index.trim_end_matches('\n'));
    if index.exists() {
        std::fs::copy(index, &snapshot.index).doing(|| format!("copy {}", index.display()))?;
    }
    let mut add = command(top);
    snapshot.on(&mut add);
    add.args(["-c", "core.fsmonitor=false", "-c", "core.splitIndex=false", "-c", "advice.addEmbeddedRepo=false"]);
    add.args(["add", "--all", "--", "."]);
    output(add, "git", "add")?;
    diff(top, &["diff", "--cached"], base, Some(&snapshot))
}

struct Snapshot {
    index: std::path::PathBuf,
    objects: std::path::PathBuf,
    /// The repository's own.
    others: String,
}

impl Snapshot {
    fn on(&self, command: &mut std::process::Command) {
        command
            .env("GIT_INDEX_FILE", &self.index)
            .env("GIT_OBJECT_DIRECTORY", &self.objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.others.trim_end_matches('\n'));
    }
}

fn who(top: &Path) -> String {
    let ask = |key: &str| {
        let mut asking = command(top);
        asking.args(["config", "--get", key]);
        output(asking, "git", "config").map(text).unwrap_or_default()
    };
    match (ask("user.name"), ask("user.email")) {
        (name, email) if name.is_empty() => email,
        (name, email) if email.is_empty() => name,
        (name, email) => format!("{name} <{email}>"),
    }
}
