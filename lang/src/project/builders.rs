//! `c["builders"]`, with the steps of their factories.

use super::digest::Sources;
use super::root::{Config, Entry};
use super::triggers::Triggers;
use super::{Builder, dicts, engines};
use crate::definition::{BuilderDef, FolderDef, LockDef, PolicyNames, StepDef};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::limits::Limits;
use crate::policies::{CollapseRule, Function, LocksRule};
use crate::steps::{Step, git, sources};
use crate::values::convert::{boolean, optional_text, positive, properties, seconds, text, texts};
use crate::values::descriptor::Descriptor;
use crate::values::factory::FrozenFactory;
use crate::values::spec::{Kind, StepKind};
use crate::values::tree::Tree;
use crate::values::{declare, lock};
use serde_json::Value as Json;
use starlark::values::{OwnedFrozenValue, Value, ValueLike};
use tidemill_model::requires::Requires;

pub(super) fn read(
    config: &Config,
    limits: &Limits,
    sources: &Sources<'_>,
    locks: &mut Vec<LockDef>,
    collector: &Collector,
) -> Vec<(Entry<BuilderDef>, Builder)> {
    let found = config.descriptors("builders", |k| k == Kind::Builder, "util.BuilderConfig", collector);
    found.iter().map(|descriptor| builder(config, descriptor, limits, sources, locks, collector)).collect()
}

fn builder(
    config: &Config,
    descriptor: &Descriptor<'_>,
    limits: &Limits,
    sources: &Sources<'_>,
    locks: &mut Vec<LockDef>,
    collector: &Collector,
) -> (Entry<BuilderDef>, Builder) {
    let trees = descriptor.trees(collector);
    let optional = |name: &str| trees.get(name, optional_text).flatten();
    let own = |value: Value<'_>| config.own(value);
    let function = |name: &str| Function::of(descriptor, name, &own);
    let held = lock::held(descriptor, collector);
    let own_locks: Vec<&str> = held.iter().map(|(access, _)| access.lock.as_str()).collect();
    let (steps, step_defs, triggers) = steps(config, descriptor, limits, &own_locks, locks, collector);
    let collapse = collapse(descriptor.arg("collapseRequests"), descriptor, &own);
    let mut accesses = vec![];
    for (access, definition) in held {
        accesses.push(access);
        locks.extend(definition);
    }
    for name in engines::BUILDER_ARGUMENTS {
        if descriptor.arg(name).is_some_and(|v| Tree::of(v).truth()) {
            collector.report(descriptor.site.place_argument(name, engines::warning(&format!("`{name}`"))));
        }
    }
    let builder = Builder {
        env: descriptor.arg("env").and_then(&own),
        site: descriptor.site.clone(),
        collapse,
        next_build: function("nextBuild"),
        next_worker: function("nextWorker"),
        can_start_build: function("canStartBuild"),
        locks: function("locks").map(LocksRule),
        do_build_if: function("do_build_if"),
        triggers,
        steps,
    };
    let env = match descriptor.arg("env").map(declare::value) {
        Some(Json::Object(map)) => map.into_iter().collect(),
        _ => Default::default(),
    };
    let mut functions: Vec<String> = step_defs.iter().flat_map(|s| s.args.values().map(Json::to_string)).collect();
    functions
        .extend(descriptor.args.iter().filter(|(n, _)| *n != "factory").map(|(_, v)| declare::value(*v).to_string()));
    functions.extend(step_defs.iter().map(|s| s.kind.clone()));
    let definition = BuilderDef {
        name: trees.get("name", text).unwrap_or_default(),
        workernames: trees
            .get("workernames", texts)
            .or(dicts::single_worker(descriptor).map(|w| vec![w]))
            .unwrap_or_default(),
        tags: trees.get("tags", texts).unwrap_or_default(),
        description: optional("description").unwrap_or_default(),
        description_format: optional("description_format"),
        project: optional("project").unwrap_or_default(),
        properties: trees.get("properties", properties).unwrap_or_default(),
        default_properties: trees.get("defaultProperties", properties).unwrap_or_default(),
        collapse_requests: trees.get("collapseRequests", boolean),
        collapse: builder.collapse.as_ref().map(CollapseRule::kind),
        max_attempts: trees.get("max_attempts", positive).flatten().and_then(|n| u32::try_from(n).ok()),
        requires: requires(descriptor, optional("requires"), collector),
        expires_after_us: trees.get("expires_after", seconds).flatten().filter(|us| *us > 0),
        locks: accesses,
        env,
        folders: FolderDef { builddir: optional("builddir"), workerbuilddir: optional("workerbuilddir") },
        policies: PolicyNames {
            next_build: builder.next_build.is_some(),
            next_worker: builder.next_worker.is_some(),
            can_start_build: builder.can_start_build.is_some(),
            locks: builder.locks.is_some(),
            do_build_if: builder.do_build_if.is_some(),
        },
        steps: builder.steps.iter().map(|s| s.name().to_owned()).collect(),
        digest: sources.digest(&functions),
        step_defs,
        location: descriptor.site.location(),
    };
    (Entry { definition, site: descriptor.site.clone(), trees }, builder)
}

