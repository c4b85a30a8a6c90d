//! `steps.Git`: brings the work folder to the source stamp's revision.
//!
//! The `git` program does the work, run like any other command of a step. The
//! same few operations serve a new folder and an old one (init, fetch, checkout,
//! clean). A folder that the last build left in the middle of something is made
//! usable: stale lock files go, and if the fetch or checkout fails although the
//! remote repository answers, the folder is made anew, once. A password in the
//! address goes into a file for the program, so that neither a process list nor
//! the repository's configuration shows it.

mod args;
mod tree;

use super::source::{self, Call, Flow, Halt, Hidden, Ran, Retry, SHORT, Show, Tool, patch};
use super::step::{Done, StepError, StepRun};
use crate::exec::env::Environment;
use args::{check_branch, check_revision, check_url, is_full_id, protocols, refspec};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemill_lang::plan::{Git, GitMode};
use tidemill_model::repository::Login;
use tidemill_model::wire::LogKind;
use tokio::time::Instant;

/// Name under which properties are set.
const SOURCE: &str = "Git";

/// Settings for every call: no processes in the background, no chatter.
const CONFIG: [&str; 6] =
    ["-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false", "-c", "advice.detachedHead=false"];

pub(super) async fn run(step: &mut StepRun<'_>, git: Git) -> Result<Done, StepError> {
    if let Some(dir) = crate::tree::place(step.site.folder, &git.workdir) {
        return tree::run(step, &git, dir).await;
    }
    let stamp = step.context.sourcestamps.iter().find(|s| s.codebase == git.codebase).cloned().unwrap_or_default();
    let some = |text: Option<String>| text.filter(|t| !t.is_empty());
    let url = if git.repourl.is_empty() { stamp.repository.clone() } else { git.repourl.clone() };
    let branch = some(stamp.branch.clone()).or(some(git.branch.clone()));
    // What was approved of an outsider is this revision, and no newer one.
    let revision = some(stamp.revision.clone()).filter(|_| !(git.always_use_latest && step.site.claim.trusted));
    check_url(&url).map_err(StepError::Other)?;
    branch.as_deref().map_or(Ok(()), check_branch).map_err(StepError::Other)?;
    revision.as_deref().map_or(Ok(()), check_revision).map_err(StepError::Other)?;

    let dir = step.workdir(&git.workdir)?;
    let env = environment(step, &dir, &url)?;
    let (url, login) = Login::apart(&url);
    let login = login.map(|l| Hidden::write(step.site.folder, "login", &l.line_of_git(&url))).transpose()?;
    let mut log = step.open_log("stdio", LogKind::Stdio);
    log.header(&format!("update {}\n from {url}\n", dir.display()));
    let begun = Instant::now();
    let timeout = git.timeout_us.map(Duration::from_micros);
    let tool = Tool { step, log, env, dir, timeout };
    let mut checkout = Checkout { tool, git: &git, url, login, branch, revision };
    let mut end = checkout.update().await;
    if let (Ok(_), Some(patch)) = (&end, &stamp.patch)
        && let Err(halt) = checkout.tool.apply(patch, patch::Tree::Git).await
    {
        end = Err(halt);
    }
    let mut log = checkout.tool.log;
    log.header(&format!("elapsedTime={:.6}\n", begun.elapsed().as_secs_f64()));
    log.finish();
    source::finish(step, &git.codebase, SOURCE, end)
}

fn environment(step: &StepRun<'_>, dir: &Path, url: &str) -> Result<Environment, StepError> {
    let mut env = source::environment(step, dir)?;
    env.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
    env.insert("GIT_ALLOW_PROTOCOL".into(), protocols(url).into());
    if !env.contains_key(std::ffi::OsStr::new("GIT_SSH")) {
        // Nobody is there to answer a question about a host key.
        env.entry("GIT_SSH_COMMAND".into()).or_insert("ssh -oBatchMode=yes".into());
    }
    Ok(env)
}

struct Checkout<'a, 'b> {
    tool: Tool<'a, 'b>,
    git: &'a Git,
    url: String,
    login: Option<Hidden>,
    branch: Option<String>,
    revision: Option<String>,
}

