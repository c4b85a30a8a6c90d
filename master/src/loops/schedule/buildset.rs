//! Buildsets from what a rule decided.

use serde::{Deserialize, Serialize};
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

/// What was seen last of a codebase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    repository: String,
    project: String,
    branch: Option<String>,
    revision: Option<String>,
}

impl Seen {
    pub fn of(change: &Change) -> Seen {
        let SourceStamp { repository, project, branch, revision, .. } = change.new.sourcestamp();
        Seen { repository, project, branch, revision }
    }
}

/// What a rule wants to be built, beside what its scheduler says.
#[derive(Default)]
pub struct Wish<'a> {
    /// Oldest first.
    pub changes: &'a [&'a Change],
    /// So many older ones are not listed.
    pub left_out: u64,
    /// For codebases without a change.
    pub seen: Option<&'a BTreeMap<String, Seen>>,
    /// These sources, whatever the changes say.
    pub exactly: Option<Vec<SourceStamp>>,
    /// Who asked for it.
    pub asked_by: Option<&'a str>,
}

/// For each codebase the source of its newest change by arrival (D-25), and for
/// those without a change what was seen last, if the scheduler wants that, or
/// what it says, or the newest of the default branch.
pub fn compose(def: &SchedulerDef, wish: Wish<'_>, mut builders: Vec<String>, priority: i32) -> Composed {
    // One request for each, also where a function names one twice.
    let mut named = BTreeSet::new();
    builders.retain(|b| named.insert(b.clone()));
    let mut stamps = defaults(def, wish.seen);
    let mut properties = Properties::new();
    for change in wish.changes {
        stamps.insert(change.new.codebase.clone(), change.new.sourcestamp());
        let left_out = properties.update_within(&change.new.properties);
        if !left_out.is_empty() {
            let names = left_out.join(", ");
            tracing::warn!(scheduler = %def.name, change.id = change.id.0, names, "properties of a change are too large to join the others");
        }
    }
    def.properties.iter().for_each(|(k, v)| properties.set(k, v.clone(), "Scheduler"));
    properties.set("scheduler", def.name.clone(), "Scheduler");
    let mut reason = if def.reason.is_empty() { format!("scheduler {}", def.name) } else { def.reason.clone() };
    if let Some(by) = wish.asked_by {
        reason.push_str(&format!(" (now, because {by} asked)"));
    }
    if wish.left_out > 0 {
        reason.push_str(&format!(" ({} older changes are not listed)", wish.left_out));
    }
    let new = NewBuildset {
        reason,
        scheduler: def.name.clone(),
        sourcestamps: wish.exactly.unwrap_or_else(|| stamps.into_values().collect()),
        properties,
        changes: wish.changes.iter().map(|ch| ch.id).collect(),
        builders,
        priority,
        ..NewBuildset::default()
    };
    Composed { new, changes: wish.changes.iter().map(|ch| (ch.id.0, ch.new.codebase.clone())).collect() }
}

/// One for each codebase that the scheduler declares (SC-02).
fn defaults(def: &SchedulerDef, seen: Option<&BTreeMap<String, Seen>>) -> BTreeMap<String, SourceStamp> {
    let unnamed = [String::new()];
    let names = if def.codebases.is_empty() { &unnamed[..] } else { &def.codebases };
    let stamp = |name: &String| {
        if let Some(seen) = seen.and_then(|s| s.get(name)).cloned() {
            let Seen { repository, project, branch, revision } = seen;
            return SourceStamp { codebase: name.clone(), repository, project, branch, revision, patch: None };
        }
        let given = def.codebase_defaults.get(name).cloned().unwrap_or_default();
        SourceStamp {
            codebase: name.clone(),
            repository: given.repository,
            branch: given.branch.or_else(|| def.timed().and_then(|t| t.branch.clone())),
            revision: given.revision,
            ..SourceStamp::default()
        }
    };
    names.iter().map(|name| (name.clone(), stamp(name))).collect()
}
