//! `c["workers"]`.

use super::root::{Config, Entry};
use crate::definition::WorkerDef;
use crate::host::collector::Collector;
use crate::values::convert::{positive, properties, text};
use crate::values::spec::Kind;

pub(super) fn read(config: &Config, collector: &Collector) -> Vec<Entry<WorkerDef>> {
    let found = config.descriptors("workers", Kind::Worker, "worker.Worker", collector);
    let entries = found.into_iter().map(|descriptor| {
        let trees = descriptor.trees(collector);
        let definition = WorkerDef {
            name: trees.get("name", text).unwrap_or_default(),
            max_builds: trees.get("max_builds", positive).flatten().and_then(|n| u32::try_from(n).ok()),
            properties: trees.get("properties", properties).unwrap_or_default(),
        };
        Entry { definition, site: descriptor.site.clone(), trees }
    });
    entries.collect()
}
