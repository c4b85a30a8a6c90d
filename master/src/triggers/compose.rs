//! What a triggered scheduler makes of a call: pure but for the functions of the
//! project that it asks.
//!
//! - Sources (SC-18): for each codebase of the scheduler its defaults, over them
//!   what the call says; a codebase that only the call names is there as well.
//! - Properties (D-35): the scheduler's own win over those of the step.
//! - Priority (D-36): the parent's, unless the scheduler has one of its own.

use super::refused;
use crate::app::App;
use crate::http::ApiError;
use crate::loops::schedule::buildset::{self, Wish};
use crate::loops::schedule::functions::{Failed, Functions, blocking};
use crate::policies::collapse;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tidemill_lang::Project;
use tidemill_lang::definition::{CronDef, SchedulerDef, SchedulerKind};
use tidemill_model::wire::{TriggerCall, TriggerTarget};
use tidemill_model::{BuildId, Change, ChangeId, Patch, Properties, SourceStamp};
use tidemill_schema::changes::changes_get;
use tidemill_schema::requests::NewBuildset;
use tidemill_schema::triggers::Parent;

/// Source of the properties that a step sends, as in Buildbot.
const SOURCE: &str = "Trigger";

/// What pages call the relation where the step does not say.
const RELATIONSHIP: &str = "Triggered from";

/// Names in a message.
const NAMED: usize = 20;

pub struct Asked<'a> {
    pub app: &'a App,
    pub revision: i64,
    pub project: &'a Arc<Project>,
    pub call: &'a TriggerCall,
    pub parent: &'a Parent,
}

/// What a target of the call becomes.
pub struct Composed {
    pub scheduler: String,
    pub unimportant: bool,
    pub what: What,
}

pub enum What {
    /// A buildset to store.
    Now(NewBuildset),
    /// What the scheduler is to remember, and when it fires.
    Later { latest: Box<Latest>, at: CronDef },
}

/// A trigger that is remembered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latest {
    /// Its one target is the scheduler that remembers it.
    call: TriggerCall,
    pub parent: Inherited,
}

/// What it inherits from the build that triggered it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Inherited {
    changes: Vec<(i64, String)>,
    /// By codebase: what is tried on top of its sources.
    #[serde(default)]
    patches: BTreeMap<String, Patch>,
    pub priority: i32,
}

impl Latest {
    fn new(asked: &Asked<'_>, target: &TriggerTarget) -> Latest {
        // Nobody waits for it, and nobody is to find a token.
        let call =
            TriggerCall { token: String::new(), wait: false, targets: vec![target.clone()], ..asked.call.clone() };
        Latest { call, parent: Inherited::of(asked.parent) }
    }

    /// Ids of the changes that it may inherit.
    pub fn changes(&self) -> Vec<i64> {
        self.parent.changes.iter().map(|(id, _)| *id).filter(|_| self.call.inherits).collect()
    }

    /// The buildset, when it fires.
    pub fn buildset(
        &self,
        def: &SchedulerDef,
        builders: Vec<String>,
        priority: i32,
    ) -> Result<buildset::Composed, ApiError> {
        let target = self.call.targets.first().ok_or_else(|| refused("it names no scheduler"))?;
        let new = composed(def, &self.call, target, &self.parent, builders, priority)?;
        let changes = of_stamps(&self.call, &self.parent, &new.sourcestamps);
        Ok(buildset::Composed { new, changes })
    }
}

impl Inherited {
    fn of(parent: &Parent) -> Inherited {
        let changes = parent.changes.iter().map(|(id, codebase)| (id.0, codebase.clone())).collect();
        let patch = |s: &SourceStamp| Some((s.codebase.clone(), s.patch.clone()?));
        let patches = parent.sourcestamps.iter().filter_map(patch).collect();
        Inherited { changes, patches, priority: parent.priority }
    }
}

/// Whether the scheduler has a priority of its own (D-36).
pub fn own_priority(def: &SchedulerDef) -> bool {
    def.priority_function || def.priority.is_some()
}

