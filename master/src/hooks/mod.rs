//! Dialects of hooks: what a forge sent becomes what it announces.
//!
//! Each dialect is a pure function of headers, body and options. It never asks
//! who may do what of the text of a commit: an author is a name (A13). Whether
//! a pull request is an outsider's is told by what the forge itself says of
//! accounts and repositories, and only where the delivery proved that the forge
//! sent it (A14).

mod base;
mod bitbucket;
mod bitbucket_server;
mod common;
mod custom;
mod gerrit;
mod gitea;
mod github;
mod gitlab;
pub mod lookup;
pub mod proof;
pub mod store;

#[cfg(test)]
mod tests;

use axum::http::HeaderMap;
use tidemill_lang::definition::{HookDef, HookDialect};
use tidemill_model::NewChange;

pub use custom::{input, payload};

/// Most changes that one delivery makes, or one for each branch if that is more;
/// the commits before the newest of a branch become one.
pub const CHANGES_MAX: usize = 500;

/// A request to a hook, read whole.
pub struct Sent<'a> {
    pub headers: &'a HeaderMap,
    /// Of the address, decoded.
    pub query: &'a [(String, String)],
    pub body: &'a [u8],
    pub hook: &'a HookDef,
    /// Whether who sent it proved to be who it says.
    pub proven: bool,
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Oldest first.
    Changes(Vec<NewChange>),
    /// The newest of a pull request; none: it was closed.
    Pull { key: String, change: Option<Box<NewChange>> },
    /// Nothing, for this reason.
    Ignored(String),
}

/// It is not what the dialect sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Reads a delivery of any dialect but a custom one or the poller's.
pub fn read(sent: &Sent<'_>) -> Result<Said, Refused> {
    let said = match sent.hook.dialect {
        HookDialect::Base => return base::read(sent),
        HookDialect::Github => github::read(sent)?,
        HookDialect::Gitlab => gitlab::read(sent)?,
        HookDialect::Gitea => gitea::read(sent)?,
        HookDialect::Bitbucket => bitbucket::read(sent)?,
        HookDialect::BitbucketServer => bitbucket_server::read(sent)?,
        HookDialect::Gerrit => gerrit::read(sent)?,
        HookDialect::Custom | HookDialect::Poller => return Err(Refused("this dialect is read elsewhere".into())),
    };
    Ok(finished(sent, said))
}

/// What holds for every forge: what the address says, which repositories are
/// meant, bounds, and that an unproven delivery is an outsider's.
pub fn finished(sent: &Sent<'_>, said: Said) -> Said {
    let fill = |change: &mut NewChange| {
        common::from_address(sent, change);
        if !sent.proven {
            change.outsider = Some("nothing proves who sent it".into());
        }
    };
    let meant = |change: &NewChange| common::is_meant(sent.hook, change);
    let elsewhere = |change: &NewChange| Said::Ignored(format!("{} is none of the repositories", named(change)));
    match said {
        Said::Changes(changes) if changes.is_empty() => Said::Ignored("no commit".into()),
        Said::Changes(mut changes) => {
            // By the sender's own words: what the address adds is not signed.
            if let Some(other) = changes.iter().find(|c| !meant(c)) {
                return elsewhere(other);
            }
            changes.iter_mut().for_each(fill);
            Said::Changes(common::bounded_by_branch(changes, CHANGES_MAX))
        }
        Said::Pull { key, change: Some(mut change) } => {
            if !meant(&change) {
                return elsewhere(&change);
            }
            fill(&mut change);
            Said::Pull { key, change: Some(change) }
        }
        other => other,
    }
}

fn named(change: &NewChange) -> &str {
    if change.project.is_empty() { &change.repository } else { &change.project }
}

/// What a push without a pull request is superseded by: the newest of its branch.
pub fn branch_key(change: &NewChange) -> String {
    format!("{} {}", change.repository, change.branch.as_deref().unwrap_or_default())
}

/// All of them as one: for what is approved as a whole.
pub fn as_one(changes: Vec<NewChange>) -> Option<NewChange> {
    common::bounded(changes, 1).pop()
}
