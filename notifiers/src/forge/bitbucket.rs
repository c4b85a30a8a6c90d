//! Bitbucket Cloud (RP-11): build statuses.

use super::{Facts, Repository, Stage, below, commit, identifier, link};
use crate::line::one_line;
use serde_json::{Value, json};
use tidemill_model::Results;
use url::Url;

const KEY_MAX: usize = 40;
const TEXT_MAX: usize = 255;

/// `POST /2.0/repositories/{workspace}/{slug}/commit/{sha}/statuses/build`.
///
/// # Errors
/// If the facts name no repository or commit, or there is no link, which is demanded there.
pub fn status(base: &str, facts: &Facts<'_>) -> Result<(Url, Value), String> {
    let repository = Repository::parse(facts.repository)?;
    let (owner, name) = repository.owner_and_name();
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix("/repositories").unwrap_or(base);
    let base = if Url::parse(base).is_ok_and(|u| u.path() == "/") { format!("{base}/2.0") } else { base.to_owned() };
    let url = below(&base, &["repositories", owner, name, "commit", commit(facts)?, "statuses", "build"])?;
    let link = link(facts, 2000).ok_or("the build has no page to link to: set `buildbotURL` of the project")?;
    let mut body = json!({
        "state": state(facts.stage),
        "key": identifier(facts.context, KEY_MAX),
        "name": one_line(facts.name.unwrap_or(facts.context), TEXT_MAX),
        "description": one_line(facts.description, TEXT_MAX),
        "url": link,
    });
    if let Some(branch) = facts.branch.map(|b| one_line(b, TEXT_MAX)).filter(|b| !b.is_empty()) {
        body["refname"] = branch.into();
    }
    Ok((url, body))
}

fn state(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting | Stage::Running | Stage::Done(Results::Retry) => "INPROGRESS",
        Stage::Done(Results::Success | Results::Warnings | Results::Skipped) => "SUCCESSFUL",
        Stage::Done(Results::Failure | Results::Exception) => "FAILED",
        Stage::Done(Results::Cancelled) => "STOPPED",
    }
}
