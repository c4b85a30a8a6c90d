//! `steps.SVN`: brings the work folder to the source stamp's revision.
//!
//! The `svn` program does the work. A folder that was checked out from another
//! address is made anew; one that cannot be brought up to date although the
//! repository answers, too, once. A password goes through the program's standard
//! input, so that no process list shows it.

use super::check::{check_branch, check_url};
use super::{Call, Flow, Halt, Ran, Retry, SHORT, Show, Tool, environment, finish, folder, patch};
use crate::build::step::{Done, StepError, StepRun};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemill_lang::plan::{SourceMode, Svn};
use tidemill_model::repository::Login;
use tidemill_model::wire::LogKind;
use tokio::time::Instant;

/// Transports of Subversion; tunnels of the worker's configuration are none.
const PROTOCOLS: [&str; 5] = ["file", "http", "https", "svn", "svn+ssh"];

/// Where `copy` and `export` keep their checkout, below the builder's folder.
const BESIDE: &str = "source";

/// Tells that a patch was applied: the next build has to clean up. Goes with the checkout.
const PATCHED: &str = ".svn/tidemill-patched";

pub(in crate::build) async fn run(step: &mut StepRun<'_>, mut svn: Svn) -> Result<Done, StepError> {
    let secrets = step.secrets.clone();
    let value = |text: &mut String| -> Result<(), StepError> {
        *text = secrets.resolve(text)?;
        Ok(())
    };
    value(&mut svn.checkout.repourl)?;
    svn.username.as_mut().map_or(Ok(()), value)?;
    svn.password.as_mut().map_or(Ok(()), value)?;
    svn.extra_args.iter_mut().try_for_each(value)?;

    let c = svn.checkout.clone();
    let stamp = step.context.sourcestamps.iter().find(|s| s.codebase == c.codebase).cloned().unwrap_or_default();
    let some = |text: Option<String>| text.filter(|t| !t.is_empty());
    let repourl = if c.repourl.is_empty() { stamp.repository.clone() } else { c.repourl.clone() };
    let branch = some(stamp.branch.clone()).or(c.default_branch.clone());
    // What was approved of an outsider is this revision, and no newer one.
    let revision = some(stamp.revision.clone()).filter(|_| !(c.always_use_latest && step.site.claim.trusted));
    branch.as_deref().map_or(Ok(()), check_branch).map_err(StepError::Other)?;
    revision.as_deref().map_or(Ok(()), check_revision).map_err(StepError::Other)?;
    let url = address(&repourl, branch.as_deref());
    check_url(&url, &PROTOCOLS).map_err(StepError::Other)?;
    let (url, login) = Login::apart(&url);
    if let Some(login) = login {
        svn.username.get_or_insert(login.user);
        svn.password.get_or_insert(login.password);
    }

    let target = step.workdir(&c.workdir)?;
    let dir = match c.mode {
        SourceMode::FullCopy | SourceMode::FullExport => step.workdir(&format!("{BESIDE}/{}", c.workdir))?,
        _ => target.clone(),
    };
    let env = environment(step, &target)?;
    let mut log = step.open_log("stdio", LogKind::Stdio);
    log.header(&format!("update {}\n from {url}\n", target.display()));
    let begun = Instant::now();
    let timeout = c.timeout_us.map(Duration::from_micros);
    let tool = Tool { step, log, env, dir, timeout };
    let mut checkout = Checkout { tool, svn: &svn, url, revision, target };
    let mut end = checkout.update().await;
    if let (Ok(_), Some(patch)) = (&end, &stamp.patch)
        && let Err(halt) = checkout.patched(patch).await
    {
        end = Err(halt);
    }
    let mut log = checkout.tool.log;
    log.header(&format!("elapsedTime={:.6}\n", begun.elapsed().as_secs_f64()));
    log.finish();
    finish(step, &c.codebase, "SVN", end)
}

/// The branch in place of `%%BRANCH%%`, or at the end (C-18).
fn address(repourl: &str, branch: Option<&str>) -> String {
    let branch = branch.unwrap_or_default().trim_matches('/');
    if repourl.contains("%%BRANCH%%") {
        return repourl.replace("%%BRANCH%%", branch);
    }
    match branch {
        "" => repourl.to_owned(),
        branch => format!("{}/{branch}", repourl.trim_end_matches('/')),
    }
}

fn check_revision(revision: &str) -> Result<(), String> {
    let number = revision.strip_prefix('r').unwrap_or(revision);
    match revision == "HEAD" || (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())) {
        true => Ok(()),
        false => Err(format!("{revision:?} is not a revision of Subversion")),
    }
}

