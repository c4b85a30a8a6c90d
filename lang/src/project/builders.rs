//! `c["builders"]`, with the steps of their factories.

use super::Builder;
use super::root::{Config, Entry};
use crate::definition::BuilderDef;
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostic;
use crate::host::limits::Limits;
use crate::steps::{Step, git};
use crate::values::convert::{boolean, optional_text, positive, properties, text, texts};
use crate::values::descriptor::Descriptor;
use crate::values::factory::FrozenFactory;
use crate::values::spec::{Kind, StepKind};
use starlark::values::ValueLike;

pub(super) fn read(config: &Config, limits: &Limits, collector: &Collector) -> Vec<(Entry<BuilderDef>, Builder)> {
    let found = config.descriptors("builders", Kind::Builder, "util.BuilderConfig", collector);
    found.into_iter().map(|descriptor| builder(config, descriptor, limits, collector)).collect()
}

fn builder(
    config: &Config,
    descriptor: &Descriptor<'_>,
    limits: &Limits,
    collector: &Collector,
) -> (Entry<BuilderDef>, Builder) {
    let trees = descriptor.trees(collector);
    let optional = |name: &str| trees.get(name, optional_text).flatten().unwrap_or_default();
    let steps = steps(config, descriptor, limits, collector);
    let definition = BuilderDef {
        name: trees.get("name", text).unwrap_or_default(),
        workernames: trees.get("workernames", texts).unwrap_or_default(),
        tags: trees.get("tags", texts).unwrap_or_default(),
        description: optional("description"),
        project: optional("project"),
        properties: trees.get("properties", properties).unwrap_or_default(),
        default_properties: trees.get("defaultProperties", properties).unwrap_or_default(),
        collapse_requests: trees.get("collapseRequests", boolean),
        max_attempts: trees.get("max_attempts", positive).flatten().and_then(|n| u32::try_from(n).ok()),
        steps: steps.iter().map(|s| s.name().to_owned()).collect(),
        location: descriptor.site.location(),
    };
    let env = descriptor.arg("env").and_then(|v| config.own(v));
    let builder = Builder { steps, env, site: descriptor.site.clone() };
    (Entry { definition, site: descriptor.site.clone(), trees }, builder)
}

fn steps(config: &Config, builder: &Descriptor<'_>, limits: &Limits, collector: &Collector) -> Vec<Step> {
    let Some(value) = builder.arg("factory") else { return vec![] };
    let Some(factory) = value.downcast_ref::<FrozenFactory>() else { return vec![] };
    if factory.steps().is_empty() {
        let message = "this builder's factory has no steps: its builds do nothing";
        collector.report(builder.site.place_argument("factory", Diagnostic::warning(message)));
    }
    let mut steps = vec![];
    for step in factory.steps() {
        let value = step.to_value();
        if let Some(descriptor) = Descriptor::from_value(value) {
            check_step(descriptor, collector);
        }
        steps.extend(config.own(value).and_then(|owned| Step::new(owned, limits)));
    }
    steps
}

/// What can be told before a build runs.
fn check_step(step: &Descriptor<'_>, collector: &Collector) {
    let trees = step.trees(collector);
    let report = |argument: &str, message: String| {
        collector.report(step.site.place_argument(argument, Diagnostic::error(message)));
    };
    if step.kind() == Kind::Step(StepKind::Git)
        && let Err((argument, message)) = git::check(trees.by_name.get("mode"), trees.by_name.get("method"))
    {
        report(argument, message);
    }
    for argument in ["name", "property", "repourl"] {
        if trees.get(argument, text).is_some_and(|t| t.trim().is_empty()) {
            report(argument, format!("`{argument}` of {} is empty", step.spec.name));
        }
    }
}