impl Checkout<'_, '_> {
    /// Gives the full id of what is checked out.
    async fn update(&mut self) -> Flow<String> {
        if self.git.mode == GitMode::FullClobber {
            self.tool.clear().await?;
        }
        let was_there = self.tool.dir.join(".git").exists();
        match self.update_once().await {
            Err(Halt::Failed(note)) if was_there => {
                if !self.remote_has_it().await? {
                    return Err(Halt::Failed(note));
                }
                self.tool.log.header("the repository in this folder is broken; making it anew\n");
                self.tool.clear().await?;
                self.update_once().await
            }
            other => other,
        }
    }

    async fn update_once(&mut self) -> Flow<String> {
        if self.tool.dir.join(".git").exists() {
            self.remove_locks().await?;
        } else {
            self.must(&["init", "--quiet", "."]).await?;
            self.must(&["config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"]).await?;
        }
        // Submodules with relative addresses, and people, look here.
        let url = self.url.clone();
        self.must(&["config", "remote.origin.url", &url]).await?;
        let id = self.find().await?;
        self.must(&["checkout", "--quiet", "--force", "--detach", &id]).await?;
        let clean: Option<&[&str]> = match self.git.mode {
            GitMode::Incremental | GitMode::FullClobber => None,
            GitMode::FullFresh => Some(&["clean", "--quiet", "-d", "-f", "-f", "-x"]),
            GitMode::FullClean => Some(&["clean", "--quiet", "-d", "-f", "-f"]),
        };
        if let Some(clean) = clean {
            self.must(clean).await?;
        }
        if self.git.submodules {
            self.submodules().await?;
        }
        match self.resolve("HEAD").await? {
            Some(head) => Ok(head),
            None => Err(Halt::Failed("git does not name the checked out revision".into())),
        }
    }

    async fn submodules(&mut self) -> Flow<()> {
        self.must(&["submodule", "sync", "--quiet", "--recursive"]).await?;
        self.must(&["submodule", "update", "--init", "--recursive", "--force"]).await?;
        if self.git.mode == GitMode::FullFresh {
            self.must(&["submodule", "--quiet", "foreach", "--recursive", "git clean --quiet -d -f -f -x"]).await?;
        }
        Ok(())
    }

    /// The id to check out; fetches what is not there.
    async fn find(&mut self) -> Flow<String> {
        let Some(revision) = self.revision.clone() else {
            self.fetch(None, true).await?;
            let (_, local) = refspec(self.branch.as_deref());
            return self.resolve(&local).await?.ok_or_else(|| self.missing(&local));
        };
        if !is_full_id(&revision) {
            self.fetch(None, true).await?;
            return self.resolve(&revision).await?.ok_or_else(|| self.missing(&revision));
        }
        if let Some(id) = self.resolve(&revision).await? {
            self.tool.log.header("the revision is here already\n");
            return Ok(id);
        }
        // The branch may be gone while its revision is still to be had.
        let fetched = self.fetch(None, true).await;
        if !matches!(fetched, Ok(()) | Err(Halt::Failed(_))) {
            fetched?;
        } else if let Some(id) = self.resolve(&revision).await? {
            return Ok(id);
        } else if self.fetch(Some(&revision), false).await.is_ok()
            && let Some(id) = self.resolve(&revision).await?
        {
            return Ok(id);
        } else {
            fetched?;
        }
        if self.tool.dir.join(".git/shallow").exists() {
            self.tool.log.header("the revision is older than the shallow history; fetching all of it\n");
            let (spec, _) = refspec(self.branch.as_deref());
            let url = self.url.clone();
            self.must(&["fetch", "--progress", "--force", "--unshallow", "--", &url, &spec]).await?;
            if let Some(id) = self.resolve(&revision).await? {
                return Ok(id);
            }
        }
        Err(self.missing(&revision))
    }

    fn missing(&self, what: &str) -> Halt {
        Halt::Missing(format!("{what} is not in the repository"))
    }

