//! `c["schedulers"]`.

use super::root::{Config, Entry};
use super::timed::{self, Timed};
use super::{Scheduler, force};
use crate::definition::{CodebaseDef, CustomSchedulerDef, SchedulerDef, SchedulerKind};
use crate::filter::{Filter, Predicate};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::policies::Function;
use crate::values::convert::{boolean, int32, optional_text, properties, seconds, text, texts};
use crate::values::declare;
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::spec::{Kind, RuleKind};
use crate::values::tree::Tree;
use starlark::values::Value;
use std::collections::BTreeMap;

/// What is read into fields of its own.
const FIELDS: [&str; 10] = [
    "name",
    "builderNames",
    "codebases",
    "properties",
    "reason",
    "priority",
    "change_filter",
    "fileIsImportant",
    "onlyImportant",
    "rule",
];

pub(super) fn read(config: &Config, collector: &Collector) -> Vec<(Entry<SchedulerDef>, Scheduler)> {
    timed::check_zone(config, collector);
    let found = config.descriptors("schedulers", |k| matches!(k, Kind::Scheduler(_)), "schedulers", collector);
    found.iter().map(|descriptor| scheduler(config, descriptor, collector)).collect()
}

fn scheduler(config: &Config, descriptor: &Descriptor<'_>, collector: &Collector) -> (Entry<SchedulerDef>, Scheduler) {
    let trees = descriptor.trees(collector);
    let name = trees.get("name", text).unwrap_or_default();
    let report = |argument: &str, diagnostic| collector.report(descriptor.site.place_argument(argument, diagnostic));
    let own = |value: Value<'_>| config.own(value);
    let filter = descriptor
        .arg("change_filter")
        .and_then(Descriptor::from_value)
        .map(|filter| Filter::new(filter, &own, collector));
    let kind = kind(config, descriptor, &trees, collector);
    // Those that the clock sets off have a branch beside their filter.
    let timed = matches!(kind, SchedulerKind::Periodic { .. } | SchedulerKind::Nightly(_));
    let branches = branches(&trees).filter(|_| !timed);
    if filter.is_some() && branches.is_some() {
        let argument = if trees.given("branch") { "branch" } else { "branches" };
        let message = format!("scheduler `{name}` has both `{argument}` and `change_filter`");
        report(argument, Diagnostic::error(message).hint("put the branch into the filter"));
    }
    let asks_people = matches!(kind, SchedulerKind::Force(_) | SchedulerKind::Declared(_));
    if asks_people && Function::of(descriptor, "builderNames", &own).is_some() {
        let message =
            format!("`builderNames` of scheduler `{name}` is a function, and there is no change to ask it about");
        report("builderNames", Diagnostic::error(message).hint("give a list: people choose from it"));
    }
    let important = Predicate::of(descriptor, "fileIsImportant", &own);
    if trees.get("onlyImportant", boolean).unwrap_or(false) && important.is_none() && !trees.given("fileIsImportant") {
        let message = "`onlyImportant` has no effect without `fileIsImportant`: every change is important";
        report("onlyImportant", Diagnostic::warning(message));
    }
    let function = |name: &str| Function::of(descriptor, name, &own);
    let scheduler = Scheduler {
        filter: filter.or_else(|| branches.map(Filter::of_branches)),
        important,
        builders: function("builderNames"),
        priority: function("priority"),
        rule: function("rule"),
    };
    let (codebases, codebase_defaults) = match &kind {
        // Its form says what they are.
        SchedulerKind::Force(form) => (form.codebases.iter().map(|f| f.name.clone()).collect(), BTreeMap::new()),
        _ => codebases(&trees),
    };
    let definition = SchedulerDef {
        kind,
        builder_names: trees.get("builderNames", texts).unwrap_or_default(),
        builders_function: scheduler.builders.is_some(),
        codebases,
        codebase_defaults,
        absolute: trees.get("createAbsoluteSourceStamps", boolean).unwrap_or(false),
        properties: trees.get("properties", properties).unwrap_or_default(),
        reason: reason(&trees, &name, descriptor.spec.short()),
        priority: trees.get("priority", int32),
        priority_function: scheduler.priority.is_some(),
        location: descriptor.site.location(),
        name,
    };
    (Entry { definition, site: descriptor.site.clone(), trees }, scheduler)
}