pub async fn compose(asked: &Asked<'_>) -> Result<Vec<Composed>, ApiError> {
    let defs: Vec<&SchedulerDef> =
        asked.call.targets.iter().map(|t| definition(asked.project, t)).collect::<Result<_, _>>()?;
    let changes = inherited(asked, &defs).await?;
    let parent = Inherited::of(asked.parent);
    let until = Instant::now() + collapse::BUDGET;
    let mut all = Vec::with_capacity(defs.len());
    for (target, def) in asked.call.targets.iter().zip(defs) {
        let what = match &def.kind {
            SchedulerKind::NightlyTriggerable { at } => {
                let latest = Latest::new(asked, target);
                // What cannot be is told now, and not in the night.
                latest.buildset(def, Vec::new(), 0)?;
                What::Later { latest: Box::new(latest), at: at.clone() }
            }
            _ => {
                let (builders, priority) = ask(asked, def, &changes).await?;
                let mut new = composed(def, asked.call, target, &parent, builders, priority)?;
                if !asked.call.wait {
                    // A request that somebody waits for is built by itself.
                    let ids = of_stamps(asked.call, &parent, &new.sourcestamps);
                    collapse::choose(asked.app, asked.revision, asked.project, &mut new, &ids, until).await?;
                }
                What::Now(new)
            }
        };
        all.push(Composed { scheduler: def.name.clone(), unimportant: target.unimportant, what });
    }
    Ok(all)
}

fn definition<'p>(project: &'p Project, target: &TriggerTarget) -> Result<&'p SchedulerDef, ApiError> {
    let all = &project.definition().schedulers;
    let triggerable =
        |s: &&SchedulerDef| matches!(s.kind, SchedulerKind::Triggerable | SchedulerKind::NightlyTriggerable { .. });
    let Some(def) = all.iter().find(|s| s.name == target.scheduler) else {
        let names: Vec<&str> = all.iter().filter(triggerable).map(|s| s.name.as_str()).collect();
        let hint = match (tidemill_lang::nearest(&target.scheduler, names.iter().copied()), names.len()) {
            (_, 0) => "the active configuration has no `schedulers.Triggerable`".to_owned(),
            (Some(near), _) => format!("did you mean `{near}`? There are: {}", listed(&names)),
            (None, _) => format!("there are: {}", listed(&names)),
        };
        return Err(refused(format!("there is no scheduler named `{}`; {hint}", target.scheduler)));
    };
    if !triggerable(&def) {
        let kind = def.kind.name();
        return Err(refused(format!("`{}` is a {kind}: a step fires `schedulers.Triggerable` only", def.name)));
    }
    Ok(def)
}