    /// Fetches the branch, or one object.
    async fn fetch(&mut self, object: Option<&str>, retry: bool) -> Flow<()> {
        let spec = object.map_or_else(|| refspec(self.branch.as_deref()).0, str::to_owned);
        let url = self.url.clone();
        let depth = self.git.shallow.map(|d| d.max(1).to_string());
        // Progress, so that a long fetch is not taken for one that hangs.
        let mut args = vec!["fetch", "--progress", "--force"];
        if let Some(depth) = &depth {
            args.extend(["--depth", depth]);
        }
        args.extend(["--", &url, &spec]);
        let mut retry = Retry::new(self.git.retry.filter(|_| retry));
        loop {
            match self.must(&args).await {
                Ok(()) => return Ok(()),
                Err(halt) => retry.after(halt, &mut self.tool).await?,
            }
        }
    }

    /// Whether the remote repository answers and has the wanted ref: then the
    /// folder is to blame for a failure.
    async fn remote_has_it(&mut self) -> Flow<bool> {
        let (spec, _) = refspec(self.branch.as_deref());
        let remote = spec.trim_start_matches('+').split(':').next().unwrap_or("HEAD").to_owned();
        let url = self.url.clone();
        let parent = self.tool.dir.parent().unwrap_or(&self.tool.dir).to_owned();
        let ran = self.git(&["ls-remote", "--", &url, &remote], &parent, SHORT).await?;
        Ok(ran.code == 0 && !ran.out.is_empty())
    }

    /// The full id of a commit, if it is there.
    async fn resolve(&mut self, revision: &str) -> Flow<Option<String>> {
        let commit = format!("{revision}^{{commit}}");
        let dir = self.tool.dir.clone();
        let ran = self.git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit], &dir, SHORT).await?;
        // Some versions print the option itself.
        let id = ran.out.lines().last().unwrap_or_default().trim().to_owned();
        Ok((ran.code == 0 && is_full_id(&id)).then_some(id))
    }

    /// Lock files of a git that was killed: no other git works here, as the
    /// folder belongs to this build alone.
    async fn remove_locks(&mut self) -> Flow<()> {
        let git = self.tool.dir.join(".git");
        let removed = tokio::task::spawn_blocking(move || remove_locks(&git)).await.unwrap_or_default();
        for path in removed {
            self.tool.log.header(&format!("removed the stale lock file {}\n", path.display()));
        }
        Ok(())
    }

    async fn must(&mut self, args: &[&str]) -> Flow<()> {
        let dir = self.tool.dir.clone();
        let ran = self.git(args, &dir, Show::All).await?;
        match ran.code {
            0 => Ok(()),
            _ => Err(Halt::Failed(format!("git {} failed", args[0]))),
        }
    }

    async fn git(&mut self, args: &[&str], dir: &Path, show: Show) -> Flow<Ran> {
        let words = format!("git {}", args.join(" "));
        // None of the machine's own, then ours.
        let path = self.login.as_ref().map(|login| login.path().to_string_lossy().replace('\'', "'\\''"));
        let helper = path.map(|path| format!("credential.helper=store --file='{path}'"));
        let helper = helper.iter().flat_map(|ours| ["-c", "credential.helper=", "-c", ours.as_str()]);
        let argv = std::iter::once("git").chain(CONFIG).chain(helper).chain(args.iter().copied()).collect();
        self.tool.run(Call { argv, dir: Some(dir), stdin: None, show, words }).await
    }
}

fn remove_locks(git: &Path) -> Vec<PathBuf> {
    let mut removed = Vec::new();
    let mut folders = vec![(git.to_owned(), false), (git.join("refs"), true)];
    while let Some((folder, deep)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if deep && kind.as_ref().is_ok_and(|t| t.is_dir()) {
                folders.push((path, true));
            } else if path.extension().is_some_and(|e| e == "lock")
                && kind.is_ok_and(|t| t.is_file())
                && std::fs::remove_file(&path).is_ok()
            {
                removed.push(path);
            }
        }
    }
    removed
}
