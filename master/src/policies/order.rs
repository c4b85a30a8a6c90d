//! Which pending request starts next and where, by the project's functions:
//! `prioritizeBuilders`, `nextBuild`, `nextWorker`, `canStartBuild` (C-09 to
//! C-13, BU-11 to BU-14, D-42, D-48).
//!
//! Pure but for the questions that functions ask: a window of the queue and the
//! free workers in, pairs of request and worker out. It blocks: call it off the
//! async threads. What a function does not decide, or fails to, is decided by
//! the built-in order: builders by highest priority, then oldest request, then
//! name; requests by priority, then age; a random free worker.

use rand::seq::IndexedRandom;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_lang::policies::{BuilderView, Pick as Choice, PolicyHost, RequestView, WorkerView};
use tidemill_lang::{EvalError, Project};
use tidemill_model::{LockAccess, SessionId};
use tidemill_schema::claims::Pick;
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::window::Queued;

/// After so long what was picked is claimed first: the others of the round wait.
const SLICE: Duration = Duration::from_millis(8);
/// Longest time for one builder that picks nothing.
const BUILDER: Duration = Duration::from_millis(100);
/// The function of a builder's locks, as failures name it (0003_locks.sql knows it too).
const LOCKS: &str = "locks";
/// Most builds of one round.
const MOST: usize = 100;

/// A builder with pending requests.
pub struct Waits {
    pub view: BuilderView,
    /// In the built-in order; the view is there where a function may ask for it.
    pub queue: Vec<(Queued, Option<Arc<RequestView>>)>,
    /// Indexes of the workers that may build it.
    pub workers: Vec<usize>,
}

/// A worker with a free slot.
pub struct Free {
    pub session: SessionId,
    pub view: WorkerView,
    /// Its poll waits in this replica. What goes to another is left to the
    /// replica where that one's poll waits, which sees the same.
    pub here: bool,
}

#[derive(Default)]
pub struct Decision {
    pub picks: Vec<Pick>,
    /// Lanes of the builders that were looked at to their end.
    pub done: Vec<i64>,
    /// Time or room ran out before every builder had its turn.
    pub more: bool,
    pub failures: Vec<(Subject, &'static str, EvalError)>,
}

pub struct Round<'a> {
    pub project: &'a Project,
    pub host: &'a dyn PolicyHost,
    /// Functions that are not to be asked now, because they have just failed.
    pub resting: &'a dyn Fn(&Subject, &'static str) -> bool,
    pub builders: Vec<Waits>,
    pub workers: Vec<Free>,
}

