//! What forges are told of a commit or a change: its status, a comment, a vote.
//! Of each forge there is a pure function from [`Facts`] to a request, as the
//! forge documents it; [`Forge`] sends that, and reads the answers in which a
//! forge differs from plain HTTP. Tokens stand in headers only.

pub mod bitbucket;
pub mod bitbucket_server;
pub mod gerrit;
pub mod gerrit_ssh;
pub mod gitea;
pub mod github;
pub mod gitlab;
mod oauth;
pub mod repository;

pub use gerrit_ssh::GerritSsh;
pub use oauth::OAuth;
pub use repository::Repository;

use crate::Outcome;
use crate::http::client::{Auth, Client, Request, named};
use crate::line::one_line;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::Results;
use url::Url;

/// How far a build is, for a forge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Asked for, and not begun.
    Waiting,
    #[default]
    Running,
    Done(Results),
}

/// What a forge may be told. Each kind takes what it knows.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// Where the code is from, in any form that git takes.
    pub repository: &'a str,
    /// The whole hash of the commit; of Gerrit also the number of a patch set.
    pub revision: &'a str,
    pub branch: Option<&'a str>,
    /// Of a pull or merge request; of a Gerrit change its number or whole id.
    pub change: Option<&'a str>,
    pub stage: Stage,
    /// What tells this status from others of the same commit: a context, key or name.
    pub context: &'a str,
    /// For people, where the forge has both.
    pub name: Option<&'a str>,
    pub description: &'a str,
    /// The build's page.
    pub url: &'a str,
    /// Of a comment or review.
    pub text: &'a str,
    /// Votes of a review.
    pub labels: BTreeMap<String, i8>,
    pub details: Details<'a>,
}

/// What only few forges know.
#[derive(Clone, Debug, Default)]
pub struct Details<'a> {
    pub build_number: Option<&'a str>,
    /// Key of the plan that the build belongs to.
    pub parent: Option<&'a str>,
    /// `refs/heads/…`.
    pub reference: Option<&'a str>,
    pub duration: Option<Duration>,
    /// Tests that passed, failed and were skipped.
    pub tests: Option<(u64, u64, u64)>,
    pub abstain: bool,
    pub category: Option<&'a str>,
    pub reporter: Option<&'a str>,
    /// The project's name in Gerrit, or its number in GitLab.
    pub project: Option<&'a str>,
    /// Whom Gerrit mails: `NONE`, `OWNER`, `OWNER_REVIEWERS` or `ALL`.
    pub notify: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    GitHub,
    GitHubComment,
    GitLab,
    Gitea { warning_as_success: bool },
    Bitbucket,
    BitbucketServer,
    BitbucketServerCore,
    BitbucketServerComment,
    GerritReview,
    GerritVerify,
}

/// One forge that is told by HTTP.
pub struct Forge {
    pub kind: Kind,
    pub client: Client,
    /// Without a slash at its end; of GitHub the API's, of the others the forge's own.
    pub base_url: String,
    pub auth: Auth,
    /// Where the token is to be asked for first.
    pub oauth: Option<Arc<OAuth>>,
}

impl Forge {
    /// What is sent, without who sends it.
    ///
    /// # Errors
    /// If these facts can never be told there: why.
    pub fn request(&self, facts: &Facts<'_>) -> Result<Request, String> {
        let (url, body) = document(self.kind, &self.base_url, facts)?;
        let mut request = Request { url: url.into(), body: body.to_string().into_bytes(), ..Request::default() };
        if matches!(self.kind, Kind::GitHub | Kind::GitHubComment) {
            request.headers.insert("accept".into(), "application/vnd.github+json".into());
            request.headers.insert("x-github-api-version".into(), "2022-11-28".into());
        }
        Ok(request)
    }

