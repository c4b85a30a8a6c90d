//! `steps.Mercurial`: brings the work folder to the source stamp's revision.
//!
//! The `hg` program does the work. A folder that was cloned from another address
//! is made anew; one that cannot pull although the repository answers, too, once.
//! A password in the address goes into a file for the program, so that no process
//! list shows it.

use super::check::{check_branch, check_url};
use super::{Call, Flow, Halt, Hidden, Ran, Retry, SHORT, Show, Tool, environment, finish, patch};
use crate::build::step::{Done, StepError, StepRun};
use std::time::Duration;
use tidemill_lang::plan::{Mercurial, SourceMode};
use tidemill_model::repository::Login;
use tidemill_model::wire::LogKind;
use tokio::time::Instant;

const PROTOCOLS: [&str; 4] = ["file", "http", "https", "ssh"];

/// Tells that a patch was applied: the next build has to clean up. Goes with the clone.
const PATCHED: &str = ".hg/tidemill-patched";

/// The name of the default branch.
const DEFAULT: &str = "default";

pub(in crate::build) async fn run(step: &mut StepRun<'_>, mut hg: Mercurial) -> Result<Done, StepError> {
    hg.checkout.repourl = step.secrets.resolve(&hg.checkout.repourl)?;
    let c = hg.checkout.clone();
    let stamp = step.context.sourcestamps.iter().find(|s| s.codebase == c.codebase).cloned().unwrap_or_default();
    let some = |text: Option<String>| text.filter(|t| !t.is_empty());
    let repourl = if c.repourl.is_empty() { stamp.repository.clone() } else { c.repourl.clone() };
    let branch = some(stamp.branch.clone()).or(c.default_branch.clone());
    // What was approved of an outsider is this revision, and no newer one.
    let revision = some(stamp.revision.clone()).filter(|_| !(c.always_use_latest && step.site.claim.trusted));
    branch.as_deref().map_or(Ok(()), check_branch).map_err(StepError::Other)?;
    revision.as_deref().map_or(Ok(()), check_revision).map_err(StepError::Other)?;
    let url = match (&branch, hg.by_folder) {
        (Some(branch), true) => format!("{}/{branch}", repourl.trim_end_matches('/')),
        _ => repourl,
    };
    check_url(&url, &PROTOCOLS).map_err(StepError::Other)?;
    let (url, login) = Login::apart(&url);
    let branch = branch.filter(|_| !hg.by_folder).unwrap_or_else(|| DEFAULT.to_owned());

    let dir = step.workdir(&c.workdir)?;
    let mut env = environment(step, &dir)?;
    env.insert("HGPLAIN".into(), "1".into());
    let config = login.map(|login| {
        // After what the worker's user has configured.
        let home = std::env::var("HOME").unwrap_or_default();
        let own = format!("%include /etc/mercurial/hgrc\n%include {home}/.hgrc\n{}", login.lines_of_hg(&url));
        Hidden::write(step.site.folder, "hgrc", &own)
    });
    let config = config.transpose()?;
    if let Some(config) = &config {
        env.insert("HGRCPATH".into(), config.path().into());
    }
    let mut log = step.open_log("stdio", LogKind::Stdio);
    log.header(&format!("update {}\n from {url}\n", dir.display()));
    let begun = Instant::now();
    let timeout = c.timeout_us.map(Duration::from_micros);
    let tool = Tool { step, log, env, dir, timeout };
    let mut clone = Clone { tool, hg: &hg, url, branch, revision };
    let mut end = clone.update().await;
    if let (Ok(_), Some(patch)) = (&end, &stamp.patch)
        && let Err(halt) = clone.patched(patch).await
    {
        end = Err(halt);
    }
    let mut log = clone.tool.log;
    log.header(&format!("elapsedTime={:.6}\n", begun.elapsed().as_secs_f64()));
    log.finish();
    finish(step, &c.codebase, "Mercurial", end)
}

/// A revision, tag or bookmark by its name, and no expression.
fn check_revision(revision: &str) -> Result<(), String> {
    let plain = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    match revision.starts_with('-') || !revision.chars().all(plain) {
        true => Err(format!("{revision:?} is not a revision of Mercurial")),
        false => Ok(()),
    }
}

struct Clone<'a, 'b> {
    tool: Tool<'a, 'b>,
    hg: &'a Mercurial,
    url: String,
    branch: String,
    revision: Option<String>,
}

impl Clone<'_, '_> {
    /// Gives the full id of what is checked out.
    async fn update(&mut self) -> Flow<String> {
        let mut retry = Retry::new(self.hg.checkout.retry);
        loop {
            match self.update_once().await {
                Ok(id) => return Ok(id),
                Err(halt) => retry.after(halt, &mut self.tool).await?,
            }
        }
    }

