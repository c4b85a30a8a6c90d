//! Buildsets from what a rule decided.

use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tidemill_lang::definition::SchedulerDef;
use tidemill_model::{Change, Properties, SourceStamp};
use tidemill_schema::Result;
use tidemill_schema::changes::changes_get;
use tidemill_schema::requests::NewBuildset;

/// Reads those changes that are not known yet.
pub async fn complete(
    c: &mut PgConnection,
    known: &mut HashMap<i64, Change>,
    ids: impl Iterator<Item = i64>,
) -> Result<()> {
    let mut missing: Vec<i64> = ids.filter(|id| !known.contains_key(id)).collect();
    missing.sort_unstable();
    missing.dedup();
    for change in changes_get(c, &missing).await? {
        known.insert(change.id.0, change);
    }
    Ok(())
}

/// A buildset to store.
pub struct Composed {
    pub new: NewBuildset,
    /// Id and codebase of each change that it is for.
    pub changes: Vec<(i64, String)>,
}

/// For each codebase the source of its newest change by arrival (D-25), and for
/// those without a change what the scheduler says, or the newest of the default
/// branch.
pub fn compose(def: &SchedulerDef, changes: &[&Change], mut builders: Vec<String>, priority: i32) -> Composed {
    // One request for each, also where a function names one twice.
    let mut named = BTreeSet::new();
    builders.retain(|b| named.insert(b.clone()));
    let unnamed = [String::new()];
    let names = if def.codebases.is_empty() { &unnamed[..] } else { &def.codebases };
    let mut stamps: BTreeMap<String, SourceStamp> = names
        .iter()
        .map(|name| {
            let given = def.codebase_defaults.get(name).cloned().unwrap_or_default();
            let stamp = SourceStamp {
                codebase: name.clone(),
                repository: given.repository,
                branch: given.branch,
                revision: given.revision,
                ..SourceStamp::default()
            };
            (name.clone(), stamp)
        })
        .collect();
    let mut properties = Properties::new();
    for change in changes {
        stamps.insert(change.new.codebase.clone(), change.new.sourcestamp());
        let left_out = properties.update_within(&change.new.properties);
        if !left_out.is_empty() {
            let names = left_out.join(", ");
            tracing::warn!(scheduler = %def.name, change.id = change.id.0, names, "properties of a change are too large to join the others");
        }
    }
    def.properties.iter().for_each(|(k, v)| properties.set(k, v.clone(), "Scheduler"));
    properties.set("scheduler", def.name.clone(), "Scheduler");
    let reason = if def.reason.is_empty() { format!("scheduler {}", def.name) } else { def.reason.clone() };
    let new = NewBuildset {
        reason,
        scheduler: def.name.clone(),
        sourcestamps: stamps.into_values().collect(),
        properties,
        changes: changes.iter().map(|ch| ch.id).collect(),
        builders,
        priority,
        ..NewBuildset::default()
    };
    Composed { new, changes: changes.iter().map(|ch| (ch.id.0, ch.new.codebase.clone())).collect() }
}
