//! GitHubPullrequestPoller, by GitHub's REST API.

use super::{PAGES_MAX, Pull, described, message, moved};
use crate::pollers::api::Api;
use crate::pollers::arguments::{self, Stamp};
use crate::pollers::documents::{globs, maybe, text};
use crate::pollers::{Found, PollError, World};
use globset::GlobSet;
use serde::Deserialize;
use serde_json::Value;
use tidemill_lang::definition::{Declared, SecretText};
use tidemill_model::NewChange;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Fields that every change carries as properties: what it is, and whose.
const ALWAYS: [&str; 7] = [
    "github.number",
    "github.author_association",
    "github.user.login",
    "github.base.ref",
    "github.base.sha",
    "github.base.repo.full_name",
    "github.head.repo.full_name",
];
const PER_PAGE: usize = 100;
/// GitHub names no more files of a pull request than these pages hold.
const FILE_PAGES_MAX: usize = 30;

#[derive(Debug, Deserialize)]
struct Arguments {
    owner: String,
    repo: String,
    #[serde(default)]
    branches: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<Vec<String>>,
    #[serde(default)]
    token: Option<SecretText>,
    #[serde(default)]
    magic_link: Option<bool>,
    #[serde(default)]
    repository_type: Option<String>,
    #[serde(default)]
    github_property_whitelist: Vec<String>,
    #[serde(default)]
    pullrequest_filter: Value,
    #[serde(default, rename = "baseURL")]
    base_url: Option<String>,
    #[serde(flatten)]
    stamp: Stamp,
}

pub async fn poll(def: &Declared, cursor: Option<Value>, world: &World<'_>) -> Result<Found, PollError> {
    let args: Arguments = arguments::read(def)?;
    let token = args.token.as_ref().map(|t| world.secrets.resolve(t)).transpose()?;
    let api = api(args.base_url.as_deref(), token.as_deref(), world.local)?;
    let mut whitelist = args.github_property_whitelist.clone();
    whitelist.extend(ALWAYS.map(str::to_owned));
    let whitelist = globs(&whitelist)?;
    let pulls = wanted(&args, &api, world).await?;
    let moved = moved(pulls, cursor);
    let mut changes = Vec::with_capacity(moved.pulls.len());
    for pull in &moved.pulls {
        changes.push(change(&args, &api, pull, &whitelist).await?);
    }
    Ok(moved.found(changes))
}

/// GitHub's API, or that of a server of its like.
pub fn api(base: Option<&str>, token: Option<&str>, local: bool) -> Result<Api, PollError> {
    let mut api = Api::new(base.unwrap_or("https://api.github.com"), local)?;
    api.header("accept", "application/vnd.github+json");
    api.header("x-github-api-version", "2022-11-28");
    if let Some(token) = token {
        api.header("authorization", format!("Bearer {token}"));
    }
    Ok(api)
}

/// The open ones that pass all filters, the one longest left alone first.
async fn wanted(args: &Arguments, api: &Api, world: &World<'_>) -> Result<Vec<Pull>, PollError> {
    let mut pulls: Vec<Pull> = Vec::new();
    if args.pullrequest_filter == Value::Bool(false) {
        return Ok(pulls);
    }
    let branches = args.branches.as_deref().map(globs).transpose()?;
    for page in 1..=PAGES_MAX {
        let (page, per_page) = (page.to_string(), PER_PAGE.to_string());
        let query = [
            ("state", "open"),
            ("sort", "updated"),
            ("direction", "asc"),
            ("per_page", per_page.as_str()),
            ("page", page.as_str()),
        ];
        let list = api.json(&["repos", &args.owner, &args.repo, "pulls"], &query).await?;
        let Value::Array(list) = list else {
            return Err(PollError::Output("GitHub's list of pull requests is none".into()));
        };
        let whole = list.len() < PER_PAGE;
        for document in list {
            let (number, head) = (document["number"].to_string(), text(&document, "/head/sha"));
            // What was updated while the list was read comes twice.
            pulls.retain(|p| p.number != number);
            let labels = document["labels"].as_array().map(Vec::as_slice).unwrap_or_default();
            let labelled = args.labels.as_ref().is_none_or(|wanted| {
                labels.iter().any(|l| l["name"].as_str().is_some_and(|n| wanted.iter().any(|w| w == n)))
            });
            let into = text(&document, "/base/ref");
            if head.is_empty() || !labelled || branches.as_ref().is_some_and(|b| !b.is_match(&into)) {
                continue;
            }
            if world.functions.pull_request_wanted(document.clone()).await? {
                pulls.push(Pull { number, head, document });
            }
        }
        if whole {
            break;
        }
    }
    Ok(pulls)
}

async fn change(args: &Arguments, api: &Api, pull: &Pull, whitelist: &GlobSet) -> Result<NewChange, PollError> {
    let document = &pull.document;
    let url = match args.repository_type.as_deref() {
        Some("svn") => "svn_url",
        Some("git") => "git_url",
        Some("ssh") => "ssh_url",
        _ => "clone_url",
    };
    let (head, base) = (maybe(document, "/head/repo/full_name"), maybe(document, "/base/repo/full_name"));
    let fork = maybe(document, &format!("/head/repo/{url}"));
    // The fork may be gone; GitHub keeps the commits.
    let (repository, branch) = match fork {
        Some(fork) if args.magic_link != Some(true) => (fork, text(document, "/head/ref")),
        _ => {
            let of = if args.magic_link == Some(true) { "merge" } else { "head" };
            (text(document, &format!("/base/repo/{url}")), format!("refs/pull/{}/{of}", pull.number))
        }
    };
    let plain = args.stamp.change();
    let mut change = NewChange {
        author: text(document, "/user/login"),
        comments: message(&text(document, "/title"), &text(document, "/body")),
        files: files(api, &args.owner, &args.repo, &pull.number).await?,
        branch: Some(branch),
        revision: Some(pull.head.clone()),
        repository,
        project: if plain.project.is_empty() { base.clone().unwrap_or_default() } else { plain.project.clone() },
        revlink: maybe(document, "/html_url"),
        when: maybe(document, "/updated_at").and_then(|t| OffsetDateTime::parse(&t, &Rfc3339).ok()),
        ..plain
    };
    described(&mut change, "github", pull, whitelist, head.as_deref(), base.as_deref());
    Ok(change)
}

/// The paths that a pull request touches.
pub async fn files(api: &Api, owner: &str, repo: &str, number: &str) -> Result<Vec<String>, PollError> {
    let mut files = Vec::new();
    for page in 1..=FILE_PAGES_MAX {
        let (page, per_page) = (page.to_string(), PER_PAGE.to_string());
        let query = [("per_page", per_page.as_str()), ("page", page.as_str())];
        // Of a difference that is too large GitHub names no files.
        let path = ["repos", owner, repo, "pulls", number, "files"];
        let list = api.json_or_none(&path, &query).await?.unwrap_or_default();
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        for file in list {
            files.extend(maybe(file, "/filename"));
            files.extend(maybe(file, "/previous_filename"));
        }
        if list.len() < PER_PAGE {
            break;
        }
    }
    Ok(files)
}
