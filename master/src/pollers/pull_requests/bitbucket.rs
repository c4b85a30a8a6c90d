//! BitbucketPullrequestPoller, by the REST API 2.0 of Bitbucket Cloud.

use super::{PAGES_MAX, Pull, described, message, moved};
use crate::pollers::api::Api;
use crate::pollers::arguments::{self, Login, Stamp};
use crate::pollers::documents::{globs, maybe, text};
use crate::pollers::{Found, PollError, World};
use globset::GlobSet;
use serde::Deserialize;
use serde_json::Value;
use tidemill_lang::definition::Declared;
use tidemill_model::NewChange;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const ALWAYS: [&str; 5] = [
    "bitbucket.id",
    "bitbucket.author.nickname",
    "bitbucket.destination.branch.name",
    "bitbucket.destination.repository.full_name",
    "bitbucket.source.repository.full_name",
];
const PAGE_LENGTH: &str = "50";

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Arguments {
    owner: String,
    slug: String,
    #[serde(default)]
    auth: Login,
    #[serde(default)]
    branch: Option<Names>,
    #[serde(default, rename = "useTimestamps")]
    use_timestamps: Option<bool>,
    #[serde(default)]
    bitbucket_property_whitelist: Vec<String>,
    #[serde(default)]
    pullrequest_filter: Value,
    #[serde(default, rename = "baseURL")]
    base_url: Option<String>,
    #[serde(flatten)]
    stamp: Stamp,
}

pub async fn poll(def: &Declared, cursor: Option<Value>, world: &World<'_>) -> Result<Found, PollError> {
    let args: Arguments = arguments::read(def)?;
    let mut api = Api::new(args.base_url.as_deref().unwrap_or("https://api.bitbucket.org/2.0"), world.local)?;
    if let Some((user, password)) = &args.auth {
        api.login(user, password, world)?;
    }
    let mut whitelist = args.bitbucket_property_whitelist.clone();
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

async fn wanted(args: &Arguments, api: &Api, world: &World<'_>) -> Result<Vec<Pull>, PollError> {
    let mut pulls: Vec<Pull> = Vec::new();
    if args.pullrequest_filter == Value::Bool(false) {
        return Ok(pulls);
    }
    let branches = match &args.branch {
        None => None,
        Some(Names::One(name)) => Some(globs(std::slice::from_ref(name))?),
        Some(Names::Many(names)) => Some(globs(names)?),
    };
    for page in 1..=PAGES_MAX {
        let page = page.to_string();
        let query = [("state", "OPEN"), ("sort", "updated_on"), ("pagelen", PAGE_LENGTH), ("page", page.as_str())];
        let list = api.json(&["repositories", &args.owner, &args.slug, "pullrequests"], &query).await?;
        let Some(values) = list["values"].as_array() else {
            return Err(PollError::Output("Bitbucket's list of pull requests is none".into()));
        };
        for document in values {
            let (number, head) = (document["id"].to_string(), text(document, "/source/commit/hash"));
            pulls.retain(|p| p.number != number);
            let from = text(document, "/source/branch/name");
            if head.is_empty() || branches.as_ref().is_some_and(|b| !b.is_match(&from)) {
                continue;
            }
            if world.functions.pull_request_wanted(document.clone()).await? {
                pulls.push(Pull { number, head, document: document.clone() });
            }
        }
        if list.get("next").is_none() {
            break;
        }
    }
    Ok(pulls)
}

async fn change(args: &Arguments, api: &Api, pull: &Pull, whitelist: &GlobSet) -> Result<NewChange, PollError> {
    let document = &pull.document;
    let (source, destination) =
        (maybe(document, "/source/repository/full_name"), maybe(document, "/destination/repository/full_name"));
    // Bitbucket names the head by its first digits; the commit has all of them.
    let place = source.clone().unwrap_or_else(|| format!("{}/{}", args.owner, args.slug));
    let (owner, slug) = place.split_once('/').unwrap_or((&args.owner, &args.slug));
    // Whoever opens one from a repository that we may not see must not stop the source.
    let commit = match api.json_or_none(&["repositories", owner, slug, "commit", &pull.head], &[]).await {
        Err(PollError::Answer { status: 403, .. }) => None,
        other => other?,
    };
    let whole = commit.and_then(|c| maybe(&c, "/hash")).filter(|h| h.starts_with(&pull.head));
    let revision = whole.unwrap_or_else(|| pull.head.clone());
    let path = ["repositories", &args.owner, &args.slug, "pullrequests", &pull.number, "diffstat"];
    let stat = api.json_or_none(&path, &[]).await?.unwrap_or_default();
    let touched = stat["values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut files: Vec<String> =
        touched.iter().flat_map(|f| [maybe(f, "/old/path"), maybe(f, "/new/path")]).flatten().collect();
    files.dedup();
    let plain = args.stamp.change();
    let when = maybe(document, "/updated_on").and_then(|t| OffsetDateTime::parse(&t, &Rfc3339).ok());
    let mut change = NewChange {
        author: text(document, "/author/display_name"),
        comments: message(&text(document, "/title"), &text(document, "/description")),
        files,
        branch: maybe(document, "/source/branch/name"),
        revision: Some(revision),
        repository: maybe(document, "/source/repository/links/html/href")
            .unwrap_or_else(|| format!("https://bitbucket.org/{place}")),
        revlink: maybe(document, "/links/html/href"),
        when: when.filter(|_| args.use_timestamps != Some(false)),
        ..plain
    };
    described(&mut change, "bitbucket", pull, whitelist, source.as_deref(), destination.as_deref());
    Ok(change)
}
