//! GitHub (RP-07, RP-08): commit statuses and comments on pull requests, by the
//! REST API of github.com and of GitHub Enterprise.

use super::{Facts, Repository, Stage, below, commit, identifier, link, number, paragraphs};
use crate::Outcome;
use crate::http::Answer;
use crate::line::one_line;
use serde_json::{Value, json};
use tidemill_model::Results;
use url::Url;

/// The API refuses longer descriptions.
const DESCRIPTION_MAX: usize = 140;
const CONTEXT_MAX: usize = 255;
const COMMENT_MAX: usize = 65_536;

/// The API of a base address, which may be that of the site.
fn api(base: &str) -> String {
    let base = base.trim_end_matches('/');
    match Url::parse(base) {
        Ok(url) if matches!(url.host_str(), Some("github.com" | "www.github.com")) => "https://api.github.com".into(),
        Ok(url) if url.path() == "/" && !url.host_str().is_some_and(|h| h.starts_with("api.")) => {
            format!("{base}/api/v3")
        }
        _ => base.to_owned(),
    }
}

/// `POST /repos/{owner}/{repo}/statuses/{sha}`.
///
/// # Errors
/// If the facts name no repository or commit.
pub fn status(base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    let repository = Repository::parse(facts.repository)?;
    let (owner, name) = repository.owner_and_name();
    let url = below(&api(base), &["repos", owner, name, "statuses", commit(facts)?])?;
    let mut body = json!({
        "state": state(facts.stage),
        "description": one_line(facts.description, DESCRIPTION_MAX),
        "context": identifier(facts.context, CONTEXT_MAX),
    });
    if let Some(link) = link(facts, 2000) {
        body["target_url"] = link.into();
    }
    Ok((url, body))
}

fn state(stage: Stage) -> &'static str {
    match stage {
        // A build that is tried again is not done.
        Stage::Waiting | Stage::Running | Stage::Done(Results::Retry) => "pending",
        Stage::Done(Results::Success | Results::Warnings | Results::Skipped) => "success",
        Stage::Done(Results::Failure) => "failure",
        Stage::Done(Results::Exception | Results::Cancelled) => "error",
    }
}

/// `POST /repos/{owner}/{repo}/issues/{number}/comments`; to the API a pull
/// request is an issue.
///
/// # Errors
/// If the facts name no repository or pull request.
pub fn comment(base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    let repository = Repository::parse(facts.repository)?;
    let (owner, name) = repository.owner_and_name();
    let url = below(&api(base), &["repos", owner, name, "issues", number(facts)?, "comments"])?;
    Ok((url, json!({ "body": paragraphs(facts.text, COMMENT_MAX) })))
}

/// A limit of requests is said as 403.
pub(super) fn special(answer: &Answer) -> Option<Outcome> {
    let limited = answer.status == 403 && answer.body.to_lowercase().contains("rate limit");
    limited.then(|| Outcome::Again {
        why: format!("GitHub: HTTP 403: {}", one_line(&answer.body, 200)),
        after: answer.after,
    })
}