struct Checkout<'a, 'b> {
    tool: Tool<'a, 'b>,
    svn: &'a Svn,
    url: String,
    revision: Option<String>,
    /// The work folder; the checkout may be beside it.
    target: PathBuf,
}

impl Checkout<'_, '_> {
    /// Gives the revision that is there then.
    async fn update(&mut self) -> Flow<String> {
        let mut retry = Retry::new(self.svn.checkout.retry);
        loop {
            match self.update_once().await {
                Ok(id) => return Ok(id),
                Err(halt) => retry.after(halt, &mut self.tool).await?,
            }
        }
    }

    async fn update_once(&mut self) -> Flow<String> {
        let mode = self.svn.checkout.mode;
        let was_there = mode != SourceMode::FullClobber && self.is_ours().await?;
        let brought = if was_there { self.bring().await } else { self.anew().await };
        match brought {
            Err(Halt::Failed(note)) if was_there => {
                if !self.answers().await? {
                    return Err(Halt::Failed(note));
                }
                self.tool.log.header("the checkout in this folder is broken; making it anew\n");
                self.anew().await?;
            }
            other => other?,
        }
        let item = if self.svn.prefer_last_changed_rev { "last-changed-revision" } else { "revision" };
        let ran = self.quiet(&["info", "--show-item", item, "."]).await?;
        let id = ran.out.trim().to_owned();
        if ran.code != 0 || !id.bytes().all(|b| b.is_ascii_digit()) || id.is_empty() {
            return Err(Halt::Failed("svn does not name the checked out revision".into()));
        }
        match mode {
            SourceMode::FullCopy => self.copy().await?,
            SourceMode::FullExport => self.export().await?,
            _ => {}
        }
        Ok(id)
    }

    /// Whether the folder is a checkout of this address.
    async fn is_ours(&mut self) -> Flow<bool> {
        if !self.tool.dir.join(".svn").is_dir() {
            return Ok(false);
        }
        let ran = self.quiet(&["info", "--show-item", "url", "."]).await?;
        let there = ran.out.trim().trim_end_matches('/') == encoded(&self.url).trim_end_matches('/')
            || ran.out.trim().trim_end_matches('/') == self.url.trim_end_matches('/');
        Ok(ran.code == 0 && there)
    }

    /// Brings a checkout up to date.
    async fn bring(&mut self) -> Flow<()> {
        match self.svn.checkout.mode {
            SourceMode::FullFresh => self.purge(true).await?,
            SourceMode::FullClean => self.purge(false).await?,
            // Files that a patch added are nobody's now.
            _ if self.tool.dir.join(PATCHED).exists() => self.purge(false).await?,
            _ => {}
        }
        let _ = std::fs::remove_file(self.tool.dir.join(PATCHED));
        let mut args = vec!["update", "."];
        if let Some(depth) = &self.svn.depth {
            args.extend(["--set-depth", depth]);
        }
        self.networked(args).await
    }

    async fn anew(&mut self) -> Flow<()> {
        self.tool.clear().await?;
        let url = pegged(&self.url);
        let mut args = vec!["checkout", url.as_str(), "."];
        if let Some(depth) = &self.svn.depth {
            args.extend(["--depth", depth]);
        }
        self.networked(args).await
    }

    /// With the revision, and who asks.
    async fn networked(&mut self, mut args: Vec<&str>) -> Flow<()> {
        let revision = self.revision.clone();
        if let Some(revision) = &revision {
            args.extend(["-r", revision]);
        }
        let name = args[0].to_owned();
        match self.call(args, Show::All, true).await?.code {
            0 => Ok(()),
            _ => Err(Halt::Failed(format!("svn {name} failed"))),
        }
    }

    /// Whether the repository answers and has the address: then the folder is to
    /// blame for a failure.
    async fn answers(&mut self) -> Flow<bool> {
        let url = pegged(&self.url);
        Ok(self.call(vec!["info", "--show-item", "revision", &url], SHORT, true).await?.code == 0)
    }