fn listed(names: &[&str]) -> String {
    let more = if names.len() > NAMED { " …" } else { "" };
    format!("{}{more}", names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "))
}

/// The changes that functions are asked with: those that the new builds inherit.
async fn inherited(asked: &Asked<'_>, defs: &[&SchedulerDef]) -> Result<Vec<Change>, ApiError> {
    if !asked.call.inherits || !defs.iter().any(|d| d.builders_function || d.priority_function) {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = asked.parent.changes.iter().map(|(id, _)| id.0).collect();
    let mut c = asked.app.db.pool().acquire().await?;
    Ok(changes_get(&mut c, &ids).await?)
}

/// The builders, and their priority.
async fn ask(asked: &Asked<'_>, def: &SchedulerDef, changes: &[Change]) -> Result<(Vec<String>, i32), ApiError> {
    let (own, priority) = (own_priority(def), asked.parent.priority);
    if !def.builders_function && !def.priority_function {
        return Ok((def.builder_names.clone(), def.priority.unwrap_or(priority)));
    }
    let functions = Functions::new(asked.app, asked.revision, asked.project.clone(), def.clone());
    let changes = changes.to_vec();
    let answer = blocking(move || {
        let builders = functions.builders(&changes)?;
        let priority = if own { functions.priority(&builders, &changes) } else { priority };
        Ok((builders, priority))
    });
    answer.await?.map_err(|failed: Failed| {
        refused(format!("`{}` of the scheduler `{}` failed: {}", failed.policy, def.name, failed.error))
    })
}

fn composed(
    def: &SchedulerDef,
    call: &TriggerCall,
    target: &TriggerTarget,
    parent: &Inherited,
    builders: Vec<String>,
    priority: i32,
) -> Result<NewBuildset, ApiError> {
    let mut new = buildset::compose(def, Wish::default(), builders, priority).new;
    new.sourcestamps = stamps(def, new.sourcestamps, &call.sourcestamps)?;
    for stamp in new.sourcestamps.iter_mut().filter(|_| call.inherits) {
        stamp.patch = parent.patches.get(&stamp.codebase).cloned();
    }
    new.changes = of_stamps(call, parent, &new.sourcestamps).into_iter().map(|(id, _)| ChangeId(id)).collect();
    let mut properties = Properties::new();
    target.properties.iter().for_each(|(name, value)| properties.set(name, value.clone(), SOURCE));
    if let Some(reason) = properties.get("reason").and_then(|r| r.as_str()).filter(|r| !r.trim().is_empty()) {
        new.reason = reason.to_owned();
    }
    properties.update(&new.properties);
    properties.check().map_err(|e| refused(format!("the properties for `{}`: {e}", def.name)))?;
    if properties.0.contains_key("") {
        return Err(refused("a property has a name"));
    }
    let relationship = call.parent_relationship.clone().filter(|r| !r.trim().is_empty());
    new.properties = properties;
    new.parent = Some((BuildId(call.build), Some(relationship.unwrap_or_else(|| RELATIONSHIP.into()))));
    new.waited_for = call.wait;
    Ok(new)
}

/// Id and codebase of the parent's changes that lead to these sources.
fn of_stamps(call: &TriggerCall, parent: &Inherited, stamps: &[SourceStamp]) -> Vec<(i64, String)> {
    let here = |codebase: &String| stamps.iter().any(|s| s.codebase == *codebase);
    parent.changes.iter().filter(|(_, codebase)| call.inherits && here(codebase)).cloned().collect()
}

/// What the call says over the scheduler's defaults.
fn stamps(
    def: &SchedulerDef,
    defaults: Vec<SourceStamp>,
    given: &[BTreeMap<String, Option<String>>],
) -> Result<Vec<SourceStamp>, ApiError> {
    let mut stamps: BTreeMap<String, SourceStamp> = defaults.into_iter().map(|s| (s.codebase.clone(), s)).collect();
    let mut said = Vec::new();
    for fields in given {
        let codebase = fields.get("codebase").cloned().flatten().unwrap_or_default();
        if said.contains(&codebase) {
            return Err(refused(format!("two source stamps are given for the codebase {codebase:?}")));
        }
        let stamp = stamps
            .entry(codebase.clone())
            .or_insert_with(|| SourceStamp { codebase: codebase.clone(), ..SourceStamp::default() });
        for (field, value) in fields {
            match field.as_str() {
                "codebase" => {}
                "repository" => stamp.repository = value.clone().unwrap_or_default(),
                "project" => stamp.project = value.clone().unwrap_or_default(),
                "branch" => stamp.branch = value.clone(),
                "revision" => stamp.revision = value.clone(),
                other => {
                    return Err(refused(format!(
                        "a source stamp has no `{other}`: it has codebase, repository, project, branch, revision"
                    )));
                }
            }
        }
        said.push(codebase);
    }
    // A scheduler that declares none has no word in which codebases there are.
    if def.codebases.is_empty() && !said.is_empty() {
        stamps.retain(|codebase, _| said.contains(codebase));
    }
    Ok(stamps.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice::from_ref;
    use tidemill_lang::definition::CodebaseDef;

    fn def(codebases: &[&str]) -> SchedulerDef {
        let default = CodebaseDef { repository: "r".into(), branch: Some("main".into()), revision: None };
        SchedulerDef {
            name: "s".into(),
            kind: SchedulerKind::Triggerable,
            builder_names: vec![],
            builders_function: false,
            absolute: false,
            codebases: codebases.iter().map(|c| (*c).to_owned()).collect(),
            codebase_defaults: codebases.iter().map(|c| ((*c).to_owned(), default.clone())).collect(),
            properties: BTreeMap::new(),
            reason: String::new(),
            priority: None,
            priority_function: false,
            location: String::new(),
        }
    }

    fn given(fields: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
        fields.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect()
    }

    fn made(def: &SchedulerDef, given: &[BTreeMap<String, Option<String>>]) -> Result<Vec<String>, ApiError> {
        let defaults = buildset::compose(def, Wish::default(), vec![], 0).new.sourcestamps;
        let text = |o: &Option<String>| o.clone().unwrap_or_else(|| "-".into());
        let all = stamps(def, defaults, given)?;
        Ok(all
            .iter()
            .map(|s| [&s.codebase, &s.repository, &text(&s.branch), &text(&s.revision)].map(String::as_str).join(" "))
            .collect())
    }

    #[test]
    fn a_patch_goes_where_the_sources_of_the_build_go() {
        let patch = Patch { id: 7, ..Patch::default() };
        let patches = [("lib".to_owned(), patch.clone())].into();
        let parent = Inherited { changes: vec![(3, "app".into()), (4, "other".into())], patches, priority: 0 };
        let stamp = |codebase| given(&[("codebase", Some(codebase)), ("revision", Some("abc"))]);
        let mut call = TriggerCall {
            build: 1,
            token: String::new(),
            step: 1,
            nth: 1,
            targets: vec![TriggerTarget { scheduler: "s".into(), ..TriggerTarget::default() }],
            wait: true,
            sourcestamps: vec![stamp("app"), stamp("lib")],
            inherits: true,
            parent_relationship: None,
        };
        let made = |call: &TriggerCall| composed(&def(&[]), call, &call.targets[0], &parent, vec![], 0).unwrap();
        let new = made(&call);
        let patches: Vec<_> = new.sourcestamps.iter().map(|s| s.patch.clone()).collect();
        assert_eq!((patches, new.changes), (vec![None, Some(patch)], vec![ChangeId(3)]));
        call.inherits = false;
        let new = made(&call);
        assert!(new.sourcestamps.iter().all(|s| s.patch.is_none()) && new.changes.is_empty());
    }

    #[test]
    fn a_scheduler_that_says_0_has_a_priority_of_its_own() {
        let with = |priority| own_priority(&SchedulerDef { priority, ..def(&[]) });
        assert_eq!([with(None), with(Some(0)), with(Some(7))], [false, true, true]);
    }

    #[test]
    fn what_the_call_says_of_a_source_goes_over_the_schedulers_defaults() {
        let lib = given(&[("codebase", Some("lib")), ("revision", Some("abc"))]);
        assert_eq!(made(&def(&["app", "lib"]), from_ref(&lib)).unwrap(), ["app r main -", "lib r main abc"]);
        let other = given(&[("codebase", Some("doc")), ("repository", Some("d")), ("branch", None)]);
        assert_eq!(made(&def(&["app"]), &[other]).unwrap(), ["app r main -", "doc d - -"]);
        assert_eq!(made(&def(&["app"]), &[]).unwrap(), ["app r main -"]);
        assert_eq!(made(&def(&[]), &[]).unwrap(), ["  - -"]);
        assert_eq!(made(&def(&[]), from_ref(&lib)).unwrap(), ["lib  - abc"]);
        assert!(made(&def(&[]), &[lib.clone(), lib]).is_err());
        assert!(made(&def(&[]), &[given(&[("patch", Some("x"))])]).is_err());
    }
}
