//! `c["schedulers"]`.

use super::Scheduler;
use super::root::{Config, Entry};
use crate::definition::{SchedulerDef, SchedulerKind};
use crate::filter::{Filter, Predicate};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::values::convert::{boolean, int32, optional_text, properties, seconds, text, texts};
use crate::values::descriptor::{Descriptor, Trees};
use crate::values::spec::Kind;
use crate::values::tree::Tree;
use starlark::values::Value;

pub(super) fn read(config: &Config, collector: &Collector) -> Vec<(Entry<SchedulerDef>, Scheduler)> {
    let found = config.descriptors("schedulers", Kind::Scheduler, "schedulers", collector);
    found.into_iter().map(|descriptor| single_branch(config, descriptor, collector)).collect()
}

fn single_branch(
    config: &Config,
    descriptor: &Descriptor<'_>,
    collector: &Collector,
) -> (Entry<SchedulerDef>, Scheduler) {
    let trees = descriptor.trees(collector);
    let name = trees.get("name", text).unwrap_or_default();
    // Zero seconds of quiet are none.
    let tree_stable_us = trees.get("treeStableTimer", seconds).flatten().filter(|us| *us > 0);
    let only_important = trees.get("onlyImportant", boolean).unwrap_or(false);
    let report = |argument: &str, diagnostic| collector.report(descriptor.site.place_argument(argument, diagnostic));
    let own = |value: Value<'_>| config.own(value);
    let filter = descriptor
        .arg("change_filter")
        .and_then(Descriptor::from_value)
        .map(|filter| Filter::new(filter, &own, collector));
    let branch = trees.get("branch", optional_text);
    if filter.is_some() && branch.is_some() {
        let message = format!("scheduler `{name}` has both `branch` and `change_filter`");
        report("branch", Diagnostic::error(message).hint("put the branch into the filter"));
    }
    let important = Predicate::of(descriptor, "fileIsImportant", &own);
    if only_important && important.is_none() && !trees.given("fileIsImportant") {
        let message = "`onlyImportant` has no effect without `fileIsImportant`: every change is important";
        report("onlyImportant", Diagnostic::warning(message));
    }
    let definition = SchedulerDef {
        kind: SchedulerKind::SingleBranch { tree_stable_us, only_important },
        builder_names: trees.get("builderNames", texts).unwrap_or_default(),
        codebases: codebases(descriptor, &trees, collector),
        properties: trees.get("properties", properties).unwrap_or_default(),
        reason: reason(&trees, &name),
        priority: trees.get("priority", int32).unwrap_or(0),
        location: descriptor.site.location(),
        name,
    };
    let scheduler = Scheduler { filter: filter.or_else(|| branch.map(Filter::of_branch)), important };
    (Entry { definition, site: descriptor.site.clone(), trees }, scheduler)
}

/// Free text, in which `%(name)s` and `%(classname)s` stand for the scheduler's.
fn reason(trees: &Trees, name: &str) -> String {
    match trees.get("reason", text) {
        Some(text) => text.replace("%(name)s", name).replace("%(classname)s", "SingleBranchScheduler"),
        None => format!("new changes, by scheduler {name}"),
    }
}

/// The names alone; what a dict gives beside them comes later.
fn codebases(descriptor: &Descriptor<'_>, trees: &Trees, collector: &Collector) -> Vec<String> {
    let Some(tree) = trees.by_name.get("codebases") else { return vec![] };
    let Tree::Dict(entries) = tree else { return texts(tree).unwrap_or_default() };
    if entries.iter().any(|(_, defaults)| defaults.truth()) {
        let message = "defaults of codebases have no effect yet: only their names are used";
        collector.report(descriptor.site.place_argument("codebases", Diagnostic::warning(message)));
    }
    entries.iter().filter_map(|(name, _)| text(name)).collect()
}
