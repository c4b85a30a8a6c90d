//! Time passes: requests come, wait for slots, are built, lost and tried again.
//!
//! Slots are never taken twice, ids rise as the database would give them out, and
//! whatever a request waits for is what it waits for in the rows.

use super::random::Rng;
use super::records::*;
use super::seasons::Arrivals;
use super::world::{FORCED, NIGHTLY, World};
use super::{DAY, MINUTE, SECOND, Shape};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A build ends; its id.
    End(i64),
    /// A request whose build was lost is queued again.
    Again(i64),
    /// Somebody cancels a request if it still waits.
    Cancel(i64),
}

/// A request that is not over.
struct Open {
    request: Request,
    branch: usize,
    head: i64,
    /// What it builds is broken for this builder, by this change.
    bad: Option<i64>,
    waiting_since: i64,
    queued: bool,
    absorbed: Vec<i64>,
}

/// A buildset that is not over, and what is of its requests and builds.
struct OpenSet {
    set: Buildset,
    left: usize,
    requests: Vec<Request>,
    builds: Vec<Build>,
}

struct Running {
    build: Build,
    pool: usize,
}

struct Lane {
    queue: VecDeque<i64>,
    /// A worker for each free slot.
    free: Vec<usize>,
}

struct Live {
    session: i64,
    opened_at: i64,
    last_end: i64,
    busy: usize,
}

pub struct Simulation {
    pub shape: Shape,
    pub world: World,
    pub branches: Vec<Branch>,
    pub out: Records,
    pub(super) rng: Rng,
    arrivals: std::iter::Peekable<Arrivals>,
    events: BinaryHeap<Reverse<(i64, u64, Event)>>,
    seq: u64,
    lanes: Vec<Lane>,
    live: Vec<Live>,
    open: HashMap<i64, Open>,
    sets: HashMap<i64, OpenSet>,
    running: HashMap<i64, Running>,
    /// The youngest request that waits, by builder and branch.
    waiting: HashMap<(usize, usize), i64>,
    /// By builder and branch the change that broke it.
    broken: HashMap<(usize, usize), i64>,
    /// By project the branches that are worked on; the first is main.
    worked_on: Vec<Vec<usize>>,
    numbers: Vec<i64>,
    changes: i64,
    requests: i64,
    buildsets: i64,
    builds: i64,
    sessions: i64,
}

impl Simulation {
    pub fn new(shape: Shape) -> Simulation {
        let world = World::new(&shape);
        let lanes = world.pools.iter().map(|p| Lane {
            queue: VecDeque::new(),
            free: p.workers.iter().flat_map(|w| std::iter::repeat_n(*w, world.workers[*w].slots)).collect(),
        });
        let mut s = Simulation {
            lanes: lanes.collect(),
            live: (0..world.workers.len())
                .map(|w| Live { session: w as i64 + 1, opened_at: shape.start(), last_end: shape.start(), busy: 0 })
                .collect(),
            sessions: world.workers.len() as i64,
            arrivals: Arrivals::new(&shape, world.buildsets).peekable(),
            rng: Rng::new(shape.seed),
            branches: Vec::new(),
            out: Records::default(),
            events: BinaryHeap::new(),
            seq: 0,
            open: HashMap::new(),
            sets: HashMap::new(),
            running: HashMap::new(),
            waiting: HashMap::new(),
            broken: HashMap::new(),
            worked_on: Vec::new(),
            numbers: vec![0; world.builders.len()],
            changes: 0,
            requests: 0,
            buildsets: 0,
            builds: 0,
            world,
            shape,
        };
        for project in 0..s.world.projects.len() {
            let main = s.branch(project, "main".into());
            s.worked_on.push(vec![main]);
        }
        s
    }

    /// Builds that began so far.
    pub fn builds(&self) -> i64 {
        self.builds
    }

    /// Lets all happen that happens before then; false if there is no more.
    pub fn advance(&mut self, until: i64) -> bool {
        loop {
            let arrival = self.arrivals.peek().copied();
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let next = [arrival, event].into_iter().flatten().min();
            let Some(at) = next else {
                self.close();
                return false;
            };
            if at >= until {
                return true;
            }
            if event == Some(at) {
                let Reverse((_, _, event)) = self.events.pop().expect("it was just seen");
                match event {
                    Event::End(build) => self.end(build, at),
                    Event::Again(request) => self.again(request, at),
                    Event::Cancel(request) => self.cancel(request, at),
                }
            } else {
                self.arrivals.next();
                self.arrive(at);
            }
        }
    }

    fn later(&mut self, at: i64, event: Event) {
        self.seq += 1;
        self.events.push(Reverse((at, self.seq, event)));
    }

    fn branch(&mut self, project: usize, name: String) -> usize {
        let line = self.world.line(project, &name);
        self.branches.push(Branch { project, name, line, length: 0, head: None });
        self.branches.len() - 1
    }

