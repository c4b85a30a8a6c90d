//! GitLab (RP-09): statuses of commits, of nested projects too.

use super::{Facts, Repository, Stage, below, commit, identifier, link};
use crate::Outcome;
use crate::http::Answer;
use crate::line::one_line;
use serde_json::{Value, json};
use tidemill_model::Results;
use url::Url;

/// Longest texts that the API takes.
const TEXT_MAX: usize = 255;

/// `POST /api/v4/projects/{path}/statuses/{sha}`.
///
/// # Errors
/// If the facts name no repository or commit.
pub fn status(base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    let number = |p: &&str| !p.is_empty() && p.len() < 20 && p.bytes().all(|b| b.is_ascii_digit());
    let project = match facts.details.project.filter(number) {
        Some(number) => number.to_owned(),
        None => Repository::parse(facts.repository)?.whole(),
    };
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix("/api/v4").unwrap_or(base);
    // The whole path of the project is one segment, its slashes escaped.
    let url = below(base, &["api", "v4", "projects", &project, "statuses", commit(facts)?])?;
    let mut body = json!({
        "state": state(facts.stage),
        "name": identifier(facts.context, TEXT_MAX),
        "description": one_line(facts.description, TEXT_MAX),
    });
    if let Some(branch) = facts.branch.map(|b| one_line(b, TEXT_MAX)).filter(|b| !b.is_empty()) {
        body["ref"] = branch.into();
    }
    if let Some(link) = link(facts, TEXT_MAX) {
        body["target_url"] = link.into();
    }
    Ok((url, body))
}

fn state(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting | Stage::Done(Results::Retry) => "pending",
        Stage::Running => "running",
        Stage::Done(Results::Success | Results::Warnings) => "success",
        Stage::Done(Results::Failure | Results::Exception) => "failed",
        Stage::Done(Results::Skipped) => "skipped",
        Stage::Done(Results::Cancelled) => "canceled",
    }
}

/// GitLab refuses to say again what it knows: the same state, or that something
/// began which is over. Both are as they should be.
pub(super) fn special(answer: &Answer, stage: Stage) -> Option<Outcome> {
    if answer.status == 409 {
        return Some(Outcome::Again {
            why: format!("GitLab: HTTP 409: {}", one_line(&answer.body, 200)),
            after: answer.after,
        });
    }
    let known = answer.status == 400 && answer.body.contains("Cannot transition status");
    let same = answer.body.contains(&format!("from :{}", state(stage)));
    let late = matches!(stage, Stage::Waiting | Stage::Running);
    (known && (same || late))
        .then(|| Outcome::Sent { answer: format!("HTTP 400, known there: {}", one_line(&answer.body, 200)) })
}
