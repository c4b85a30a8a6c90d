//! `steps.Git` where the person's working tree stands in for the checkout: the
//! tree is looked at and left as it is.

use super::args::is_full_id;
use super::{Checkout, SOURCE, environment};
use crate::build::source::{self, Flow, Halt, SHORT, Tool};
use crate::build::step::{Done, StepError, StepRun};
use std::path::PathBuf;
use tidemill_lang::plan::Git;
use tidemill_model::Results;
use tidemill_model::wire::LogKind;

/// The person named this tree: that its files belong to somebody else is no surprise.
const TRUST: [&str; 2] = ["-c", "safe.directory=*"];

pub(super) async fn run(step: &mut StepRun<'_>, git: &Git, dir: PathBuf) -> Result<Done, StepError> {
    if !dir.is_dir() {
        let text = format!("{} is not there, and the working tree is not changed: check it out by hand", dir.display());
        return Err(StepError::Other(text));
    }
    let mut env = environment(step, &dir, "")?;
    // Even a refreshed index is a change.
    env.insert("GIT_OPTIONAL_LOCKS".into(), "0".into());
    let mut log = step.open_log("stdio", LogKind::Stdio);
    log.header(&format!("the working tree as it is: {}\n", dir.display()));
    let timeout = git.timeout_us.map(std::time::Duration::from_micros);
    let tool = Tool { step, log, env, dir, timeout };
    let mut checkout = Checkout { tool, git, url: String::new(), login: None, branch: None, revision: None };
    let looked = checkout.look().await;
    checkout.tool.log.finish();
    let (results, note) = match looked {
        Ok(Seen { commit: Some(id), note }) => (source::finish(step, &git.codebase, SOURCE, Ok(id))?, note),
        Ok(Seen { commit: None, note }) => (Done::with(Results::Success), note),
        Err(halt) => return source::finish(step, &git.codebase, SOURCE, Err(halt)),
    };
    match results {
        Done::Results { results, .. } => Ok(Done::Results { results, note: note.into() }),
        other => Ok(other),
    }
}

struct Seen {
    /// None without a repository or commit.
    commit: Option<String>,
    note: &'static str,
}

impl Checkout<'_, '_> {
    async fn look(&mut self) -> Flow<Seen> {
        let dir = self.tool.dir.clone();
        let commit = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
        let ran = self.git(&[&TRUST[..], &commit].concat(), &dir, SHORT).await?;
        let id = ran.out.trim().to_owned();
        if ran.code != 0 || !is_full_id(&id) {
            self.tool.log.header("it is no git repository with a commit: got_revision is not set\n");
            return Ok(Seen { commit: None, note: "the working tree, without a commit" });
        }
        // Of a long list the beginning is enough.
        let ran = self.git(&[&TRUST[..], &["status", "--porcelain"]].concat(), &dir, SHORT).await?;
        let (text, note) = match (ran.code, ran.out.is_empty()) {
            (0, true) => ("clean: just as that commit", "the working tree, clean"),
            (0, false) => ("dirty: with changes that are not committed", "the working tree, dirty"),
            _ => return Err(Halt::Failed("git status failed".into())),
        };
        self.tool.log.header(&format!("HEAD is {id}\n{text}\n"));
        Ok(Seen { commit: Some(id), note })
    }
}