    /// A buildset is asked for.
    fn arrive(&mut self, at: i64) {
        let rng = &mut self.rng;
        let u = rng.unit();
        let kind = if u < NIGHTLY {
            Kind::Nightly
        } else if u < NIGHTLY + FORCED {
            Kind::Forced
        } else {
            Kind::Commits
        };
        let forced = rng.weighted(&self.world.builder_totals);
        let project = match kind {
            Kind::Forced => self.world.builders[forced].project,
            _ => rng.weighted(&self.world.project_totals),
        };
        let branch = match kind {
            Kind::Nightly => self.worked_on[project][0],
            _ if rng.chance(0.65) => self.worked_on[project][0],
            _ => self.side_branch(project),
        };
        let mut changes = Vec::new();
        if kind == Kind::Commits || self.branches[branch].head.is_none() {
            for _ in 0..1 + self.rng.poisson(0.4) {
                changes.push(self.commit(branch, at));
            }
        }
        let head = self.branches[branch].head.expect("a branch that is built has a change");
        let parts: Vec<usize> = match kind {
            Kind::Forced => vec![forced],
            Kind::Nightly => self.world.projects[project].builders.clone(),
            Kind::Commits => {
                let all = &self.world.projects[project].builders;
                all.iter().copied().filter(|b| self.rng.chance(self.world.builders[*b].part)).collect()
            }
        };
        self.buildsets += 1;
        let id = self.buildsets;
        let set = Buildset { id, kind, branch, head, changes, submitted_at: at, complete_at: 0, results: 0 };
        self.sets.insert(id, OpenSet { set, left: parts.len(), requests: Vec::new(), builds: Vec::new() });
        for builder in parts {
            self.request(id, kind, builder, branch, head, at);
        }
    }

    /// One that is worked on, or a new one; old ones are left.
    fn side_branch(&mut self, project: usize) -> usize {
        let n = self.worked_on[project].len();
        if n > 1 && !self.rng.chance(0.08) {
            return self.worked_on[project][1 + self.rng.below(n - 1)];
        }
        let name = format!("feature/{}", self.branches.len());
        let made = self.branch(project, name);
        self.worked_on[project].push(made);
        if self.worked_on[project].len() > 5 {
            self.worked_on[project].remove(1);
        }
        made
    }

    fn commit(&mut self, branch: usize, at: i64) -> i64 {
        self.changes += 1;
        let id = self.changes;
        let project = self.branches[branch].project;
        let main = self.worked_on[project][0];
        let parent = self.branches[branch].head.or(self.branches[main].head);
        let made_at = at - (self.rng.exponential(1800.0) * 1000.0) as i64 * 1000 - 30 * SECOND;
        let author = self.rng.weighted(&self.world.author_totals);
        self.out.changes.push(Change { id, branch, author, made_at, received_at: at - 20 * SECOND, parent });
        self.branches[branch].head = Some(id);
        self.branches[branch].length += 1;
        let mends = self.rng.chance(0.35);
        let breaks = self.rng.chance(0.06);
        for b in 0..self.world.projects[project].builders.len() {
            let builder = self.world.projects[project].builders[b];
            if mends {
                self.broken.remove(&(builder, branch));
            } else if breaks && self.rng.chance(0.5) {
                self.broken.entry((builder, branch)).or_insert(id);
            }
        }
        id
    }

    fn request(&mut self, buildset: i64, kind: Kind, builder: usize, branch: usize, head: i64, at: i64) {
        self.requests += 1;
        let id = self.requests;
        let priority = if kind == Kind::Forced { 10 } else { 0 };
        let request = Request {
            id,
            buildset,
            builder,
            priority,
            submitted_at: at,
            claimed_at: None,
            complete_at: 0,
            results: 0,
            attempts: 0,
            collapsed_into: None,
            reason: None,
        };
        let mut open = Open {
            request,
            branch,
            head,
            bad: self.broken.get(&(builder, branch)).copied(),
            waiting_since: at,
            queued: true,
            absorbed: Vec::new(),
        };
        if kind == Kind::Commits
            && self.world.builders[builder].collapses
            && let Some(older) = self.waiting.insert((builder, branch), id)
            && let Some(o) = self.open.get_mut(&older)
            && o.queued
            && o.request.attempts == 0
        {
            o.queued = false;
            o.request.collapsed_into = Some(id);
            open.absorbed.push(older);
        }
        self.open.insert(id, open);
        let pool = self.world.builders[builder].pool;
        // What is more urgent goes first.
        if priority > 0 {
            self.lanes[pool].queue.push_front(id);
        } else {
            self.lanes[pool].queue.push_back(id);
        }
        if self.rng.chance(0.03) {
            let patience = 10 * SECOND + self.rng.below(300) as i64 * SECOND;
            self.later(at + patience, Event::Cancel(id));
        }
        self.dispatch(pool, at);
    }

    fn dispatch(&mut self, pool: usize, at: i64) {
        while !self.lanes[pool].free.is_empty() {
            let Some(id) = self.lanes[pool].queue.pop_front() else { return };
            if self.open.get(&id).is_some_and(|o| o.queued) {
                let slot = self.rng.below(self.lanes[pool].free.len());
                let worker = self.lanes[pool].free.swap_remove(slot);
                self.start(pool, id, worker, at + 3 * 1000);
            }
        }
    }