    pub async fn send(&self, facts: &Facts<'_>) -> Outcome {
        let mut request = match self.request(facts) {
            Ok(request) => request,
            Err(why) => return Outcome::Refused { why: one_line(&why, 400) },
        };
        request.auth = match &self.oauth {
            None => self.auth.clone(),
            Some(oauth) => match oauth.token(&self.client).await {
                Ok(token) => Auth::Bearer(token),
                Err(outcome) => return outcome,
            },
        };
        let answer = match self.client.ask(&request).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        if let (401, Some(oauth)) = (answer.status, &self.oauth) {
            oauth.forget().await;
        }
        let special = match self.kind {
            Kind::GitHub | Kind::GitHubComment => github::special(&answer),
            Kind::GitLab => gitlab::special(&answer, facts.stage),
            _ => None,
        };
        match special.unwrap_or_else(|| answer.judge(&named(&request.url))) {
            Outcome::Refused { why } if matches!(answer.status, 403 | 404) => {
                let remedy = "does this repository exist there, and may the reporter's token write to it?";
                Outcome::Refused { why: format!("{why}; {remedy}") }
            }
            outcome => outcome,
        }
    }
}

/// The address and the document for a forge.
///
/// # Errors
/// If these facts can never be told there: why.
pub fn document(kind: Kind, base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    match kind {
        Kind::GitHub => github::status(base, facts),
        Kind::GitHubComment => github::comment(base, facts),
        Kind::GitLab => gitlab::status(base, facts),
        Kind::Gitea { warning_as_success } => gitea::status(base, facts, warning_as_success),
        Kind::Bitbucket => bitbucket::status(base, facts),
        Kind::BitbucketServer => bitbucket_server::status(base, facts),
        Kind::BitbucketServerCore => bitbucket_server::core(base, facts),
        Kind::BitbucketServerComment => bitbucket_server::comment(base, facts),
        Kind::GerritReview => gerrit::review(base, facts),
        Kind::GerritVerify => gerrit::verify(base, facts),
    }
}

/// An address below a forge's, each segment escaped.
fn below(base: &str, segments: &[&str]) -> Result<Url, String> {
    let wrong = || format!("`{}` is no address of a forge", named(base));
    let mut url = Url::parse(base).ok().filter(|u| u.has_host()).ok_or_else(wrong)?;
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(segments);
    Ok(url)
}

/// The hash of a commit, whole.
fn commit<'a>(facts: &Facts<'a>) -> Result<&'a str, String> {
    let revision = facts.revision;
    if matches!(revision.len(), 40 | 64) && revision.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(revision);
    }
    Err(format!("the revision `{}` is not the whole hash of a commit", one_line(revision, 80)))
}

/// The number of a pull request.
fn number<'a>(facts: &Facts<'a>) -> Result<&'a str, String> {
    match facts.change {
        Some(n) if !n.is_empty() && n.len() < 20 && n.bytes().all(|b| b.is_ascii_digit()) => Ok(n),
        Some(n) => Err(format!("`{}` is not the number of a pull request", one_line(n, 40))),
        None => Err("the build is not of a pull request".into()),
    }
}

/// The page of a build, if it can be a link of at most `max` characters.
fn link(facts: &Facts<'_>, max: usize) -> Option<String> {
    let url = Url::parse(facts.url).ok().filter(|u| matches!(u.scheme(), "http" | "https"))?;
    Some(String::from(url)).filter(|u| u.len() <= max)
}

/// An identifier of at most `max` characters, that stays one of its own if it is cut.
fn identifier(text: &str, max: usize) -> String {
    let line = one_line(text, usize::MAX);
    if line.chars().count() <= max {
        return line;
    }
    let hash = hex::encode(Sha256::digest(line.as_bytes()));
    let kept: String = line.chars().take(max.saturating_sub(17)).collect();
    format!("{kept}-{}", &hash[..16])
}

/// Text of several lines: no control characters but line ends, at most `max` characters.
fn paragraphs(text: &str, max: usize) -> String {
    let end = "\n[…]";
    let fine = |c: &char| *c == '\n' || *c == '\t' || !crate::line::harmful(*c);
    let clean: String = text.chars().filter(fine).take(max + 1).collect();
    if clean.chars().count() <= max {
        return clean;
    }
    let kept: String = clean.chars().take(max.saturating_sub(end.chars().count())).collect();
    kept + end
}

#[cfg(test)]
mod tests;
