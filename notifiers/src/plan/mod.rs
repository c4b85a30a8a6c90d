//! From an event to who is told: pure, so that it can be tested by tables, and so
//! that two who plan the same event plan the same.
//!
//! [`notices`] asks each reporter's generators, and of IRC what its channels want
//! to hear. [`recipients`] makes rows of what
//! they say, once people's names have become addresses.

mod blame;
mod commits;
mod concern;
mod filter;
mod irc;
mod order;
mod recipients;
#[cfg(test)]
mod tests;

pub use concern::concerns;
pub use irc::{Settled, ended_watches};
pub(crate) use order::{Supersedes, supersedes};
pub use recipients::{Found, Names, planned, tested};

use std::collections::BTreeMap;
use tidemill_lang::definition::{GeneratorDef, GeneratorKind, Mode, ReporterDef, ReporterKind};
use tidemill_model::Results;
use tidemill_schema::events::Event;
use tidemill_schema::notices::Moment;
use tidemill_schema::notices::facts::{BuildFacts, BuildsetFacts, RequestFacts};

/// What is known of a page of events, by id.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub builds: BTreeMap<i64, BuildFacts>,
    pub buildsets: BTreeMap<i64, BuildsetFacts>,
    pub requests: BTreeMap<i64, RequestFacts>,
    /// Names of workers.
    pub workers: BTreeMap<i64, String>,
    /// Mailboxes that the project names for a worker that stays away.
    pub notify_on_missing: BTreeMap<i64, Vec<String>>,
    /// What channels and nicks settled, by IRC reporter and folded name.
    pub places: BTreeMap<String, BTreeMap<String, Settled>>,
}

/// What an event is about, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    BuildStarted(i64),
    BuildEnded(i64),
    BuildsetEnded(i64),
    RequestMade(i64),
    RequestEnded(i64),
    WorkerMissing(i64),
    WorkerCame(i64),
    WorkerWent(i64),
}

impl Subject {
    /// None: nobody is told of such an event.
    pub fn of(event: &Event) -> Option<Subject> {
        let id = |key: &str| event.data.get(key).and_then(|v| v.as_i64());
        Some(match event.kind.as_str() {
            "builds.new" => Subject::BuildStarted(event.build_id?),
            "builds.finished" => Subject::BuildEnded(event.build_id?),
            "buildsets.complete" => Subject::BuildsetEnded(id("bsid")?),
            "buildrequests.new" => Subject::RequestMade(id("buildrequestid")?),
            "buildrequests.complete" => Subject::RequestEnded(id("buildrequestid")?),
            "workers.missing" => Subject::WorkerMissing(id("workerid")?),
            "workers.connected" => Subject::WorkerCame(id("workerid")?),
            "workers.disconnected" => Subject::WorkerWent(id("workerid")?),
            _ => return None,
        })
    }
}

/// Whom a notice is for, before names are addresses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// As the reporter says, whatever it is there.
    Fixed(String),
    /// A channel or nick, why, and what it hears of in a few words.
    Place { place: String, why: &'static str, about: String },
    /// Somebody of the changes, and why.
    Person { name: String, why: &'static str },
    /// A commit's status or its pull request.
    Commit { codebase: String, repository: String, revision: String, branch: Option<String> },
}

/// A generator has something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Place in the list of reporters.
    pub reporter: usize,
    /// Place in its list of generators.
    pub generator: usize,
    pub moment: Moment,
    /// The most telling of the modes that took it.
    pub mode: &'static str,
    pub builder: Option<i64>,
    pub build: Option<i64>,
    pub buildset: Option<i64>,
    pub request: Option<i64>,
    pub worker: Option<i64>,
    pub to: Vec<To>,
}

/// What the facts have to hold for these reporters.
pub fn wanted(reporters: &[ReporterDef]) -> tidemill_schema::notices::facts::Wanted {
    let mails = |r: &ReporterDef| matches!(&r.kind, ReporterKind::Mail(m) if m.send_to_interested_users);
    tidemill_schema::notices::facts::Wanted {
        people: reporters.iter().any(mails),
        line: reporters.iter().any(|r| mails(r) || r.generators.iter().any(|g| g.per_branch)),
    }
}

/// What all reporters have to say of an event.
pub fn notices(reporters: &[ReporterDef], facts: &Facts, subject: Subject) -> Vec<Notice> {
    let mut all = vec![];
    for (r, reporter) in reporters.iter().enumerate() {
        if let ReporterKind::Irc(settings) = &reporter.kind {
            let notice = irc::notice(&reporter.name, settings, facts, subject);
            all.extend(notice.map(|notice| Notice { reporter: r, ..notice }));
        }
        for (g, generator) in reporter.generators.iter().enumerate() {
            let mut said = generated(generator, facts, subject);
            for (notice, build) in &mut said {
                notice.reporter = r;
                notice.generator = g;
                notice.to = to(reporter, generator, facts, notice, *build);
            }
            all.extend(said.into_iter().map(|(notice, _)| notice).filter(|notice| !notice.to.is_empty()));
        }
    }
    all
}

