//! From whom a notice is for to rows of deliveries.

use super::{Notice, To, order};
use crate::line::cut;
use serde_json::json;
use std::collections::BTreeSet;
use tidemill_lang::definition::{ReporterDef, ReporterKind, SecretText};
use tidemill_schema::events::Event;
use tidemill_schema::notices::plan::Planned;
use tidemill_schema::notices::{Moment, Way};

/// Shown of a repository's address.
const REPOSITORY_MAX: usize = 300;

/// Addresses of people's names, as a reporter's lookup has them.
pub trait Names {
    /// None: this one cannot be reached.
    fn find(&self, reporter: &str, name: &str) -> Option<Found>;
}

/// What is known of somebody when a notice is planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Address(String),
    /// A directory has the address, which is asked when the notice is sent.
    Name,
}

/// The rows of a notice, none twice.
pub fn planned(event: &Event, reporter: &ReporterDef, notice: &Notice, names: &dyn Names) -> Vec<Planned> {
    let Some((way, destination)) = destination(reporter) else { return vec![] };
    let mut seen = BTreeSet::new();
    let mut rows = vec![];
    for to in &notice.to {
        let (address, facts) = match to {
            To::Fixed(address) if address.is_empty() => (destination.clone(), json!({})),
            To::Fixed(address) => (address.clone(), json!({ "why": "configured" })),
            To::Place { place, why, about } => (place.clone(), json!({ "why": why, "about": about })),
            To::Person { name, why } => match names.find(&reporter.name, name) {
                Some(Found::Address(address)) => (address, json!({ "why": why, "name": name })),
                Some(Found::Name) => (name.clone(), json!({ "why": why, "name": name, "lookup": true })),
                None => continue,
            },
            To::Commit { codebase, repository, revision, branch } => {
                let repository = without_login(repository);
                let facts = json!({ "codebase": codebase, "repository": repository, "revision": revision,
                                    "branch": branch });
                // The revision is what tells it from others.
                (format!("{}@{}", cut(&repository, REPOSITORY_MAX), cut(revision, 100)), facts)
            }
        };
        // Mailboxes that differ in the case of letters are the same people.
        if !seen.insert(address.to_lowercase()) {
            continue;
        }
        rows.push(Planned {
            xid: event.at_cursor.xid,
            event_id: event.at_cursor.id,
            at: event.at,
            reporter: reporter.name.clone(),
            generator: i32::try_from(notice.generator).unwrap_or(i32::MAX),
            moment: notice.moment,
            mode: notice.mode.to_owned(),
            builder: notice.builder,
            build: notice.build,
            buildset: notice.buildset,
            request: notice.request,
            worker: notice.worker,
            way,
            destination: destination.clone(),
            order_key: order::key(way, &reporter.kind, &reporter.name, notice, &address),
            address,
            facts,
            message_id: None,
            wait_us: if way == Way::Mail { reporter.digest_us.unwrap_or_default() } else { 0 },
            max_age_us: reporter.max_age_us,
        });
    }
    rows
}

/// The row of an event that only asks whether a notice arrives. None where its reporter is not
/// there any more, or names nobody and nobody was named.
pub fn tested(event: &Event, reporters: &[ReporterDef]) -> Option<Planned> {
    let said = |key: &str| event.data.get(key).and_then(|v| v.as_str()).filter(|text| !text.is_empty());
    let reporter = reporters.iter().find(|r| Some(r.name.as_str()) == said("reporter"))?;
    let (way, destination) = destination(reporter)?;
    let own = match &reporter.kind {
        ReporterKind::Mail(mail) => mail.extra_recipients.first().cloned(),
        ReporterKind::Irc(irc) => irc.channels.first().map(|c| c.name.clone()),
        _ => Some(destination.clone()),
    };
    // The address of these is the reporter's own; a forge's sender says what it needs.
    let to = said("to").filter(|_| way != Way::Http);
    Some(Planned {
        xid: event.at_cursor.xid,
        event_id: event.at_cursor.id,
        at: event.at,
        reporter: reporter.name.clone(),
        generator: 0,
        moment: Moment::Test,
        mode: "test".into(),
        builder: None,
        build: None,
        buildset: None,
        request: None,
        worker: None,
        way,
        destination,
        address: to.map(str::to_owned).or(own)?,
        facts: json!({ "why": format!("asked for by {}", said("by").unwrap_or("somebody")) }),
        order_key: None,
        message_id: said("message_id").map(str::to_owned),
        wait_us: 0,
        max_age_us: reporter.max_age_us,
    })
}

/// Through what a reporter speaks. None where its address is no address: nothing can be planned.
pub(crate) fn destination(reporter: &ReporterDef) -> Option<(Way, String)> {
    use ReporterKind::*;
    let host = |url: &str| {
        let url = url::Url::parse(url).ok()?;
        Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
    };
    // The address itself may be a secret, and is not to be shown then.
    let of_secret = |text: &SecretText| match text {
        SecretText::Text(url) => host(url),
        SecretText::Secret { name } => Some(format!("secret {name}")),
    };
    Some(match &reporter.kind {
        Mail(mail) => (Way::Mail, format!("{}:{}", mail.relayhost, mail.port)),
        // Its one connection, wherever that leads by then.
        Irc(_) => (Way::Irc, reporter.name.clone()),
        Http(http) => (Way::Http, of_secret(&http.url)?),
        Webhook(hook) => (Way::Http, of_secret(&hook.url)?),
        Zulip(zulip) => (Way::Http, host(&zulip.endpoint)?),
        Github(forge) | GithubComment(forge) | Gitlab(forge) | Gitea(forge) => (Way::Forge, host(&forge.base_url)?),
        Bitbucket(forge) => (Way::Forge, host(&forge.base_url)?),
        BitbucketServer(forge) | BitbucketServerCore(forge) | BitbucketServerComment(forge) => {
            (Way::Forge, host(&forge.base_url)?)
        }
        Gerrit(gerrit) => (Way::Forge, format!("{}:{}", gerrit.server, gerrit.port)),
        GerritVerify(gerrit) => (Way::Forge, host(&gerrit.base_url)?),
    })
}

/// A repository's address without who logs in there.
fn without_login(repository: &str) -> String {
    match url::Url::parse(repository) {
        Ok(mut url) if url.password().is_some() || (url.scheme().starts_with("http") && !url.username().is_empty()) => {
            // Only an address that has no host refuses these.
            let _ = url.set_password(None);
            let _ = url.set_username("");
            url.to_string()
        }
        _ => repository.to_owned(),
    }
}
