//! What the project says of the worker itself: properties of its builds.

use crate::spool::Spool;
use tidemill_lang::Definition;
use tidemill_model::Properties;
use tidemill_model::wire::Event;

/// Sets what `c["workers"]` has for the worker `name`, and tells the masters.
/// Its properties win over those that came with the build, its defaults do not.
pub(super) fn of_worker(definition: &Definition, name: &str, properties: &mut Properties, spool: &Spool) {
    let Some(worker) = definition.workers.iter().find(|w| w.name == name) else { return };
    let defaults = worker.default_properties.iter().filter(|(name, _)| !worker.properties.contains_key(*name));
    let open: Vec<_> = defaults.filter(|(name, _)| properties.get(name).is_none()).collect();
    for (name, value) in open.into_iter().chain(&worker.properties) {
        properties.set(name, value.clone(), "Worker");
        spool.event(Event::PropertySet { name: name.clone(), value: value.clone(), source: "Worker".into() });
    }
}