    fn start(&mut self, pool: usize, request: i64, worker: usize, at: i64) {
        self.greet(worker, at);
        let open = self.open.get_mut(&request).expect("what is queued is open");
        open.queued = false;
        open.request.claimed_at.get_or_insert(at);
        open.request.attempts += 1;
        let builder = open.request.builder;
        self.builds += 1;
        self.numbers[builder] += 1;
        let mut build = Build {
            id: self.builds,
            builder,
            number: self.numbers[builder],
            request,
            branch: open.branch,
            head: open.head,
            worker,
            session: self.live[worker].session,
            attempt: open.request.attempts,
            waiting_since: open.waiting_since,
            started_at: at,
            complete_at: at,
            results: SUCCESS,
            steps: Vec::new(),
            tests: Vec::new(),
            notices: Vec::new(),
        };
        let bad = open.bad;
        super::outcome::decide(&mut self.rng, &self.shape, &self.world, &mut build, bad);
        self.later(build.complete_at, Event::End(build.id));
        self.running.insert(build.id, Running { build, pool });
    }

    /// Workers are started anew now and then, while they are idle.
    fn greet(&mut self, worker: usize, at: i64) {
        let live = &mut self.live[worker];
        let idle_since = live.last_end;
        if live.busy == 0 && at - live.opened_at > 15 * DAY && at - idle_since > 4 * MINUTE {
            let until = idle_since + 10 * SECOND;
            let (id, opened_at) = (live.session, live.opened_at);
            self.sessions += 1;
            live.session = self.sessions;
            live.opened_at = (until + 10 * MINUTE).min(at - MINUTE);
            self.out.sessions.push(Session { id, worker, opened_at, seen_at: until, open: false });
        }
        self.live[worker].busy += 1;
    }

    fn end(&mut self, build: i64, at: i64) {
        let Running { build, pool } = self.running.remove(&build).expect("it runs");
        self.live[build.worker].busy -= 1;
        self.live[build.worker].last_end = at;
        self.lanes[pool].free.push(build.worker);
        let open = self.open.get_mut(&build.request).expect("a request with a build is open");
        let (request, results) = (build.request, build.results);
        let again = results == RETRY && open.request.attempts < 5;
        if again {
            // As requests_retry() has it.
            let wait = (2 << (open.request.attempts - 1)) * SECOND;
            open.waiting_since = at;
            self.later(at + wait, Event::Again(request));
        }
        let buildset = self.open[&request].request.buildset;
        self.sets.get_mut(&buildset).expect("its buildset is open").builds.push(build);
        if !again {
            self.complete(request, if results == RETRY { EXCEPTION } else { results }, at + 1500, None);
        }
        self.dispatch(pool, at);
    }

    fn again(&mut self, request: i64, at: i64) {
        let open = self.open.get_mut(&request).expect("a request to be built again is open");
        open.queued = true;
        let pool = self.world.builders[open.request.builder].pool;
        self.lanes[pool].queue.push_back(request);
        self.dispatch(pool, at);
    }

    fn cancel(&mut self, request: i64, at: i64) {
        let Some(open) = self.open.get(&request) else { return };
        if open.queued && open.request.attempts == 0 && open.absorbed.is_empty() {
            self.complete(request, CANCELLED, at, Some("cancelled by admin: not needed"));
        }
    }

    fn complete(&mut self, request: i64, results: u8, at: i64, reason: Option<&'static str>) {
        let open = self.open.remove(&request).expect("what completes was open");
        let mut request = open.request;
        request.results = results;
        request.complete_at = at;
        request.reason = reason;
        let key = (request.builder, open.branch);
        if self.waiting.get(&key) == Some(&request.id) {
            self.waiting.remove(&key);
        }
        let buildset = request.buildset;
        let of = self.sets.get_mut(&buildset).expect("its buildset is open");
        of.requests.push(request);
        of.left -= 1;
        if of.left == 0 {
            const RANK: [u8; 7] = [1, 2, 3, 0, 4, 5, 6];
            let counts = of.requests.iter().map(|r| r.results).filter(|r| *r != SKIPPED);
            of.set.results = counts.max_by_key(|r| RANK[*r as usize]).unwrap_or(SUCCESS);
            of.set.complete_at = at;
            let of = self.sets.remove(&buildset).expect("it was just there");
            self.out.buildsets.push((of.set, of.requests));
            self.out.builds.extend(of.builds);
        }
        for part in open.absorbed {
            self.complete(part, results, at, reason);
        }
    }

    /// At the end of time: the sessions that go on.
    fn close(&mut self) {
        for (worker, live) in self.live.drain(..).enumerate() {
            let (id, opened_at) = (live.session, live.opened_at);
            self.out.sessions.push(Session { id, worker, opened_at, seen_at: self.shape.end, open: true });
        }
    }
}
