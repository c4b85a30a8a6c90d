//! What GitHub does not send with a pull request, and is asked for: the message
//! of its head commit, which may say that nothing is to be built, and its files
//! (WH-03). Only of a delivery that proved where it comes from, and only where
//! the project gives a token. What cannot be learned in time is said in the
//! answer; the change is taken all the same.

use super::Said;
use super::common::skipped;
use crate::pollers::PollError;
use crate::pollers::api::Api;
use crate::pollers::documents::text;
use crate::pollers::pull_requests::github;
use std::time::Duration;
use tidemill_lang::definition::HookDef;

/// GitHub gives up a delivery that is not answered within 10 s.
const WITHIN: Duration = Duration::from_secs(6);

/// What was said, with what was learned; and why it may be less than all.
pub async fn completed(api: &Api, hook: &HookDef, said: Said) -> (Said, Option<String>) {
    let Said::Pull { key, change: Some(mut change) } = said else { return (said, None) };
    let place = place(&key).filter(|_| change.revision.as_deref().is_some_and(is_commit));
    let Some((owner, repo, number)) = place else {
        let note = Some(format!("{key} names no commit that GitHub could be asked for"));
        return (Said::Pull { key, change: Some(change) }, note);
    };
    let revision = change.revision.clone().unwrap_or_default();
    let (mut message, mut files) = (None, None);
    let ask = async {
        message = Some(text(&api.json(&["repos", owner, repo, "commits", &revision], &[]).await?, "/commit/message"));
        files = Some(github::files(api, owner, repo, number).await?);
        Ok::<_, PollError>(())
    };
    let note = match tokio::time::timeout(WITHIN, ask).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no whole answer within {} s", WITHIN.as_secs())),
    };
    if let Some(pattern) = message.and_then(|m| skipped(hook, &m)) {
        return (Said::Ignored(format!("pull request {key}: its head commit's message matches {pattern}")), None);
    }
    change.files = files.unwrap_or_default();
    let note = note.map(|why| format!("of {key} GitHub could not be asked for more: {why}"));
    (Said::Pull { key, change: Some(change) }, note)
}

/// Owner, repository and number of `owner/repo#5`. GitHub's names are of these letters only.
fn place(key: &str) -> Option<(&str, &str, &str)> {
    let (name, number) = key.rsplit_once('#')?;
    let (owner, repo) = name.split_once('/')?;
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && !part.bytes().all(|b| b == b'.')
    };
    (plain(owner) && plain(repo)).then_some((owner, repo, number))
}

fn is_commit(revision: &str) -> bool {
    revision.len() >= 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_github_has_are_asked_for() {
        assert_eq!(place("o-1/r.x_y#5"), Some(("o-1", "r.x_y", "5")));
        for bad in ["o#5", "o/../x#5", "../r#5", "o/r/x#5", "o/r?x#5", "/r#5", "o/r"] {
            assert_eq!(place(bad), None, "{bad}");
        }
        assert!(is_commit(&"a".repeat(40)) && !is_commit("main") && !is_commit(&"../".repeat(20)));
    }
}
