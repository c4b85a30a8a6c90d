//! `steps.Trigger` against the schedulers: what it names as it is written exists
//! and can be triggered. Names that a placeholder or a function gives are known
//! only when a build runs.

use super::root::Entry;
use super::{Builder, Scheduler};
use crate::definition::{BuilderDef, SchedulerDef, SchedulerKind};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::site::Site;
use crate::names;
use crate::values::descriptor::Descriptor;
use crate::values::tree::Tree;

const TRIGGER: &str = "steps.Trigger";
const NAMES: &str = "schedulerNames";

/// What a step of a factory triggers.
pub(crate) struct Triggers {
    site: Site,
    names: Vec<String>,
}

/// Checks the step by itself; none if it is no trigger.
pub(super) fn of_step(step: &Descriptor<'_>, collector: &Collector) -> Option<Triggers> {
    if step.spec.name != TRIGGER || step.custom().is_some() {
        return None;
    }
    let report = |argument: &str, message: String, hint: &str| {
        let diagnostic = Diagnostic::error(message).hint(hint);
        collector.report(step.site.place_argument(argument, diagnostic));
    };
    let tree = |name: &str| step.arg(name).map(Tree::of);
    let said = |name: &str| tree(name).is_some_and(|t| matches!(t, Tree::Placeholder | Tree::Function) || t.truth());
    let hint = "give the sources, or have them taken from this build, or the newest";
    for (one, other) in [
        ("sourceStamp", "sourceStamps"),
        ("alwaysUseLatest", "sourceStamp"),
        ("alwaysUseLatest", "sourceStamps"),
        ("updateSourceStamp", "sourceStamp"),
        ("updateSourceStamp", "sourceStamps"),
        ("updateSourceStamp", "alwaysUseLatest"),
    ] {
        if said(one) && said(other) {
            report(one, format!("`{one}` and `{other}` of {TRIGGER} exclude each other"), hint);
        }
    }
    let given = tree(NAMES);
    if given.as_ref().is_some_and(|t| !matches!(t, Tree::Placeholder | Tree::Function | Tree::Broken) && !t.truth()) {
        report(NAMES, format!("`{NAMES}` of {TRIGGER} is empty"), "name a `schedulers.Triggerable`");
    }
    let names = given.as_ref().map(names_in).unwrap_or_default();
    let unimportant = tree("unimportantSchedulerNames").as_ref().map(names_in).unwrap_or_default();
    if given.as_ref().is_some_and(|t| !t.has_placeholder()) {
        for stranger in unimportant.iter().filter(|u| !names.contains(u)) {
            let message = format!("`{stranger}` is unimportant, but it is not among `{NAMES}`");
            report("unimportantSchedulerNames", message, "name it there too: it is triggered only then");
        }
    }
    Some(Triggers { site: step.site.clone(), names })
}

/// Those that stand there as texts.
fn names_in(tree: &Tree) -> Vec<String> {
    let name = |tree: &Tree| match tree {
        Tree::Text(name) => Some(name.clone()),
        Tree::Dict(fields) => fields.iter().find_map(|(key, value)| match (key, value) {
            (Tree::Text(key), Tree::Text(name)) if key == "name" || key == "sched_name" => Some(name.clone()),
            _ => None,
        }),
        _ => None,
    };
    match tree {
        Tree::List(items) => items.iter().filter_map(name).collect(),
        one => name(one).into_iter().collect(),
    }
}

/// Whether a Trigger step may name it.
fn triggerable(kind: &SchedulerKind) -> bool {
    matches!(kind, SchedulerKind::Triggerable | SchedulerKind::NightlyTriggerable { .. })
}

pub(super) fn check(
    builders: &[(Entry<BuilderDef>, Builder)],
    schedulers: &[(Entry<SchedulerDef>, Scheduler)],
    collector: &Collector,
) {
    let found = |name: &str| schedulers.iter().map(|(s, _)| s).find(|s| s.definition.name == name);
    let all = || schedulers.iter().map(|(s, _)| s).filter(|s| triggerable(&s.definition.kind));
    for (builder, kept) in builders {
        for step in &kept.triggers {
            for name in &step.names {
                let own = &builder.definition.name;
                let diagnostic = match found(name) {
                    Some(scheduler) if triggerable(&scheduler.definition.kind) => continue,
                    Some(scheduler) => Diagnostic::error(format!(
                        "a step of builder `{own}` triggers the scheduler `{name}`, which is a {}",
                        scheduler.definition.kind.name()
                    ))
                    .notes([format!("`{name}` is defined at {}", scheduler.site.location())])
                    .hint("a step triggers `schedulers.Triggerable` only"),
                    None => {
                        let near = names::nearest(name, all().map(|s| s.definition.name.as_str()));
                        let place = |n: &str| found(n).map(|s| s.site.location()).unwrap_or_default();
                        let hint = match near {
                            Some(near) => format!("did you mean `{near}`, defined at {}?", place(near)),
                            None => match all().map(|s| s.definition.name.as_str()).take(10).collect::<Vec<_>>() {
                                none if none.is_empty() => {
                                    format!("add schedulers.Triggerable(name = {name:?}, builderNames = […])")
                                }
                                names => format!("there are {}", names.join(", ")),
                            },
                        };
                        let what = "which c[\"schedulers\"] does not have";
                        Diagnostic::error(format!("a step of builder `{own}` triggers the scheduler `{name}`, {what}"))
                            .hint(hint)
                    }
                };
                collector.report(step.site.place_argument(NAMES, diagnostic));
            }
        }
    }
}