    /// Back to what is of the repository.
    async fn purge(&mut self, ignored_too: bool) -> Flow<()> {
        self.must(&["cleanup", "."]).await?;
        self.must(&["revert", "--quiet", "--recursive", "."]).await?;
        let keep = &self.svn.keep_on_purge;
        if keep.is_empty() {
            let mut args = vec!["cleanup", "--remove-unversioned"];
            if ignored_too {
                args.push("--remove-ignored");
            }
            args.push(".");
            return self.must(&args).await;
        }
        let args: &[&str] = if ignored_too { &["status", "--no-ignore"] } else { &["status"] };
        let listed = self.call(args.to_vec(), Show::Nothing(16 << 20), false).await?;
        let foreign = listed.out.lines().filter(|l| l.starts_with(['?', 'I'])).filter_map(|l| l.get(8..));
        for name in foreign.filter(|name| !keep.iter().any(|k| k == name)) {
            let path = self.tool.dir.join(name);
            // Names as svn lists them lie in the checkout; a link is removed, not followed.
            let removed = std::fs::symlink_metadata(&path).and_then(|meta| folder::remove(&path, meta.is_dir()));
            if let Err(error) = removed {
                self.tool.log.header(&format!("cannot remove {name}: {error}\n"));
            }
        }
        Ok(())
    }

    async fn copy(&mut self) -> Flow<()> {
        self.empty_target().await?;
        let from = format!("{}/.", self.tool.dir.display());
        let to = self.target.display().to_string();
        let argv = vec!["cp", "-a", "--", &from, &to];
        let words = argv.join(" ");
        match self.tool.run(Call { argv, dir: None, stdin: None, show: Show::All, words }).await?.code {
            0 => Ok(()),
            _ => Err(Halt::Failed("cannot copy the checkout".into())),
        }
    }

    async fn export(&mut self) -> Flow<()> {
        self.empty_target().await?;
        let to = pegged(&self.target.display().to_string());
        self.must(&["export", "--quiet", "--force", ".", &to]).await
    }

    async fn empty_target(&mut self) -> Flow<()> {
        let checkout = std::mem::replace(&mut self.tool.dir, self.target.clone());
        let cleared = self.tool.clear().await;
        self.tool.dir = checkout;
        cleared
    }

    /// Applies the patch in the work folder.
    async fn patched(&mut self, patch: &tidemill_model::Patch) -> Flow<()> {
        self.tool.dir.clone_from(&self.target);
        let note = self.tool.dir.join(PATCHED);
        if note.parent().is_some_and(Path::is_dir) {
            std::fs::write(&note, "").map_err(|e| StepError::Other(format!("cannot write {}: {e}", note.display())))?;
        }
        self.tool.apply(patch, patch::Tree::Other).await
    }

    async fn must(&mut self, args: &[&str]) -> Flow<()> {
        match self.call(args.to_vec(), Show::All, false).await?.code {
            0 => Ok(()),
            _ => Err(Halt::Failed(format!("svn {} failed", args[0]))),
        }
    }

    async fn quiet(&mut self, args: &[&str]) -> Flow<Ran> {
        self.call(args.to_vec(), SHORT, false).await
    }

    async fn call(&mut self, args: Vec<&str>, show: Show, networked: bool) -> Flow<Ran> {
        let svn = self.svn;
        let mut argv: Vec<&str> = std::iter::once("svn").chain(args).collect();
        argv.push("--non-interactive");
        let mut stdin = None;
        if networked {
            argv.push("--no-auth-cache");
            if let Some(username) = &svn.username {
                argv.extend(["--username", username]);
            }
            if let Some(password) = &svn.password {
                argv.push("--password-from-stdin");
                stdin = Some(format!("{password}\n"));
            }
            argv.extend(svn.extra_args.iter().map(String::as_str));
        }
        let words = self.tool.step.secrets.shown(&argv.join(" "));
        self.tool.run(Call { argv, dir: None, stdin, show, words }).await
    }
}

/// An `@` in the last part would be taken for the begin of a peg revision.
fn pegged(url: &str) -> String {
    match url.rsplit('/').next().is_some_and(|last| last.contains('@')) {
        true => format!("{url}@"),
        false => url.to_owned(),
    }
}

/// As svn prints it.
fn encoded(url: &str) -> String {
    url.replace(' ', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_is_put_into_the_address_or_at_its_end() {
        assert_eq!(address("svn://h/r/", Some("branches/1")), "svn://h/r/branches/1");
        assert_eq!(address("svn://h/r/%%BRANCH%%/web", Some("trunk")), "svn://h/r/trunk/web");
        assert_eq!(address("svn://h/r/trunk", None), "svn://h/r/trunk");
    }

    #[test]
    fn only_a_number_is_a_revision() {
        for good in ["7", "r7", "HEAD"] {
            assert!(check_revision(good).is_ok(), "{good}");
        }
        for bad in ["", "r", "-1", "1:2", "{2020-01-01}", "7 --config-dir=x", "PREV"] {
            assert!(check_revision(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_at_sign_in_a_name_is_no_peg_revision() {
        assert_eq!(pegged("svn://me@h/r"), "svn://me@h/r");
        assert_eq!(pegged("svn://h/r@1"), "svn://h/r@1@");
    }
}
