//! The claim loop's part where the project has functions that choose: reads a
//! bounded window without locks, asks them off the async threads, and says what
//! is to be claimed by whom.
//!
//! Without such functions nothing of this runs. With them all lanes of a round
//! go through here, so that builders with and without a function keep their
//! order among each other.

use crate::app::App;
use crate::policies::order::{Decision, Free, Round, Shares, Waits};
use crate::policies::{Host, views};
use sqlx::PgConnection;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::definition::BuilderDef;
use tidemill_lang::policies::RequestView;
use tidemill_lang::{Definition, Project};
use tidemill_model::{BuilderId, RequestId, SessionId};
use tidemill_schema::active::{Eligibility, LaneOf};
use tidemill_schema::claims::{Pick, Waiting};
use tidemill_schema::locks::locks_blocked;
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::refusals::refusals_store;
use tidemill_schema::window::{Look, Queued, builders_building, candidates, queue_windows, requests_facts};
use tidemill_schema::{Error, Result};

/// Requests that `nextBuild` and `canStartBuild` see of a builder: the first in
/// the built-in order. docs/project-file.md says so too.
const WINDOW: i64 = 100;
/// For the questions that the functions of one round ask.
const QUESTIONS: Duration = Duration::from_millis(500);
/// Views of requests kept between rounds; then all are forgotten.
const KEPT: usize = 20_000;

/// The project's functions, as far as claims ask them.
#[derive(Default)]
pub struct Chooser {
    active: Option<Arc<Active>>,
    /// The active revision; 0 where there is none that can be evaluated here.
    revision: i64,
    views: HashMap<(RequestId, i32), Arc<RequestView>>,
}

struct Active {
    revision: i64,
    project: Arc<Project>,
    /// The order of builders or the choice of workers is asked for all of them.
    all: bool,
    /// Builders with functions of their own.
    builders: HashSet<String>,
    /// Some function may say no.
    refuses: bool,
}

/// What a round came to.
pub struct Chosen {
    pub revision: i64,
    pub picks: Vec<Pick>,
    /// Lanes that need not be looked at until something changes.
    pub settled: Vec<i64>,
    /// For each lane the first ticket that was there.
    pub first: HashMap<i64, i64>,
    pub more: bool,
    /// Builders and requests that wait for locks.
    pub waiting: usize,
}

impl Chooser {
    /// Takes over the active revision. One that this replica cannot evaluate has
    /// no functions here; that is in the log, see [`crate::projects`].
    pub async fn refresh(&mut self, app: &App) -> Result<()> {
        let found = match app.projects.active(&app.db).await {
            Err(Error::Inconsistent(_)) => None,
            other => other?,
        };
        self.revision = found.as_ref().map_or(0, |(revision, _)| *revision);
        self.active = found.and_then(|(revision, project)| {
            let definition = project.definition();
            let own = |p: &tidemill_lang::definition::PolicyNames| {
                p.next_build || p.next_worker || p.can_start_build || p.locks
            };
            let builders: HashSet<String> =
                definition.builders.iter().filter(|b| own(&b.policies)).map(|b| b.name.clone()).collect();
            let all = definition.prioritize_builders || definition.select_next_worker;
            let says_no =
                |b: &BuilderDef| b.policies.next_build || b.policies.next_worker || b.policies.can_start_build;
            let refuses = all || definition.builders.iter().any(says_no);
            let active = Active { revision, all, builders, refuses, project: project.clone() };
            (active.all || !active.builders.is_empty()).then(|| Arc::new(active))
        });
        Ok(())
    }

    /// The revision that it knows; 0 for none.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Whether the project has functions that choose.
    pub fn asks(&self) -> bool {
        self.active.is_some()
    }

    /// Whether functions are to be asked about any of these lanes.
    pub fn concerns(&self, eligible: &Eligibility, lanes: &[(i64, i64)]) -> bool {
        let Some(active) = &self.active else { return false };
        !lanes.is_empty() && (active.all || lanes.iter().any(|(lane, _)| own(active, eligible, *lane)))
    }

