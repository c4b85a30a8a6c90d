//! Reporters among `c["services"]`.

mod chat;
mod check;
mod forges;
mod formatters;
mod generators;
mod http;
mod mail;
mod reading;

use super::root::Config;
use crate::definition::{GeneratorKind, ReporterDef, ReporterKind};
use crate::host::collector::Collector;
use crate::host::site::Site;
use crate::policies::Reporter;
use crate::values::convert::{optional_text, seconds};
use crate::values::descriptor::Descriptor;
pub(super) use check::{Known, check};
use reading::Reading;

/// One reporter; its place is kept for [`check`].
pub(super) struct Found {
    pub definition: ReporterDef,
    pub rules: Reporter,
    pub site: Site,
    /// Places of its generators, where they are written.
    pub generators: Vec<Site>,
}

/// None where something of it is wrong, which is reported.
pub(super) fn read(config: &Config, service: &Descriptor<'_>, collector: &Collector) -> Option<Found> {
    let mut reading = Reading::new(config, service, collector);
    let kind = kind(&mut reading)?;
    let generators = generators::read(&mut reading, &kind);
    let given = reading.get("name", optional_text).flatten().filter(|n| !n.is_empty());
    let definition = ReporterDef {
        name: given.unwrap_or_else(|| kind.name().to_owned()),
        generators: generators.iter().map(|g| g.definition.clone()).collect(),
        max_age_us: reading.get("maxAge", seconds).flatten().unwrap_or(kind.max_age_us()),
        kind,
        digest_us: reading.get("digest", seconds).flatten().filter(|us| *us > 0),
        location: service.site.location(),
    };
    let sites = generators.iter().map(|g| g.site.clone()).collect();
    let mut rules = std::mem::take(&mut reading.rules);
    rules.generators = generators.into_iter().map(|g| g.rules).collect();
    Some(Found { definition, rules, site: service.site.clone(), generators: sites })
}

fn kind(r: &mut Reading<'_, '_>) -> Option<ReporterKind> {
    use ReporterKind::*;
    Some(match r.service.spec.short() {
        "MailNotifier" => Mail(mail::read(r)?),
        "IRC" => Irc(chat::irc(r)?),
        "ZulipStatusPush" => Zulip(chat::zulip(r)?),
        "HttpStatusPush" => Http(http::push(r)?),
        "Webhook" => Webhook(http::webhook(r)?),
        "GitHubStatusPush" => Github(forges::forge(r, "https://api.github.com")?),
        "GitHubCommentPush" => GithubComment(forges::forge(r, "https://api.github.com")?),
        "GitLabStatusPush" => Gitlab(forges::forge(r, "https://gitlab.com")?),
        "GiteaStatusPush" => Gitea(forges::forge(r, "")?),
        "BitbucketStatusPush" => Bitbucket(forges::bitbucket(r)?),
        "BitbucketServerStatusPush" => BitbucketServer(forges::server(r)?),
        "BitbucketServerCoreAPIStatusPush" => BitbucketServerCore(forges::server(r)?),
        "BitbucketServerPRCommentPush" => BitbucketServerComment(forges::server(r)?),
        "GerritStatusPush" => Gerrit(forges::gerrit(r)?),
        "GerritVerifyStatusPush" => GerritVerify(forges::verify_status(r)?),
        other => unreachable!("engines says that nobody runs {other}"),
    })
}

/// What a kind tells where the file names no generators.
fn usual(kind: &ReporterKind) -> Vec<GeneratorKind> {
    use GeneratorKind::{Build, BuildStartEnd, BuildsetCombined, Request};
    match kind {
        ReporterKind::Mail(_) | ReporterKind::GithubComment(_) | ReporterKind::BitbucketServerComment(_) => vec![Build],
        ReporterKind::Irc(_) => vec![],
        ReporterKind::Http(_)
        | ReporterKind::Webhook(_)
        | ReporterKind::Zulip(_)
        | ReporterKind::Bitbucket(_)
        | ReporterKind::BitbucketServer(_) => vec![BuildStartEnd],
        ReporterKind::Github(_)
        | ReporterKind::Gitlab(_)
        | ReporterKind::Gitea(_)
        | ReporterKind::BitbucketServerCore(_)
        | ReporterKind::GerritVerify(_) => vec![Request, BuildStartEnd],
        ReporterKind::Gerrit(gerrit) => {
            let builds = match (gerrit.start, gerrit.review) {
                (true, _) => Some(BuildStartEnd),
                (false, true) => Some(Build),
                (false, false) => None,
            };
            let summary = (gerrit.summary || !gerrit.review).then_some(BuildsetCombined);
            builds.into_iter().chain(summary).collect()
        }
    }
}
