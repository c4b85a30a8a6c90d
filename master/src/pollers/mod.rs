//! Pollers: each asks a version control system, a forge, a mail directory or a
//! function of the project what is new since a cursor. They write nothing but
//! copies under the cache folder, which may be lost: the loop
//! ([`crate::loops::poll_sources`]) takes due sources under a lease and commits
//! changes and cursor together, page by page.

pub mod addresses;
pub mod api;
pub mod arguments;
mod bounded;
pub mod custom;
pub mod documents;
pub mod functions;
pub mod gerrit;
pub mod git;
pub mod hg;
pub mod http;
mod mail;
pub mod places;
pub mod program;
pub mod pull_requests;
pub mod svn;

use functions::Functions;
use serde_json::Value;
use std::path::Path;
use tidemill_lang::definition::Declared;
use tidemill_model::NewChange;
use tidemill_model::repository::is_proposal;
use tidemill_service::secrets::{SecretError, Secrets};

/// What a poll may use.
pub struct World<'a> {
    /// For copies of repositories. Losing it costs time only.
    pub cache: &'a Path,
    /// Whether addresses of this machine may be reached.
    pub local: bool,
    pub secrets: &'a Secrets,
    /// The source's functions in the project file.
    pub functions: &'a Functions,
    /// When the poll began, microseconds since 1970, by the database.
    pub now_us: i64,
}

/// What a poll found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    pub changes: Vec<NewChange>,
    /// Where the next poll goes on.
    pub cursor: Value,
    /// There is more behind the cursor: poll again at once.
    pub more: bool,
    /// What people must know though the poll went well: shown where an error would be.
    pub note: Option<String>,
}

/// What became of a declared source.
pub enum Outcome {
    Found(Found),
    /// It is not polled: others push to it, or this release does not run it, and why.
    NotPolled(Option<String>),
}

/// Why a poll found nothing: shown at the change source, tried again later.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("{0}")]
    Refused(String),
    #[error("cannot run {program}: {error}; is it installed where masters run?")]
    Start { program: &'static str, error: std::io::Error },
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{command} failed ({status}): {stderr}")]
    Failed { command: String, status: std::process::ExitStatus, stderr: String },
    #[error("{0} took longer than {1} s")]
    TimedOut(String, u64),
    #[error("{0} said more than {1} bytes: does the address lead to a repository, and are all its branches wanted?")]
    TooMuch(String, u64),
    #[error("{0}")]
    Output(String),
    /// Of a server, with another status than 200.
    #[error("{text}")]
    Answer { status: u16, text: String },
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// A function of the project, with its traceback.
    #[error("{0}")]
    Function(#[from] tidemill_lang::EvalError),
}

impl PollError {
    /// Without these texts, which may be secret: a program says again what it was given.
    fn without(self, secret: &[String]) -> PollError {
        let clean = |text: String| {
            secret.iter().filter(|s| !s.is_empty()).fold(text, |text, secret| text.replace(secret.as_str(), "***"))
        };
        match self {
            PollError::Failed { command, status, stderr } => {
                PollError::Failed { command, status, stderr: clean(stderr) }
            }
            PollError::Output(text) => PollError::Output(clean(text)),
            PollError::Answer { status, text } => PollError::Answer { status, text: clean(text) },
            other => other,
        }
    }
}

/// Of a ref in which a forge keeps what anybody proposes, a poller that looks at
/// refs alone cannot know who proposed it.
pub fn mark_proposals(changes: &mut [NewChange]) {
    for change in changes.iter_mut().filter(|c| c.outsider.is_none()) {
        if let Some(branch) = change.branch.as_deref().filter(|b| is_proposal(b)) {
            change.outsider = Some(format!("what {branch} has may be anybody's"));
        }
    }
}

/// Polls a source that the project file only declares: one of Buildbot's with its arguments.
pub async fn declared(def: &Declared, cursor: Option<Value>, world: &World<'_>) -> Result<Outcome, PollError> {
    let found = match def.kind.as_str() {
        "SVNPoller" => svn::poll(def, cursor, world).await?,
        "HgPoller" => hg::poll(def, cursor, world).await?,
        "GitHubPullrequestPoller" => pull_requests::github::poll(def, cursor, world).await?,
        "BitbucketPullrequestPoller" => pull_requests::bitbucket::poll(def, cursor, world).await?,
        "GerritEventLogPoller" | "GerritChangeSource" => match gerrit::poll(def, cursor, world).await? {
            Some(found) => found,
            None => {
                let why =
                    "Gerrit's stream over ssh is not read by this release: give `http_url`, and its events-log is";
                return Ok(Outcome::NotPolled(Some(why.into())));
            }
        },
        "CVSMaildirSource" | "SVNCommitEmailMaildirSource" | "BzrLaunchpadEmailMaildirSource" => {
            mail::poll(def, cursor).await?
        }
        "PBChangeSource" => return Ok(Outcome::NotPolled(None)),
        kind => {
            let why = format!("change sources of the kind {kind} are not run by this release");
            return Ok(Outcome::NotPolled(Some(why)));
        }
    };
    Ok(Outcome::Found(found))
}