    /// Decides about these lanes for the polls that wait here.
    pub async fn choose(
        &mut self,
        c: &mut PgConnection,
        app: &App,
        eligible: &Eligibility,
        polls: &[Waiting],
        lanes: &[(i64, i64)],
    ) -> Result<Option<Chosen>> {
        let Some(active) = self.active.clone() else { return Ok(None) };
        let slots: i64 = polls.iter().map(|w| i64::from(w.free)).sum();
        let look = |&(lane, low): &(i64, i64)| {
            let limit = if own(&active, eligible, lane) { WINDOW } else { slots.min(WINDOW) };
            Look { lane, low, limit }
        };
        let queued = queue_windows(c, &lanes.iter().map(look).collect::<Vec<_>>()).await?;
        let mut first: HashMap<i64, i64> = HashMap::new();
        for q in &queued {
            first.entry(q.lane).or_insert(q.ticket);
        }
        let here: HashMap<SessionId, u32> = polls.iter().map(|w| (w.session, w.free)).collect();
        let sessions: Vec<SessionId> = here.keys().copied().collect();
        let definition = active.project.definition();
        let workers: Vec<Free> = candidates(c, &sessions)
            .await?
            .iter()
            .map(|w| {
                let mut view = views::worker(definition, w);
                let waits = here.get(&w.session);
                if let Some(free) = waits {
                    view.free = view.free.min(*free);
                }
                Free { session: w.session, view, here: waits.is_some() }
            })
            .filter(|w| w.view.free > 0)
            .collect();
        let building = builders_building(c).await?;
        let mut by_builder = windows(queued, eligible);
        let (blocked, waiting) = without_blocked(c, definition, &mut by_builder).await?;
        let viewed = by_builder.values().filter(|(name, _)| active.all || active.builders.contains(name));
        self.views_load(c, viewed.flat_map(|(_, queue)| queue.iter())).await?;

        let defs: HashMap<&str, _> = definition.builders.iter().map(|b| (b.name.as_str(), b)).collect();
        let shares = shares(definition, &building, eligible);
        let builders = by_builder
            .into_iter()
            .map(|(id, (name, queue))| {
                let mut view = defs.get(name.as_str()).map(|def| views::builder(def)).unwrap_or_default();
                view.name = name;
                view.pending = queue.len() as u64;
                view.building = building.get(&BuilderId(id)).copied().unwrap_or_default();
                view.highest_priority = queue.first().map(|q| q.priority);
                let of = |q: &Queued| self.views.get(&(q.request, q.attempt)).cloned();
                view.oldest_request_us = queue.iter().filter_map(|q| of(q).map(|v| v.submitted_at_us)).min();
                let may = |w: &usize| eligible.may_build(&workers[*w].view.name, id);
                let may = (0..workers.len()).filter(may).collect();
                let apart = queue.iter().filter(|q| eligible.lanes.get(&q.lane).is_some_and(LaneOf::is_apart));
                let here =
                    |lane: i64| (0..workers.len()).filter(|w| eligible.may(&workers[*w].view.name, lane)).collect();
                let apart = apart.map(|q| (q.lane, here(q.lane))).collect();
                Waits { view, queue: queue.into_iter().map(|q| (q, of(&q))).collect(), workers: may, apart }
            })
            .collect();
        let (revision, project) = (active.revision, active.project.clone());
        let decision = {
            let app = app.clone();
            tokio::task::spawn_blocking(move || {
                let host = Host::new(&app, QUESTIONS);
                let resting = |subject: &Subject, policy| app.failures.resting(revision, subject, policy);
                Round { project: &project, host: &host, resting: &resting, builders, workers, shares }.decide()
            })
            .await
            .map_err(|e| Error::Inconsistent(format!("asking policies: {e}")))?
        };
        let Decision { picks, done, more, failures, refused, looked, allowed } = decision;
        if active.refuses {
            refusals_store(c, &refused, &looked, &allowed).await?;
        }
        for (subject, policy, error) in failures {
            app.failures.failed(&app.db, revision, subject, policy, &error);
        }
        // A lane that holds nothing is settled; so is one whose builder wants nothing started.
        let took: HashSet<i64> = picks.iter().map(|p| p.lane).collect();
        let empty = lanes.iter().map(|(lane, _)| *lane).filter(|lane| !first.contains_key(lane));
        let settled = done.into_iter().filter(|lane| !took.contains(lane)).chain(empty).chain(blocked).collect();
        Ok(Some(Chosen { revision, picks, settled, first, more, waiting }))
    }

