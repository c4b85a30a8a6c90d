//! What only the whole can tell: names are unique, and what is named exists.

use super::root::{Config, Entry};
use super::{Builder, Scheduler, Source, Worker};
use crate::definition::{BuilderDef, ChangeSourceDef, SchedulerDef, SchedulerKind, WorkerDef};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use std::collections::{BTreeMap, BTreeSet};

/// In `workernames`: every worker.
const ANY_WORKER: &str = "*";

pub(super) fn check(
    config: &Config,
    workers: &[(Entry<WorkerDef>, Worker)],
    builders: &[(Entry<BuilderDef>, Builder)],
    schedulers: &[(Entry<SchedulerDef>, Scheduler)],
    sources: &[(Entry<ChangeSourceDef>, Source)],
    collector: &Collector,
) {
    let check = Check { collector };
    let worker_sites = check.names("worker", workers.iter().map(|(w, _)| (w.definition.name.as_str(), w)));
    let builder_sites = check.names("builder", builders.iter().map(|(b, _)| (b.definition.name.as_str(), b)));
    let scheduler_sites = check.names("scheduler", schedulers.iter().map(|(s, _)| (s.definition.name.as_str(), s)));
    check.unique("change source", sources.iter().map(|(s, _)| (s.definition.name.as_str(), s)));
    for (builder, _) in builders {
        check.workernames(builder, &worker_sites);
    }
    for (scheduler, _) in schedulers {
        check.builder_names(scheduler, &builder_sites);
        check.upstream(scheduler, &scheduler_sites);
    }
    super::triggers::check(builders, schedulers, collector);
    check.circles(schedulers.iter().map(|(s, _)| s));
    if builders.is_empty() && !collector.has_errors() {
        let message = "there are no builders: nothing will be built";
        let hint = "add one to c[\"builders\"], as in util.BuilderConfig(name = \"linux\", workernames = [\"*\"], factory = …)";
        config.report("builders", Diagnostic::warning(message).hint(hint), collector);
    }
}

struct Check<'a> {
    collector: &'a Collector,
}

type Sites<'a> = BTreeMap<&'a str, &'a Site>;

