//! Which pending request starts next and where, by the project's functions:
//! `prioritizeBuilders`, `nextBuild`, `nextWorker`, `canStartBuild` (C-09 to
//! C-13, BU-11 to BU-14, D-42, D-48).
//!
//! Pure but for the questions that functions ask: a window of the queue and the
//! free workers in, pairs of request and worker out. It blocks: call it off the
//! async threads. What a function does not decide, or fails to, is decided by
//! the built-in order: builders by highest priority, then (where projects have
//! shares) by what runs of their project for its share, then by oldest request,
//! then name; requests by priority, then age; a random free worker.

use rand::seq::IndexedRandom;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_lang::policies::{BuilderView, Pick as Choice, PolicyHost, RequestView, Verdict, WorkerView};
use tidemill_lang::{EvalError, Project};
use tidemill_model::{LockAccess, RequestId, SessionId};
use tidemill_schema::claims::Pick;
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::refusals::Refusal;
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
    /// The same of lanes that are not for all of them: for one that was chosen, or for
    /// those that take what outsiders sent.
    pub apart: HashMap<i64, Vec<usize>>,
}

impl Waits {
    fn may(&self, lane: i64) -> &[usize] {
        self.apart.get(&lane).unwrap_or(&self.workers)
    }

    fn builder(&self) -> Option<i64> {
        self.queue.first().map(|(q, _)| q.builder.0)
    }
}

/// What projects have a right to, and what runs of them.
#[derive(Default)]
pub struct Shares {
    pub of: HashMap<String, f64>,
    pub running: HashMap<String, u64>,
}

impl Shares {
    /// The lower, the sooner.
    fn load(&self, project: &str) -> f64 {
        self.running.get(project).copied().unwrap_or_default() as f64 / self.of.get(project).copied().unwrap_or(1.0)
    }
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
    /// What functions said no to.
    pub refused: Vec<Refusal>,
    /// Builders of which something was started or asked about, and requests that were not refused:
    /// what was said of them before counts no more.
    pub looked: Vec<i64>,
    pub allowed: Vec<RequestId>,
}

pub struct Round<'a> {
    pub project: &'a Project,
    pub host: &'a dyn PolicyHost,
    /// Functions that are not to be asked now, because they have just failed.
    pub resting: &'a dyn Fn(&Subject, &'static str) -> bool,
    pub builders: Vec<Waits>,
    pub workers: Vec<Free>,
    /// None where no project has a share.
    pub shares: Option<Shares>,
}

/// How a builder's turn ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing more of it starts now.
    Over,
    /// It has what it may have at once.
    Fed,
    /// The round was cut short.
    Cut,
}

