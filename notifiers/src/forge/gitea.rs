//! Gitea and Forgejo: commit statuses.

use super::{Facts, Repository, Stage, below, commit, identifier, link};
use crate::line::one_line;
use serde_json::{Value, json};
use tidemill_model::Results;
use url::Url;

const TEXT_MAX: usize = 255;

/// `POST /api/v1/repos/{owner}/{repo}/statuses/{sha}`.
///
/// # Errors
/// If the facts name no repository or commit.
pub fn status(base: &str, facts: &Facts<'_>, warning_as_success: bool) -> Result<(Url, Value), String> {
    let repository = Repository::parse(facts.repository)?;
    let (owner, name) = repository.owner_and_name();
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix("/api/v1").unwrap_or(base);
    let url = below(base, &["api", "v1", "repos", owner, name, "statuses", commit(facts)?])?;
    let state = match facts.stage {
        Stage::Waiting | Stage::Running | Stage::Done(Results::Retry) => "pending",
        Stage::Done(Results::Warnings) if !warning_as_success => "warning",
        Stage::Done(Results::Success | Results::Warnings | Results::Skipped) => "success",
        Stage::Done(Results::Failure) => "failure",
        Stage::Done(Results::Exception | Results::Cancelled) => "error",
    };
    let mut body = json!({
        "state": state,
        "description": one_line(facts.description, TEXT_MAX),
        "context": identifier(facts.context, TEXT_MAX),
    });
    if let Some(link) = link(facts, 2000) {
        body["target_url"] = link.into();
    }
    Ok((url, body))
}
