//! From whom a notice is for to rows of deliveries.

use super::{Notice, To};
use serde_json::json;
use std::collections::BTreeSet;
use tidemill_lang::definition::{ReporterDef, ReporterKind, SecretText};
use tidemill_schema::events::Event;
use tidemill_schema::notices::plan::Planned;
use tidemill_schema::notices::{Moment, Way};

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
    let Some((way, destination)) = destination(&reporter.kind) else { return vec![] };
    let mut seen = BTreeSet::new();
    let mut rows = vec![];
    for to in &notice.to {
        let (address, facts) = match to {
            To::Fixed(address) if address.is_empty() => (destination.clone(), json!({})),
            To::Fixed(address) => (address.clone(), json!({ "why": "configured" })),
            To::Person { name, why } => match names.find(&reporter.name, name) {
                Some(Found::Address(address)) => (address, json!({ "why": why, "name": name })),
                Some(Found::Name) => (name.clone(), json!({ "why": why, "name": name, "lookup": true })),
                None => continue,
            },
            To::Commit { codebase, repository, revision, branch } => {
                let repository = without_login(repository);
                let at = revision.as_deref().or(branch.as_deref()).unwrap_or("HEAD");
                let facts = json!({ "codebase": codebase, "repository": repository, "revision": revision,
                                    "branch": branch });
                (format!("{repository}@{at}"), facts)
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
            order_key: order(way, &reporter.kind, &reporter.name, notice, &address),
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
    let (way, destination) = destination(&reporter.kind)?;
    let own = match &reporter.kind {
        ReporterKind::Mail(mail) => mail.extra_recipients.first().cloned(),
        ReporterKind::Irc(irc) => irc.channels.first().map(|c| c.name.clone()),
        _ => Some(destination.clone()),
    };
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
        address: said("to").map(str::to_owned).or(own)?,
        facts: json!({ "why": format!("asked for by {}", said("by").unwrap_or("somebody")) }),
        order_key: None,
        message_id: said("message_id").map(str::to_owned),
        wait_us: 0,
        max_age_us: reporter.max_age_us,
    })
}

/// What must come one after the other: the beginning and end of a build at an address that hears
/// both, and what a forge shows of a commit. Mails may overtake each other.
fn order(way: Way, kind: &ReporterKind, reporter: &str, notice: &Notice, address: &str) -> Option<String> {
    let build = notice.build.or(notice.request).or(notice.buildset)?;
    match (way, kind) {
        (Way::Mail, _) => None,
        (Way::Irc, _) => Some(format!("{reporter} {address}")),
        (Way::Http, _) => Some(format!("{reporter} {build}")),
        (Way::Forge, _) => Some(format!("{reporter} {} {address}", notice.builder.unwrap_or_default())),
    }
}

/// Through what a reporter speaks. None where its address is no address: nothing can be planned.
pub(crate) fn destination(kind: &ReporterKind) -> Option<(Way, String)> {
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
    Some(match kind {
        Mail(mail) => (Way::Mail, format!("{}:{}", mail.relayhost, mail.port)),
        Irc(irc) => (Way::Irc, format!("{}:{}", irc.host, irc.port)),
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

/// Whether a later one of the same order makes an earlier one old news: a status that is shown is
/// the last, a message is read.
pub(crate) fn supersedes(kind: &ReporterKind, moment: Moment) -> bool {
    use ReporterKind::*;
    matches!(kind, Github(_) | Gitlab(_) | Gitea(_) | Bitbucket(_) | BitbucketServer(_) | BitbucketServerCore(_))
        && matches!(moment, Moment::Start | Moment::End | Moment::Request)
}