impl Round<'_> {
    pub fn decide(mut self) -> Decision {
        let mut decision = Decision::default();
        self.builders.sort_by_cached_key(|b| {
            let highest = b.queue.first().map(|(q, _)| std::cmp::Reverse(q.priority));
            let oldest = b.queue.iter().map(|(q, _)| q.request).min();
            (highest, oldest, b.view.name.clone())
        });
        let ordered = self.prioritize(&mut decision);
        let begun = Instant::now();
        // A function's order of builders is the whole order.
        let shares = self.shares.take().filter(|_| !ordered);
        let mut waiting: Vec<(Waits, Asks)> = std::mem::take(&mut self.builders)
            .into_iter()
            .map(|waits| {
                let asks = self.asks(&waits.view.name, &Subject::Builder(waits.view.name.clone()));
                (waits, asks)
            })
            .collect();
        match shares {
            None => {
                for (waits, asks) in &mut waiting {
                    let stopped = self.full(&decision, begun);
                    if stopped || self.builder(waits, asks, begun, usize::MAX, &mut decision) == Turn::Cut {
                        decision.more = true;
                        break;
                    }
                }
            }
            Some(shares) => self.deal(waiting, shares, begun, &mut decision),
        }
        decision
    }

    fn full(&self, decision: &Decision, begun: Instant) -> bool {
        decision.picks.len() >= MOST || (!decision.picks.is_empty() && begun.elapsed() > SLICE)
    }

    /// One build at a time to the project that has the fewest for its share, among the builders
    /// whose foremost requests have the highest priority.
    fn deal(&mut self, mut waiting: Vec<(Waits, Asks)>, mut shares: Shares, begun: Instant, decision: &mut Decision) {
        while !waiting.is_empty() {
            let key = |(waits, _): &(Waits, Asks)| {
                let (highest, oldest) = waits.queue.first().map_or((i32::MIN, 0), |(q, _)| (q.priority, q.request.0));
                (std::cmp::Reverse(highest), shares.load(&waits.view.project), oldest)
            };
            let next = (0..waiting.len()).min_by(|a, b| {
                let (a, b) = (key(&waiting[*a]), key(&waiting[*b]));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
            });
            let Some(next) = next else { return };
            if self.full(decision, begun) {
                decision.more = true;
                return;
            }
            let (waits, asks) = &mut waiting[next];
            let before = waits.view.building;
            let turn = self.builder(waits, asks, begun, 1, decision);
            *shares.running.entry(waits.view.project.clone()).or_default() += waits.view.building - before;
            match turn {
                Turn::Fed => {}
                Turn::Over => drop(waiting.remove(next)),
                Turn::Cut => {
                    decision.more = true;
                    return;
                }
            }
        }
    }

    /// The functions' order of builders; those that it leaves out start nothing. False if
    /// there is none.
    fn prioritize(&mut self, decision: &mut Decision) -> bool {
        const POLICY: &str = "prioritizeBuilders";
        if !self.project.definition().prioritize_builders || (self.resting)(&Subject::Project, POLICY) {
            return false;
        }
        let views: Vec<BuilderView> = self.builders.iter().map(|b| b.view.clone()).collect();
        match self.project.policies().prioritize_builders(&views, self.host) {
            Ok(None) => false,
            Ok(Some(names)) => {
                let place = |b: &Waits| names.iter().position(|n| *n == b.view.name);
                let (mut kept, left): (Vec<Waits>, Vec<Waits>) =
                    std::mem::take(&mut self.builders).into_iter().partition(|b| place(b).is_some());
                decision.done.extend(left.iter().flat_map(|b| b.queue.iter().map(|(q, _)| q.lane)));
                decision.refused.extend(left.iter().filter_map(|b| Some(Refusal::of_builder(b.builder()?, POLICY))));
                kept.sort_by_key(|b| place(b));
                self.builders = kept;
                true
            }
            Err(error) => {
                decision.failures.push((Subject::Project, POLICY, error));
                false
            }
        }
    }

    /// One builder's turn, in which at most so many builds of it start.
    fn builder(
        &mut self,
        waits: &mut Waits,
        asks: &mut Asks,
        begun: Instant,
        most: usize,
        decision: &mut Decision,
    ) -> Turn {
        let lanes: HashSet<i64> = waits.queue.iter().map(|(q, _)| q.lane).collect();
        let own = Subject::Builder(waits.view.name.clone());
        let (picked, turn) = (decision.picks.len(), Instant::now());
        let mut found = 0;
        while !waits.queue.is_empty() {
            let any_here = waits.workers.iter().any(|w| self.workers[*w].here && self.workers[*w].view.free > 0);
            if !any_here {
                break;
            }
            if found >= most {
                return Turn::Fed;
            }
            if decision.picks.len() > picked {
                if decision.picks.len() >= MOST || begun.elapsed() > SLICE {
                    return Turn::Cut;
                }
            } else if turn.elapsed() > BUILDER {
                break;
            }
            decision.looked.extend(waits.builder());
            let Some(at) = self.request(waits, asks, &own, decision) else { break };
            let (queued, view) = waits.queue.remove(at);
            match self.worker(waits, &queued, view.as_ref(), asks, &own, decision) {
                Found::None => {}
                Found::EndsRound => break,
                Found::Worker(index) => {
                    decision.allowed.push(queued.request);
                    let held = self.locks(waits, view.as_ref(), index, &own);
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
                    found += 1;
                    if worker.here {
                        let session = worker.session;
                        let (lane, ticket) = (queued.lane, queued.ticket);
                        decision.picks.push(Pick { lane, ticket, session, locks });
                    }
                }
            }
        }
        decision.done.extend(lanes);
        Turn::Over
    }

    /// Where the request stands that goes next; none ends the builder's turn.
    fn request(&self, waits: &Waits, asks: &mut Asks, own: &Subject, decision: &mut Decision) -> Option<usize> {
        if !asks.next_build {
            return Some(0);
        }
        let views: Vec<Arc<RequestView>> = waits.queue.iter().filter_map(|(_, view)| view.clone()).collect();
        match self.project.policies().next_build(&waits.view, &views, self.host) {
            Ok(Choice::One(id)) => waits.queue.iter().position(|(q, _)| q.request.0 == id),
            Ok(Choice::Nothing) => {
                decision.refused.extend(waits.builder().map(|b| Refusal::of_builder(b, "nextBuild")));
                None
            }
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
        queued: &Queued,
        request: Option<&Arc<RequestView>>,
        asks: &mut Asks,
        own: &Subject,
        decision: &mut Decision,
    ) -> Found {
        let policies = self.project.policies();
        let may =
            |w: &&usize| self.workers[**w].view.free > 0 && (asks.next_worker.is_some() || self.workers[**w].here);
        let mut left: Vec<usize> = waits.may(queued.lane).iter().filter(may).copied().collect();
        let mut refused: Option<Refusal> = None;
        while !left.is_empty() {
            let mut chosen = None;
            if let Some((subject, policy)) = &asks.next_worker {
                let views: Vec<WorkerView> = left.iter().map(|w| self.workers[*w].view.clone()).collect();
                match policies.next_worker(&waits.view, &views, request, self.host) {
                    Ok(Choice::One(name)) => chosen = left.iter().position(|w| self.workers[*w].view.name == name),
                    Ok(Choice::Nothing) => {
                        decision.refused.push(Refusal::of_builder(queued.builder.0, policy));
                        return Found::EndsRound;
                    }
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
                    None => break,
                },
            };
            let index = left.remove(at);
            let Some(request) = request.filter(|_| asks.can_start_build) else { return Found::Worker(index) };
            match policies.can_start_build(&waits.view, &self.workers[index].view, request, self.host) {
                Ok(Verdict::Yes) => return Found::Worker(index),
                Ok(Verdict::No { said, wait_seconds }) => {
                    let more = Refusal {
                        builder: queued.builder.0,
                        request: Some(queued.request),
                        policy: "canStartBuild",
                        said,
                        wait_seconds,
                    };
                    refused = Some(match refused {
                        // What some worker may have sooner is asked about again then.
                        Some(first) => Refusal { wait_seconds: first.wait_seconds.min(more.wait_seconds), ..first },
                        None => more,
                    });
                }
                Err(error) => {
                    decision.failures.push((own.clone(), "canStartBuild", error));
                    asks.can_start_build = false;
                    return Found::Worker(index);
                }
            }
        }
        decision.refused.extend(refused);
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