/// What one generator has to say, with the build that it is about.
fn generated<'f>(
    generator: &GeneratorDef,
    facts: &'f Facts,
    subject: Subject,
) -> Vec<(Notice, Option<&'f BuildFacts>)> {
    use GeneratorKind::*;
    match (subject, generator.kind) {
        (Subject::BuildStarted(id), Build | BuildStartEnd)
            if generator.kind == BuildStartEnd || generator.report_new =>
        {
            let build = facts.builds.get(&id).filter(|b| filter::build(generator, b));
            build.map(|b| (of_build(b, Moment::Start, "started"), Some(b))).into_iter().collect()
        }
        (Subject::BuildEnded(id), Build | BuildStartEnd) => {
            let build = facts.builds.get(&id).filter(|b| filter::build(generator, b));
            let said = build.and_then(|b| Some((of_build(b, Moment::End, mode(generator, b)?), Some(b))));
            said.into_iter().collect()
        }
        (Subject::BuildsetEnded(id), Buildset) => {
            let Some(set) = facts.buildsets.get(&id) else { return vec![] };
            let builds =
                set.builds.iter().filter_map(|id| facts.builds.get(id)).filter(|b| filter::build(generator, b));
            builds.filter_map(|b| Some((of_build(b, Moment::Buildset, mode(generator, b)?), Some(b)))).collect()
        }
        (Subject::BuildsetEnded(id), BuildsetCombined) => {
            let Some(set) = facts.buildsets.get(&id) else { return vec![] };
            let told = set.builds.iter().filter_map(|id| facts.builds.get(id)).any(|b| filter::build(generator, b));
            let mode = set.results.map_or("", base);
            let notice = Notice { buildset: Some(id), mode, ..blank(Moment::Buildset) };
            if told { vec![(notice, None)] } else { vec![] }
        }
        (Subject::RequestMade(id), Request) => of_request(generator, facts, id, "started"),
        (Subject::RequestEnded(id), Request) => {
            let cancelled = facts.requests.get(&id).is_some_and(|r| r.unbuilt && r.results == Some(Results::Cancelled));
            if cancelled { of_request(generator, facts, id, "cancelled") } else { vec![] }
        }
        (Subject::WorkerMissing(id), WorkerMissing) => {
            let Some(name) = facts.workers.get(&id) else { return vec![] };
            let told = generator.workers.as_ref().is_none_or(|names| names.contains(name));
            let notice = Notice { worker: Some(id), mode: "missing", ..blank(Moment::Worker) };
            if told { vec![(notice, None)] } else { vec![] }
        }
        _ => vec![],
    }
}

fn blank(moment: Moment) -> Notice {
    Notice {
        reporter: 0,
        generator: 0,
        moment,
        mode: "",
        builder: None,
        build: None,
        buildset: None,
        request: None,
        worker: None,
        to: vec![],
    }
}

fn of_build(build: &BuildFacts, moment: Moment, mode: &'static str) -> Notice {
    Notice {
        mode,
        builder: Some(build.builder_id),
        build: Some(build.build),
        buildset: Some(build.buildset),
        request: Some(build.request),
        ..blank(moment)
    }
}

fn of_request<'f>(
    generator: &GeneratorDef,
    facts: &Facts,
    id: i64,
    mode: &'static str,
) -> Vec<(Notice, Option<&'f BuildFacts>)> {
    let Some(request) = facts.requests.get(&id).filter(|r| filter::request(generator, r)) else { return vec![] };
    let notice = Notice {
        mode,
        builder: Some(request.builder_id),
        buildset: Some(request.buildset),
        request: Some(id),
        ..blank(Moment::Request)
    };
    vec![(notice, None)]
}

/// How a generator calls the end of a build, if it tells it: the most telling of its modes.
fn mode(generator: &GeneratorDef, build: &BuildFacts) -> Option<&'static str> {
    let results = build.results?;
    if !generator.kind.has_modes() || generator.modes.is_empty() {
        return Some(base(results));
    }
    let before = if generator.per_branch { build.line_previous } else { build.previous() };
    let telling = [Mode::Problem, Mode::Change].into_iter().chain(Mode::EVERY_END);
    telling.filter(|m| generator.modes.contains(m)).find(|m| m.takes(results, before)).map(Mode::name)
}

/// What a result is called where no mode chose it.
pub(crate) fn base(results: Results) -> &'static str {
    match results {
        Results::Success => "passing",
        Results::Warnings => "warnings",
        Results::Failure => "failing",
        Results::Exception => "exception",
        Results::Cancelled => "cancelled",
        Results::Skipped => "skipped",
        Results::Retry => "retry",
    }
}

/// Whom a reporter tells.
fn to(
    reporter: &ReporterDef,
    generator: &GeneratorDef,
    facts: &Facts,
    notice: &Notice,
    build: Option<&BuildFacts>,
) -> Vec<To> {
    match &reporter.kind {
        ReporterKind::Mail(mail) => {
            let mut to: Vec<To> = mail.extra_recipients.iter().cloned().map(To::Fixed).collect();
            to.extend(
                notice
                    .worker
                    .and_then(|id| facts.notify_on_missing.get(&id))
                    .into_iter()
                    .flatten()
                    .cloned()
                    .map(To::Fixed),
            );
            if mail.send_to_interested_users && notice.moment != Moment::Start {
                to.extend(match build {
                    Some(build) => blame::people(&generator.blame, build),
                    None => blame::people_of_set(&generator.blame, facts, notice.buildset),
                });
            }
            to.sort();
            to.dedup();
            to
        }
        // It has no generators: irc.rs plans for it.
        ReporterKind::Irc(_) => vec![],
        // The address is the reporter's own.
        ReporterKind::Http(_) | ReporterKind::Webhook(_) | ReporterKind::Zulip(_) => vec![To::Fixed(String::new())],
        forge => commits::commits(forge, facts, notice, build),
    }
}