fn kind(config: &Config, descriptor: &Descriptor<'_>, trees: &Trees, collector: &Collector) -> SchedulerKind {
    // Zero seconds of quiet are none.
    let tree_stable_us = trees.get("treeStableTimer", seconds).flatten().filter(|us| *us > 0);
    let flag = |name: &str| trees.get(name, boolean).unwrap_or(false);
    let only_important = flag("onlyImportant");
    let timed = Timed { config, descriptor, trees, collector };
    let Kind::Scheduler(rule) = descriptor.kind() else { return SchedulerKind::Triggerable };
    match rule {
        RuleKind::SingleBranch => SchedulerKind::SingleBranch { tree_stable_us, only_important },
        RuleKind::AnyBranch => SchedulerKind::AnyBranch { tree_stable_us, only_important },
        RuleKind::Dependent => SchedulerKind::Dependent { upstream: upstream(descriptor) },
        RuleKind::Periodic => SchedulerKind::Periodic {
            interval_us: trees.get("periodicBuildTimer", seconds).flatten().unwrap_or(1_000_000),
            timed: timed.timed(),
        },
        RuleKind::Nightly => SchedulerKind::Nightly(timed.nightly()),
        RuleKind::NightlyTriggerable => SchedulerKind::NightlyTriggerable { at: timed.at() },
        RuleKind::Triggerable => SchedulerKind::Triggerable,
        RuleKind::Force => SchedulerKind::Force(Box::new(force::read(descriptor, trees, collector))),
        RuleKind::Custom => SchedulerKind::Custom(CustomSchedulerDef {
            interval_us: trees.get("interval", seconds).flatten(),
            only_important,
            upstream: trees.get("upstream", texts).unwrap_or_default(),
            attrs: trees.get("attrs", properties).unwrap_or_default(),
        }),
        RuleKind::Declared => SchedulerKind::Declared(declare::declared(descriptor, &FIELDS)),
    }
}

/// A scheduler's name, given as such or as the scheduler.
fn upstream(descriptor: &Descriptor<'_>) -> String {
    let Some(value) = descriptor.arg("upstream") else { return String::new() };
    let name = match Descriptor::from_value(value) {
        Some(scheduler) => scheduler.arg("name"),
        None => Some(value),
    };
    name.and_then(|n| n.unpack_str()).unwrap_or_default().to_owned()
}

/// The scheduler's own branches; none if it names none.
fn branches(trees: &Trees) -> Option<Vec<Option<String>>> {
    let one = trees.get("branch", optional_text).map(|b| vec![b]);
    let many = trees.get("branches", texts).filter(|b| !b.is_empty());
    one.or(many.map(|b| b.into_iter().map(Some).collect()))
}

/// Free text, in which `%(name)s` and `%(classname)s` stand for the scheduler's.
fn reason(trees: &Trees, name: &str, class: &str) -> String {
    match trees.get("reason", text).or(trees.get("reasonString", text)) {
        Some(reason) => reason.replace("%(name)s", name).replace("%(classname)s", class),
        None => format!("The {class} scheduler named '{name}' triggered this build"),
    }
}

/// Names, and what the source stamp is where no change says.
fn codebases(trees: &Trees) -> (Vec<String>, BTreeMap<String, CodebaseDef>) {
    let Some(tree) = trees.by_name.get("codebases") else { return Default::default() };
    let Tree::Dict(entries) = tree else {
        let names = match tree {
            // The form's own list of parameters.
            Tree::List(items) => items.iter().filter_map(text).collect(),
            _ => vec![],
        };
        return (names, BTreeMap::new());
    };
    let mut defaults = BTreeMap::new();
    let names = entries.iter().filter_map(|(name, _)| text(name)).collect();
    for (name, value) in entries {
        let (Some(name), Tree::Dict(fields)) = (text(name), value) else { continue };
        let get = |key: &str| {
            let field = fields.iter().find(|(k, _)| matches!(k, Tree::Text(t) if t == key));
            field.and_then(|(_, v)| optional_text(v)).flatten()
        };
        let stamp = CodebaseDef {
            repository: get("repository").unwrap_or_default(),
            branch: get("branch"),
            revision: get("revision"),
        };
        if stamp != CodebaseDef::default() {
            defaults.insert(name, stamp);
        }
    }
    (names, defaults)
}
