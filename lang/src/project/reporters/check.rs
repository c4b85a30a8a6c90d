//! What only the whole can tell of reporters: names are unique, what they name
//! exists, and somebody is told.

use super::Found;
use crate::definition::{BuilderDef, GeneratorDef, GeneratorKind, ReporterKind};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;

/// Names that the rest of the project defines.
pub(in crate::project) struct Known<'a> {
    pub builders: &'a [BuilderDef],
    pub schedulers: Vec<&'a str>,
    /// Empty: any worker may be named.
    pub workers: Vec<&'a str>,
    /// Of the services that are no reporters.
    pub services: Vec<&'a str>,
}

pub(in crate::project) fn check(found: &[Found], known: &Known<'_>, collector: &Collector) {
    for (i, reporter) in found.iter().enumerate() {
        let definition = &reporter.definition;
        let name = &definition.name;
        let report = |argument: &str, d: Diagnostic| collector.report(reporter.site.place_argument(argument, d));
        if let Some(fault) = names::fault(name) {
            report("name", Diagnostic::error(format!("the reporter's name {name:?} {fault}")));
        }
        if let Some(first) = found[..i].iter().find(|f| f.definition.name == *name) {
            let note = format!("the first is at {}", first.site.location());
            let diagnostic = Diagnostic::error(format!("there are two services named `{name}`")).notes([note]);
            report("name", diagnostic.hint(format!("give each a name, as in name = {:?}", format!("{name} 2"))));
        } else if known.services.iter().any(|s| s == name) {
            report("name", Diagnostic::error(format!("there are two services named `{name}`")));
        }
        nobody(reporter, &report);
        if let ReporterKind::Irc(irc) = &definition.kind {
            tags(irc.tags.as_deref(), &reporter.site, known, collector);
        }
        for (generator, site) in definition.generators.iter().zip(&reporter.generators) {
            filters(generator, site, known, collector);
        }
    }
}

/// A reporter whom nobody hears.
fn nobody(reporter: &Found, report: &dyn Fn(&str, Diagnostic)) {
    let generators = &reporter.definition.generators;
    match &reporter.definition.kind {
        // A worker names those who are told of it.
        ReporterKind::Mail(mail)
            if mail.extra_recipients.is_empty()
                && !mail.send_to_interested_users
                && generators.iter().any(|g| g.kind != GeneratorKind::WorkerMissing) =>
        {
            let message = "reporters.MailNotifier mails nobody: it has no `extraRecipients`, and `sendToInterestedUsers` is False";
            let hint = "as in extraRecipients = [\"team@example.org\"]";
            report("sendToInterestedUsers", Diagnostic::error(message).hint(hint));
        }
        ReporterKind::Irc(irc) if irc.channels.is_empty() && irc.pm_to_nicks.is_empty() => {
            let message = "reporters.IRC joins no channel and tells nobody";
            report("channels", Diagnostic::warning(message).hint("as in channels = [\"#builds\"]"));
        }
        _ => {}
    }
}

fn filters(generator: &GeneratorDef, site: &Site, known: &Known<'_>, collector: &Collector) {
    let missing = |argument: &str, what: &str, name: &str, all: &[&str]| {
        let message = format!("a generator names the {what} `{name}`, which does not exist");
        let hint = match names::nearest(name, all.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if all.is_empty() => None,
            None => Some(format!("there are {}", all.iter().take(10).copied().collect::<Vec<_>>().join(", "))),
        };
        collector.report(site.place_argument(argument, Diagnostic::error(message).maybe_hint(hint)));
    };
    let builders: Vec<&str> = known.builders.iter().map(|b| b.name.as_str()).collect();
    for name in generator.builders.iter().flatten().filter(|n| !builders.contains(&n.as_str())) {
        missing("builders", "builder", name, &builders);
    }
    for name in generator.schedulers.iter().flatten().filter(|n| !known.schedulers.contains(&n.as_str())) {
        missing("schedulers", "scheduler", name, &known.schedulers);
    }
    if !known.workers.is_empty() {
        for name in generator.workers.iter().flatten().filter(|n| !known.workers.contains(&n.as_str())) {
            missing("workers", "worker", name, &known.workers);
        }
    }
    tags(generator.tags.as_deref(), site, known, collector);
}

fn tags(tags: Option<&[String]>, site: &Site, known: &Known<'_>, collector: &Collector) {
    let all: Vec<&str> = known.builders.iter().flat_map(|b| b.tags.iter().map(String::as_str)).collect();
    for tag in tags.unwrap_or_default().iter().filter(|t| !all.contains(&t.as_str())) {
        let message = format!("no builder has the tag `{tag}`");
        let hint = names::nearest(tag, all.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        collector.report(site.place_argument("tags", Diagnostic::warning(message).maybe_hint(hint)));
    }
}
