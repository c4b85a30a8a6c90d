//! What is stored, in the form in which functions of the project see it.

use std::collections::BTreeMap;
use tidemill_lang::Definition;
use tidemill_lang::definition::BuilderDef;
use tidemill_lang::policies::{BuilderView, RequestView, SourceView, WorkerView};
use tidemill_model::SourceStamp;
use tidemill_schema::requests::NewBuildset;
use tidemill_schema::window::{Candidate, RequestFacts};

/// A builder without what changes: how many wait and run.
pub fn builder(def: &BuilderDef) -> BuilderView {
    BuilderView {
        name: def.name.clone(),
        tags: def.tags.clone(),
        project: def.project.clone(),
        ..BuilderView::default()
    }
}

/// A request that is about to be made. `changes`: id and codebase of each.
pub fn new_request(new: &NewBuildset, builder: &str, changes: &[(i64, String)]) -> RequestView {
    RequestView {
        builder: builder.to_owned(),
        priority: new.priority,
        reason: new.reason.clone(),
        properties: new.properties.clone(),
        sources: sources(&new.sourcestamps, changes, new.rebuilt.is_some()),
        ..RequestView::default()
    }
}

pub fn request(facts: &RequestFacts, attempt: i32) -> RequestView {
    RequestView {
        id: facts.request.0,
        buildset: facts.buildset,
        builder: facts.builder.clone(),
        priority: facts.priority,
        submitted_at_us: facts.submitted_at_us,
        reason: facts.reason.clone(),
        properties: facts.properties.clone(),
        sources: sources(&facts.sourcestamps, &facts.changes, facts.rebuild),
        waited_for: facts.waited_for,
        attempts: (attempt - 1).max(0) as u32,
    }
}

/// A rebuild has its changes for blame only: its revisions are meant exactly, so
/// it does not count as coming from changes.
fn sources(stamps: &[SourceStamp], changes: &[(i64, String)], rebuild: bool) -> Vec<SourceView> {
    let of = |codebase: &str| changes.iter().filter(|(_, c)| !rebuild && c == codebase).map(|(id, _)| *id).collect();
    let view = |s: &SourceStamp| SourceView { stamp: s.clone(), patch: s.patch.is_some(), changes: of(&s.codebase) };
    stamps.iter().map(view).collect()
}

pub fn worker(definition: &Definition, candidate: &Candidate) -> WorkerView {
    let found = definition.workers.iter().find(|w| w.name == candidate.name);
    let info: BTreeMap<String, String> = candidate
        .info
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    WorkerView {
        name: candidate.name.clone(),
        // As many as the claim would give it.
        free: candidate
            .slots
            .min(found.and_then(|w| w.max_builds).unwrap_or(u32::MAX))
            .saturating_sub(candidate.building),
        building: candidate.building,
        max_builds: found.and_then(|w| w.max_builds),
        properties: found.map(|w| w.properties.clone()).unwrap_or_default(),
        info,
    }
}