    async fn update_once(&mut self) -> Flow<String> {
        let was_there = self.hg.checkout.mode != SourceMode::FullClobber && self.is_ours().await?;
        let brought = if was_there { self.pull().await } else { self.anew().await };
        match brought {
            Err(Halt::Failed(note)) if was_there => {
                if !self.answers().await? {
                    return Err(Halt::Failed(note));
                }
                self.tool.log.header("the clone in this folder is broken; making it anew\n");
                self.anew().await?;
            }
            other => other?,
        }
        let target = self.revision.clone().unwrap_or_else(|| self.branch.clone());
        let at = format!("--rev={target}");
        if self.call(&["update", "--clean", &at], Show::All).await?.code != 0 {
            return Err(Halt::Missing(format!("{target} is not in the repository, or cannot be checked out")));
        }
        match self.hg.checkout.mode {
            SourceMode::FullFresh => self.purge(true).await?,
            SourceMode::FullClean => self.purge(false).await?,
            _ => {}
        }
        let ran = self.call(&["parents", "--template", "{node}\n"], SHORT).await?;
        let id = ran.out.lines().next().unwrap_or_default().trim().to_owned();
        match ran.code == 0 && matches!(id.len(), 40 | 64) && id.bytes().all(|b| b.is_ascii_hexdigit()) {
            true => Ok(id),
            false => Err(Halt::Failed("hg does not name the checked out revision".into())),
        }
    }

    /// Whether the folder is a clone of this address, of a branch that need not be cloned anew.
    async fn is_ours(&mut self) -> Flow<bool> {
        if !self.tool.dir.join(".hg").is_dir() {
            return Ok(false);
        }
        let ran = self.call(&["paths", "default"], SHORT).await?;
        if ran.code != 0 || place(ran.out.trim()) != place(&self.url) {
            return Ok(false);
        }
        if self.hg.by_folder || !self.hg.clobber_on_branch_change {
            return Ok(true);
        }
        let ran = self.call(&["identify", "--branch"], SHORT).await?;
        let same = ran.out.trim() == self.branch;
        if !same {
            self.tool.log.header(&format!("the branch was {}, now it is {}\n", ran.out.trim(), self.branch));
        }
        Ok(ran.code == 0 && same)
    }

    async fn pull(&mut self) -> Flow<()> {
        // A killed hg leaves its locks; no other one works here.
        for lock in [".hg/wlock", ".hg/store/lock"] {
            let _ = std::fs::remove_file(self.tool.dir.join(lock));
        }
        if self.tool.dir.join(PATCHED).exists() {
            // Files that a patch added are nobody's now.
            self.must(&["update", "--clean", "--rev=."]).await?;
            self.purge(false).await?;
            let _ = std::fs::remove_file(self.tool.dir.join(PATCHED));
        }
        let url = self.url.clone();
        self.must(&["pull", "--", &url]).await
    }

    async fn anew(&mut self) -> Flow<()> {
        self.tool.clear().await?;
        let url = self.url.clone();
        self.must(&["clone", "--noupdate", "--", &url, "."]).await
    }

    async fn answers(&mut self) -> Flow<bool> {
        let url = self.url.clone();
        Ok(self.call(&["identify", "--id", "--", &url], SHORT).await?.code == 0)
    }

    async fn purge(&mut self, ignored_too: bool) -> Flow<()> {
        let mut args = vec!["--config", "extensions.purge=", "purge"];
        if ignored_too {
            args.push("--all");
        }
        self.must(&args).await
    }

    async fn patched(&mut self, patch: &tidemill_model::Patch) -> Flow<()> {
        let note = self.tool.dir.join(PATCHED);
        std::fs::write(&note, "").map_err(|e| StepError::Other(format!("cannot write {}: {e}", note.display())))?;
        self.tool.apply(patch, patch::Tree::Other).await
    }

    async fn must(&mut self, args: &[&str]) -> Flow<()> {
        match self.call(args, Show::All).await?.code {
            0 => Ok(()),
            _ => {
                let name = args.iter().find(|a| !a.starts_with('-') && !a.contains('=')).unwrap_or(&"");
                Err(Halt::Failed(format!("hg {name} failed")))
            }
        }
    }

    async fn call(&mut self, args: &[&str], show: Show) -> Flow<Ran> {
        let argv: Vec<&str> = ["hg", "--noninteractive"].into_iter().chain(args.iter().copied()).collect();
        let words = argv.join(" ");
        self.tool.run(Call { argv, dir: None, stdin: None, show, words }).await
    }
}

/// A path and its file address are one place.
fn place(url: &str) -> &str {
    url.strip_prefix("file://").unwrap_or(url).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_name_and_no_expression() {
        for good in ["0123abcd", "tip", "v1.0", "feature/x", "7"] {
            assert!(check_revision(good).is_ok(), "{good}");
        }
        for bad in ["--config=x", "last(all())", "a b", "x:y", "tip^", "a;b"] {
            assert!(check_revision(bad).is_err(), "{bad}");
        }
    }
}
