//! Bitbucket Server and Data Center (RP-11): build statuses by the old API and by
//! the core API, and comments on pull requests.

use super::{Facts, Repository, Stage, below, commit, identifier, link, number, paragraphs};
use crate::line::one_line;
use serde_json::{Value, json};
use tidemill_model::Results;
use url::Url;

const TEXT_MAX: usize = 255;
const URL_MAX: usize = 450;
const COMMENT_MAX: usize = 32_768;

/// Project and slug: of `…/scm/PROJECT/repo.git`, of ssh, and of the pages
/// `…/projects/PROJECT/repos/repo` and `…/users/ann/repos/repo`.
fn place(facts: &Facts<'_>) -> Result<(String, String), String> {
    let repository = Repository::parse(facts.repository)?;
    let path: Vec<&str> = repository.path.iter().map(String::as_str).collect();
    Ok(match path.as_slice() {
        [.., "projects", project, "repos", slug] => ((*project).to_owned(), (*slug).to_owned()),
        [.., "users", user, "repos", slug] => (format!("~{user}"), (*slug).to_owned()),
        _ => {
            let (project, slug) = repository.owner_and_name();
            (project.to_owned(), slug.to_owned())
        }
    })
}

fn page(facts: &Facts<'_>) -> Result<String, String> {
    link(facts, URL_MAX).ok_or_else(|| "the build has no page to link to: set `buildbotURL` of the project".into())
}

/// `POST /rest/build-status/1.0/commits/{sha}`.
///
/// # Errors
/// If the facts name no commit, or there is no link.
pub fn status(base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    let url = below(base, &["rest", "build-status", "1.0", "commits", commit(facts)?])?;
    let body = json!({
        "state": match facts.stage {
            Stage::Waiting | Stage::Running | Stage::Done(Results::Retry) => "INPROGRESS",
            Stage::Done(Results::Success | Results::Warnings | Results::Skipped) => "SUCCESSFUL",
            Stage::Done(_) => "FAILED",
        },
        "key": identifier(facts.context, TEXT_MAX),
        "name": one_line(facts.name.unwrap_or(facts.context), TEXT_MAX),
        "description": one_line(facts.description, TEXT_MAX),
        "url": page(facts)?,
    });
    Ok((url, body))
}

/// `POST /rest/api/1.0/projects/{key}/repos/{slug}/commits/{sha}/builds`.
///
/// # Errors
/// If the facts name no repository or commit, or there is no link.
pub fn core(base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    let (project, slug) = place(facts)?;
    let segments = ["rest", "api", "1.0", "projects", &project, "repos", &slug, "commits", commit(facts)?, "builds"];
    let url = below(base, &segments)?;
    let details = &facts.details;
    let mut body = json!({
        "state": match facts.stage {
            Stage::Waiting | Stage::Running | Stage::Done(Results::Retry) => "INPROGRESS",
            Stage::Done(Results::Success | Results::Warnings | Results::Skipped) => "SUCCESSFUL",
            Stage::Done(Results::Cancelled) => "CANCELLED",
            Stage::Done(_) => "FAILED",
        },
        "key": identifier(facts.context, TEXT_MAX),
        "name": one_line(facts.name.unwrap_or(facts.context), TEXT_MAX),
        "description": one_line(facts.description, TEXT_MAX),
        "url": page(facts)?,
    });
    let reference = details.reference.map(str::to_owned).or_else(|| facts.branch.map(|b| format!("refs/heads/{b}")));
    let texts = [("buildNumber", details.build_number), ("parent", details.parent), ("ref", reference.as_deref())];
    for (field, text) in texts {
        // A ref that is none is refused with the whole status.
        let text = text.map(|t| one_line(t, TEXT_MAX)).filter(|t| !t.is_empty());
        if let Some(text) = text.filter(|t| field != "ref" || t.starts_with("refs/")) {
            body[field] = text.into();
        }
    }
    if let Some(duration) = details.duration {
        body["duration"] = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into();
    }
    if let Some((successful, failed, skipped)) = details.tests {
        body["testResults"] = json!({ "successful": successful, "failed": failed, "skipped": skipped });
    }
    Ok((url, body))
}

/// `POST /rest/api/1.0/projects/{key}/repos/{slug}/pull-requests/{id}/comments`.
///
/// # Errors
/// If the facts name no repository or pull request.
pub fn comment(base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    let (project, slug) = place(facts)?;
    let number = number(facts)?;
    let segments = ["rest", "api", "1.0", "projects", &project, "repos", &slug, "pull-requests", number, "comments"];
    Ok((below(base, &segments)?, json!({ "text": paragraphs(facts.text, COMMENT_MAX) })))
}