/// An expression over the labels of workers.
fn requires(builder: &Descriptor<'_>, text: Option<String>, collector: &Collector) -> Option<String> {
    let text = text.filter(|t| !t.trim().is_empty())?;
    if let Err(error) = Requires::parse(&text) {
        let message = format!("`requires` is no requirement that can be read, {error}");
        let hint = "write it as in \"os == 'linux' and mem >= 8\"";
        collector.report(builder.site.place_argument("requires", Diagnostic::error(message).hint(hint)));
    }
    Some(text)
}

/// `collapseRequests` as it is given.
pub(super) fn collapse(
    value: Option<Value<'_>>,
    at: &Descriptor<'_>,
    own: &dyn Fn(Value<'_>) -> Option<OwnedFrozenValue>,
) -> Option<CollapseRule> {
    let value = value?;
    let tree = Tree::of(value);
    match (&tree, boolean(&tree)) {
        (_, Some(true)) => Some(CollapseRule::Compatible),
        (_, Some(false)) => Some(CollapseRule::Never),
        (Tree::Function, _) => Function::of(at, "collapseRequests", own).map(CollapseRule::Predicate),
        _ => {
            let key = Descriptor::from_value(value).filter(|d| d.kind() == Kind::CollapseKey)?;
            Function::of(key, "function", own).map(CollapseRule::Key)
        }
    }
}

fn steps(
    config: &Config,
    builder: &Descriptor<'_>,
    limits: &Limits,
    own_locks: &[&str],
    locks: &mut Vec<LockDef>,
    collector: &Collector,
) -> (Vec<Step>, Vec<StepDef>, Vec<Triggers>) {
    let Some(value) = builder.arg("factory") else { return Default::default() };
    let Some(factory) = value.downcast_ref::<FrozenFactory>() else { return Default::default() };
    if factory.steps().is_empty() {
        let message = "this builder's factory has no steps: its builds do nothing";
        collector.report(builder.site.place_argument("factory", Diagnostic::warning(message)));
    }
    let workdir = factory.workdir().and_then(|w| config.own(w.to_value()));
    let (mut steps, mut definitions, mut triggers) = (vec![], vec![], vec![]);
    for step in factory.steps() {
        let value = step.to_value();
        let Some(descriptor) = Descriptor::from_value(value) else { continue };
        check_step(descriptor, own_locks, locks, collector);
        triggers.extend(super::triggers::of_step(descriptor, collector));
        let Some(step) = config.own(value).and_then(|owned| Step::new(owned, workdir.clone(), limits)) else {
            continue;
        };
        definitions.push(StepDef {
            name: step.name().to_owned(),
            kind: descriptor.called(),
            args: declare::arguments(descriptor, &["name"]),
            location: descriptor.site.location(),
        });
        steps.push(step);
    }
    (steps, definitions, triggers)
}

/// What can be told before a build runs.
fn check_step(step: &Descriptor<'_>, own_locks: &[&str], locks: &mut Vec<LockDef>, collector: &Collector) {
    let trees = step.trees(collector);
    let report = |argument: &str, message: String| {
        collector.report(step.site.place_argument(argument, Diagnostic::error(message)));
    };
    if !engines::runs_step(step.spec.name) {
        collector.report(step.site.place(engines::warning(step.spec.name)));
    }
    if step.kind() == Kind::Step(StepKind::Git)
        && let Err((argument, message)) = git::check(trees.by_name.get("mode"), trees.by_name.get("method"))
    {
        report(argument, message);
    }
    let beside = match step.kind() {
        Kind::Step(StepKind::Svn) => Some(true),
        Kind::Step(StepKind::Mercurial) => Some(false),
        _ => None,
    };
    if let Some(export) = beside
        && let Err((argument, message)) =
            sources::check(&step.called(), trees.by_name.get("mode"), trees.by_name.get("method"), export)
    {
        report(argument, message);
    }
    for argument in ["name", "property", "repourl"] {
        if step.spec.type_of(argument).is_some() && trees.get(argument, text).is_some_and(|t| t.trim().is_empty()) {
            report(argument, format!("`{argument}` of {} is empty", step.called()));
        }
    }
    let held = lock::held(step, collector);
    for (access, _) in held.iter().filter(|(a, _)| own_locks.contains(&a.lock.as_str())) {
        // D-11, LK-04.
        let message = format!(
            "the builder holds the lock `{}` for the whole build, so its step would wait for it for ever",
            access.lock
        );
        let hint = "name the lock in one place only: in `locks` of the builder or of the step";
        collector.report(step.site.place_argument("locks", Diagnostic::error(message).hint(hint)));
    }
    locks.extend(held.into_iter().filter_map(|(_, definition)| definition));
}
