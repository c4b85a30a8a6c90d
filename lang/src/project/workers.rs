//! `c["workers"]`.

use super::root::{Config, Entry};
use super::{Worker, engines};
use crate::definition::{LockDef, WorkerDef};
use crate::host::collector::Collector;
use crate::policies::Function;
use crate::values::convert::{boolean, positive, properties, seconds, text, values};
use crate::values::spec::Kind;
use crate::values::{declare, lock};
use starlark::values::Value;

/// Arguments of every worker; others are those of the one who starts it.
const COMMON: [&str; 10] = [
    "name",
    "labels",
    "trusted_only",
    "max_builds",
    "properties",
    "defaultProperties",
    "locks",
    "notify_on_missing",
    "missing_timeout",
    "machine_name",
];

pub(super) fn read(
    config: &Config,
    locks: &mut Vec<LockDef>,
    collector: &Collector,
) -> Vec<(Entry<WorkerDef>, Worker)> {
    let found = config.descriptors("workers", |k| k == Kind::Worker, "worker.Worker", collector);
    let mut entries = vec![];
    for descriptor in &found {
        let trees = descriptor.trees(collector);
        let plain = engines::PLAIN_WORKERS.contains(&descriptor.spec.short());
        if !plain && !engines::RUNS_LATENT {
            collector.report(descriptor.site.place(engines::warning(descriptor.spec.name)));
        }
        let mut accesses = vec![];
        for (access, definition) in lock::held(descriptor, collector) {
            accesses.push(access);
            locks.extend(definition);
        }
        let notify = trees.get("notify_on_missing", values).unwrap_or_default();
        let definition = WorkerDef {
            name: trees.get("name", text).unwrap_or_default(),
            max_builds: trees.get("max_builds", positive).flatten().and_then(|n| u32::try_from(n).ok()),
            properties: trees.get("properties", properties).unwrap_or_default(),
            default_properties: trees.get("defaultProperties", properties).unwrap_or_default(),
            labels: trees.get("labels", properties).unwrap_or_default(),
            locks: accesses,
            trusted_only: trees.get("trusted_only", boolean).unwrap_or(false),
            notify_on_missing: notify.into_iter().flatten().collect(),
            missing_timeout_us: trees.get("missing_timeout", seconds).flatten(),
            latent: (!plain).then(|| declare::declared(descriptor, &COMMON)),
            location: descriptor.site.location(),
        };
        let own = |value: Value<'_>| config.own(value);
        let function = |name: &str| Function::of(descriptor, name, &own);
        let worker = Worker {
            start_instance: function("start_instance"),
            stop_instance: function("stop_instance"),
            check_instance: function("check_instance"),
        };
        entries.push((Entry { definition, site: descriptor.site.clone(), trees }, worker));
    }
    entries
}