impl Round<'_> {
    pub fn decide(mut self) -> Decision {
        let mut decision = Decision::default();
        self.builders.sort_by_cached_key(|b| {
            let highest = b.queue.first().map(|(q, _)| std::cmp::Reverse(q.priority));
            let oldest = b.queue.iter().map(|(q, _)| q.request).min();
            (highest, oldest, b.view.name.clone())
        });
        self.prioritize(&mut decision);
        let begun = Instant::now();
        for waits in std::mem::take(&mut self.builders) {
            let stopped = decision.picks.len() >= MOST || (!decision.picks.is_empty() && begun.elapsed() > SLICE);
            if stopped || !self.builder(waits, begun, &mut decision) {
                decision.more = true;
                break;
            }
        }
        decision
    }

    /// The functions' order of builders; those that it leaves out start nothing.
    fn prioritize(&mut self, decision: &mut Decision) {
        const POLICY: &str = "prioritizeBuilders";
        if !self.project.definition().prioritize_builders || (self.resting)(&Subject::Project, POLICY) {
            return;
        }
        let views: Vec<BuilderView> = self.builders.iter().map(|b| b.view.clone()).collect();
        match self.project.policies().prioritize_builders(&views, self.host) {
            Ok(None) => {}
            Ok(Some(names)) => {
                let place = |b: &Waits| names.iter().position(|n| *n == b.view.name);
                let (mut kept, left): (Vec<Waits>, Vec<Waits>) =
                    std::mem::take(&mut self.builders).into_iter().partition(|b| place(b).is_some());
                decision.done.extend(left.iter().flat_map(|b| b.queue.iter().map(|(q, _)| q.lane)));
                kept.sort_by_key(|b| place(b));
                self.builders = kept;
            }
            Err(error) => decision.failures.push((Subject::Project, POLICY, error)),
        }
    }

    /// One builder's turn. False if it was cut short.
    fn builder(&mut self, mut waits: Waits, begun: Instant, decision: &mut Decision) -> bool {
        let lanes: HashSet<i64> = waits.queue.iter().map(|(q, _)| q.lane).collect();
        let own = Subject::Builder(waits.view.name.clone());
        let mut asks = self.asks(&waits.view.name, &own);
        let (picked, turn) = (decision.picks.len(), Instant::now());
        while !waits.queue.is_empty() {
            let any_here = waits.workers.iter().any(|w| self.workers[*w].here && self.workers[*w].view.free > 0);
            if !any_here {
                break;
            }
            if decision.picks.len() > picked {
                if decision.picks.len() >= MOST || begun.elapsed() > SLICE {
                    return false;
                }
            } else if turn.elapsed() > BUILDER {
                break;
            }
            let Some(at) = self.request(&waits, &mut asks, &own, decision) else { break };
            let (queued, view) = waits.queue.remove(at);
            match self.worker(&waits, view.as_ref(), &mut asks, &own, decision) {
                Found::None => {}
                Found::EndsRound => break,
                Found::Worker(index) => {
                    let held = self.locks(&waits, view.as_ref(), index, &own);
                    let locks = match held {
                        Ok(locks) => locks,
                        Err(error) => {
                            // Nothing starts without its locks: the builder waits until its function is asked again.
                            decision.failures.extend(error.map(|e| (own.clone(), LOCKS, e)));
                            break;
                        }
                    };
                    let worker = &mut self.workers[index];
                    worker.view.free -= 1;
                    worker.view.building += 1;
                    waits.view.building += 1;
                    waits.view.pending = waits.view.pending.saturating_sub(1);
                    if worker.here {
                        let session = worker.session;
                        let (lane, ticket) = (queued.lane, queued.ticket);
                        decision.picks.push(Pick { lane, ticket, session, locks });
                    }
                }
            }
        }
        decision.done.extend(lanes);
        true
    }

    /// Where the request stands that goes next; none ends the builder's turn.
    fn request(&self, waits: &Waits, asks: &mut Asks, own: &Subject, decision: &mut Decision) -> Option<usize> {
        if !asks.next_build {
            return Some(0);
        }
        let views: Vec<Arc<RequestView>> = waits.queue.iter().filter_map(|(_, view)| view.clone()).collect();
        match self.project.policies().next_build(&waits.view, &views, self.host) {
            Ok(Choice::One(id)) => waits.queue.iter().position(|(q, _)| q.request.0 == id),
            Ok(Choice::Nothing) => None,
            Ok(Choice::NoPolicy) => Some(0),
            Err(error) => {
                decision.failures.push((own.clone(), "nextBuild", error));
                asks.next_build = false;
                Some(0)
            }
        }
    }

    /// The worker for a request.
    fn worker(
        &self,
        waits: &Waits,
        request: Option<&Arc<RequestView>>,
        asks: &mut Asks,
        own: &Subject,
        decision: &mut Decision,
    ) -> Found {
        let policies = self.project.policies();
        let may =
            |w: &&usize| self.workers[**w].view.free > 0 && (asks.next_worker.is_some() || self.workers[**w].here);
        let mut left: Vec<usize> = waits.workers.iter().filter(may).copied().collect();
        while !left.is_empty() {
            let mut chosen = None;
            if let Some((subject, policy)) = &asks.next_worker {
                let views: Vec<WorkerView> = left.iter().map(|w| self.workers[*w].view.clone()).collect();
                match policies.next_worker(&waits.view, &views, request, self.host) {
                    Ok(Choice::One(name)) => chosen = left.iter().position(|w| self.workers[*w].view.name == name),
                    Ok(Choice::Nothing) => return Found::EndsRound,
                    Ok(Choice::NoPolicy) => {}
                    Err(error) => {
                        decision.failures.push((subject.clone(), policy, error));
                        asks.next_worker = None;
                        left.retain(|w| self.workers[*w].here);
                        continue;
                    }
                }
            }
            let at = match chosen {
                Some(at) => at,
                None => match (0..left.len()).collect::<Vec<_>>().choose(&mut rand::rng()) {
                    Some(at) => *at,
                    None => return Found::None,
                },
            };
            let index = left.remove(at);
            let Some(request) = request.filter(|_| asks.can_start_build) else { return Found::Worker(index) };
            match policies.can_start_build(&waits.view, &self.workers[index].view, request, self.host) {
                Ok(true) => return Found::Worker(index),
                Ok(false) => {}
                Err(error) => {
                    decision.failures.push((own.clone(), "canStartBuild", error));
                    asks.can_start_build = false;
                    return Found::Worker(index);
                }
            }
        }
        Found::None
    }

    /// Locks that the build is to hold. An error, where there is one to tell, ends the builder's turn.
    fn locks(
        &self,
        waits: &Waits,
        request: Option<&Arc<RequestView>>,
        worker: usize,
        own: &Subject,
    ) -> Result<Option<Vec<LockAccess>>, Option<EvalError>> {
        let Some(def) = self.project.definition().builders.iter().find(|b| b.name == waits.view.name) else {
            return Ok(None);
        };
        if !def.policies.locks {
            return Ok((!def.locks.is_empty()).then(|| def.locks.clone()));
        }
        let Some(request) = request.filter(|_| !(self.resting)(own, LOCKS)) else { return Err(None) };
        let on = &self.workers[worker].view;
        self.project.policies().build_locks(&waits.view, on, request).map(Some).map_err(Some)
    }

    fn asks(&self, builder: &str, own: &Subject) -> Asks {
        let definition = self.project.definition();
        let has = definition.builders.iter().find(|b| b.name == builder).map(|b| b.policies).unwrap_or_default();
        let awake = |subject: &Subject, policy| !(self.resting)(subject, policy);
        let next_worker = match (has.next_worker, definition.select_next_worker) {
            (true, _) => Some((own.clone(), "nextWorker")),
            (false, true) => Some((Subject::Project, "select_next_worker")),
            (false, false) => None,
        };
        Asks {
            next_build: has.next_build && awake(own, "nextBuild"),
            can_start_build: has.can_start_build && awake(own, "canStartBuild"),
            next_worker: next_worker.filter(|(subject, policy)| awake(subject, policy)),
        }
    }
}

/// What a builder's functions are asked.
struct Asks {
    next_build: bool,
    can_start_build: bool,
    next_worker: Option<(Subject, &'static str)>,
}

enum Found {
    /// No worker that may have this request now; the next one may fare better.
    None,
    EndsRound,
    Worker(usize),
}