impl Check<'_> {
    /// Names that stand in addresses and folders: well formed and unique.
    fn names<'a, D: 'a>(&self, what: &str, all: impl Iterator<Item = (&'a str, &'a Entry<D>)> + Clone) -> Sites<'a> {
        for (name, entry) in all.clone().filter(|(_, e)| e.trees.by_name.contains_key("name")) {
            if let Some(fault) = names::fault(name) {
                let message = format!("the {what}'s name {name:?} {fault}");
                self.report(&entry.site, "name", Diagnostic::error(message));
            }
        }
        self.unique(what, all)
    }

    fn unique<'a, D: 'a>(&self, what: &str, all: impl Iterator<Item = (&'a str, &'a Entry<D>)>) -> Sites<'a> {
        let mut sites = Sites::new();
        for (name, entry) in all.filter(|(name, e)| !name.is_empty() && !e.trees.refused.iter().any(|r| r == "name")) {
            match sites.get(name) {
                None => {
                    sites.insert(name, &entry.site);
                }
                Some(first) => {
                    let message = format!("there are two {what}s named `{name}`");
                    let note = format!("the first is at {}", first.location());
                    self.report(&entry.site, "name", Diagnostic::error(message).notes([note]));
                }
            }
        }
        sites
    }

    fn workernames(&self, builder: &Entry<BuilderDef>, workers: &Sites<'_>) {
        let BuilderDef { name, workernames, .. } = &builder.definition;
        let report = |diagnostic| self.report(&builder.site, "workernames", diagnostic);
        if workernames.is_empty() && builder.trees.by_name.contains_key("workernames") {
            let message = format!("builder `{name}` names no worker");
            report(Diagnostic::error(message).hint("workernames = [\"*\"] lets every worker build it"));
        }
        for worker in workernames.iter().filter(|w| *w != ANY_WORKER) {
            if let Some(fault) = names::fault(worker) {
                report(Diagnostic::error(format!("builder `{name}` names the worker {worker:?}, which {fault}")));
            } else if !workers.is_empty() && !workers.contains_key(worker.as_str()) {
                let message =
                    format!("builder `{name}` names the worker `{worker}`, which c[\"workers\"] does not have");
                report(Diagnostic::error(message).maybe_hint(self.suggestion(worker, workers)));
            }
        }
    }

    fn builder_names(&self, scheduler: &Entry<SchedulerDef>, builders: &Sites<'_>) {
        let SchedulerDef { name, builder_names, .. } = &scheduler.definition;
        let report = |diagnostic| self.report(&scheduler.site, "builderNames", diagnostic);
        let function = scheduler.definition.builders_function;
        if builder_names.is_empty() && !function && scheduler.trees.by_name.contains_key("builderNames") {
            report(Diagnostic::warning(format!("scheduler `{name}` names no builder: it starts nothing")));
        }
        for builder in builder_names.iter().filter(|b| !builders.contains_key(b.as_str())) {
            let message = format!("scheduler `{name}` names the builder `{builder}`, which does not exist");
            report(Diagnostic::error(message).maybe_hint(self.suggestion(builder, builders)));
        }
    }

    /// Schedulers that it waits for.
    fn upstream(&self, scheduler: &Entry<SchedulerDef>, schedulers: &Sites<'_>) {
        let upstream = scheduler.definition.upstream().iter().map(String::as_str);
        for name in upstream.filter(|n| !n.is_empty() && !schedulers.contains_key(n)) {
            let own = &scheduler.definition.name;
            let message =
                format!("scheduler `{own}` names the scheduler `{name}`, which c[\"schedulers\"] does not have");
            let diagnostic = Diagnostic::error(message).maybe_hint(self.suggestion(name, schedulers));
            self.report(&scheduler.site, "upstream", diagnostic);
        }
    }

    /// Dependent schedulers that wait for each other in a circle would, set off once by hand, never stop.
    fn circles<'a>(&self, schedulers: impl Iterator<Item = &'a Entry<SchedulerDef>>) {
        let waits: BTreeMap<&str, (&str, &Site)> = schedulers
            .filter_map(|s| match &s.definition.kind {
                SchedulerKind::Dependent { upstream } => {
                    Some((s.definition.name.as_str(), (upstream.as_str(), &s.site)))
                }
                _ => None,
            })
            .collect();
        let mut told = BTreeSet::new();
        for first in waits.keys() {
            let (mut way, mut at) = (vec![*first], waits[first].0);
            while at != *first && waits.contains_key(at) && !way.contains(&at) {
                way.push(at);
                at = waits[at].0;
            }
            // The circle of which one was told is told.
            if at != *first || !told.is_disjoint(&way.iter().copied().collect()) {
                continue;
            }
            told.extend(way.iter().copied());
            let message = match way.as_slice() {
                [own] => format!("scheduler `{own}` waits for itself"),
                _ => format!("schedulers wait for each other: `{}` → `{first}`", way.join("` → `")),
            };
            let places = way.iter().skip(1).map(|name| format!("`{name}` is at {}", waits[name].1.location()));
            let hint = "the first of a chain is set off by changes, by the clock or by people";
            self.report(waits[first].1, "upstream", Diagnostic::error(message).notes(places).hint(hint));
        }
    }

    /// The near name and where it is, or a few that exist.
    fn suggestion(&self, wanted: &str, known: &Sites<'_>) -> Option<String> {
        match names::nearest(wanted, known.keys().copied()) {
            Some(near) => Some(format!("did you mean `{near}`, defined at {}?", known[near].location())),
            None if known.is_empty() => None,
            None => Some(format!("there are {}", known.keys().take(10).copied().collect::<Vec<_>>().join(", "))),
        }
    }

    fn report(&self, site: &Site, argument: &str, diagnostic: Diagnostic) {
        self.collector.report(site.place_argument(argument, diagnostic));
    }
}