    async fn views_load(&mut self, c: &mut PgConnection, queued: impl Iterator<Item = &Queued>) -> Result<()> {
        if self.views.len() > KEPT {
            self.views.clear();
        }
        let missing: HashMap<RequestId, i32> = queued
            .filter(|q| !self.views.contains_key(&(q.request, q.attempt)))
            .map(|q| (q.request, q.attempt))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        for facts in requests_facts(c, &missing.keys().copied().collect::<Vec<_>>()).await? {
            let Some(attempt) = missing.get(&facts.request) else { continue };
            self.views.insert((facts.request, *attempt), Arc::new(views::request(&facts, *attempt)));
        }
        Ok(())
    }
}

/// Whether the lane's builder has functions of its own.
fn own(active: &Active, eligible: &Eligibility, lane: i64) -> bool {
    let name = eligible.lanes.get(&lane).and_then(|of| eligible.names.get(&of.builder));
    name.is_some_and(|name| active.builders.contains(name))
}

/// The projects' shares and what runs of them; none where no project has one.
fn shares(definition: &Definition, building: &BTreeMap<BuilderId, u64>, eligible: &Eligibility) -> Option<Shares> {
    let of: HashMap<String, f64> =
        definition.projects.iter().filter_map(|p| Some((p.name.clone(), f64::from(p.share?)))).collect();
    if of.is_empty() {
        return None;
    }
    let projects: HashMap<&str, &str> =
        definition.builders.iter().map(|b| (b.name.as_str(), b.project.as_str())).collect();
    let mut running: HashMap<String, u64> = HashMap::new();
    for (builder, n) in building {
        let name = eligible.names.get(&builder.0);
        if let Some(project) = name.and_then(|name| projects.get(name.as_str())) {
            *running.entry((*project).to_owned()).or_default() += n;
        }
    }
    Some(Shares { of, running })
}

/// Leaves out what waits for locks and whose turn it is not: the lanes of builders that are left
/// out, and how much waits. Locks are looked at once more by the claim.
async fn without_blocked(
    c: &mut PgConnection,
    definition: &Definition,
    windows: &mut BTreeMap<i64, (String, Vec<Queued>)>,
) -> Result<(Vec<i64>, usize)> {
    let own: HashSet<&str> = definition
        .builders
        .iter()
        .filter(|b| !b.locks.is_empty() || b.policies.locks)
        .map(|b| b.name.as_str())
        .collect();
    // Of a worker's definition, they are of all builders.
    let all = definition.workers.iter().any(|w| !w.locks.is_empty());
    let concerned: Vec<i64> =
        windows.iter().filter(|(_, (name, _))| all || own.contains(name.as_str())).map(|(id, _)| *id).collect();
    if concerned.is_empty() {
        return Ok(Default::default());
    }
    let blocked = locks_blocked(c, &concerned).await?;
    let mut lanes = vec![];
    for (builder, request) in &blocked {
        match request {
            None => lanes.extend(windows.remove(builder).iter().flat_map(|(_, queue)| queue.iter().map(|q| q.lane))),
            Some(request) => {
                let Some((_, queue)) = windows.get_mut(builder) else { continue };
                let before = queue.first().map(|q| q.lane);
                queue.retain(|q| q.request.0 != *request);
                if queue.is_empty() {
                    lanes.extend(before);
                    windows.remove(builder);
                }
            }
        }
    }
    Ok((lanes, blocked.len()))
}

/// By builder, each in the built-in order and no longer than the window.
fn windows(queued: Vec<Queued>, eligible: &Eligibility) -> BTreeMap<i64, (String, Vec<Queued>)> {
    let mut builders: BTreeMap<i64, (String, Vec<Queued>)> = BTreeMap::new();
    for q in queued {
        let Some(name) = eligible.names.get(&q.builder.0) else { continue };
        builders.entry(q.builder.0).or_insert_with(|| (name.clone(), Vec::new())).1.push(q);
    }
    for (_, queue) in builders.values_mut() {
        queue.sort_by_key(|q| (std::cmp::Reverse(q.priority), q.request));
        queue.truncate(WINDOW as usize);
    }
    builders
}
