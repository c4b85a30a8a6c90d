//! Writes history as the raw rows that a Tidemill would have kept.

use super::records::*;
use super::simulate::Simulation;
use super::truth::{Collected, Truth};
use super::world::{Project, STEPS, TEST, World};
use super::{DAY, Shape};
use anyhow::{Context, Result};
use std::marker::PhantomData;
use tidemill_model::SourceStamp;
use tidemill_model::revision::Files;
use tidemill_schema::config::{Wanted, WantedBuilder, WantedLock, WantedProject, revision_activate, revision_insert};
use tidemill_schema::facts::test_results::{Outcome, TestResult, TestSet, test_results_store};
use tidemill_schema::testing::history::*;
use tidemill_schema::{Db, run_tx};

/// Rows are sent when so many builds wait.
const BATCH: usize = 5_000;
/// Sets of results of tests that are stored in a transaction.
pub(super) const TESTS_PAGE: usize = 200;
const MAIL: usize = 0;
const IRC: usize = 1;

/// A history on its way into a database.
pub struct Loader {
    simulation: Simulation,
    /// Ids in the database, by place in the world.
    builders: Vec<(i64, i64)>,
    locks: Vec<i64>,
    ground: Ground,
    revision: i64,
    copies: Copies,
    waiting: usize,
    kept: Option<Collected>,
    /// Results of tests that are not stored yet.
    tests: Vec<TestSet>,
    /// Rows that were written.
    pub rows: u64,
}

/// A whole history, with its truth.
pub struct Loaded {
    pub truth: Truth,
    pub rows: u64,
}

/// Writes all of it into an empty database.
pub async fn load(db: &Db, shape: Shape) -> Result<Loaded> {
    let mut loader = Loader::begin(db, shape, true).await?;
    while loader.advance(db, i64::MAX).await? {}
    let rows = loader.rows;
    Ok(Loaded { truth: loader.finish(db).await?.context("it was kept")?, rows })
}

impl Loader {
    /// The ground: builders, workers, locks. `keep`: the records are the truth, at the end.
    pub async fn begin(db: &Db, shape: Shape, keep: bool) -> Result<Loader> {
        let simulation = Simulation::new(shape);
        let world = &simulation.world;
        let revision = activate(db, world).await?;
        let mut c = db.pool().acquire().await?;
        let workers: Vec<(String, String)> = world
            .workers
            .iter()
            .map(|w| {
                let labels = w.hourly_cost.map_or("{}".into(), |cost| format!("{{\"hourly_cost\": \"{cost:.1}\"}}"));
                (w.name.clone(), labels)
            })
            .collect();
        let ground = ground(&mut c, &workers, &[("mail", "relay.example.org:25"), ("irc", "irc")]).await?;
        let known: std::collections::HashMap<String, (i64, i64)> =
            sqlx::query_as::<_, (String, i64, i64)>("select name, id, settings_id from builders")
                .fetch_all(&mut *c)
                .await?
                .into_iter()
                .map(|(name, id, settings)| (name, (id, settings)))
                .collect();
        let builders = world.builders.iter().map(|b| known[&b.name]).collect();
        let locks = sqlx::query_scalar(
            "select l.id from unnest($1::text[]) with ordinality u(name, n) join locks l using (name) order by n",
        )
        .bind(&world.locks)
        .fetch_all(&mut *c)
        .await?;
        months(&mut c, "lock_wait_facts", Stamp(shape.start()), Stamp(shape.end)).await?;
        let kept = keep.then(Collected::default);
        Ok(Loader {
            simulation,
            builders,
            locks,
            ground,
            revision,
            copies: Copies::default(),
            waiting: 0,

            kept,
            tests: Vec::new(),
            rows: 0,
        })
    }

    /// Builds that began so far.
    pub fn builds(&self) -> i64 {
        self.simulation.builds()
    }

    /// Writes what comes to its end before then; false if that was all.
    pub async fn advance(&mut self, db: &Db, until: i64) -> Result<bool> {
        let mut c = db.pool().acquire().await?;
        let mut at = self.simulation.shape.start();
        let mut more = true;
        while more && at < until {
            at += DAY / 4;
            more = self.simulation.advance(at.min(until));
            let records = std::mem::take(&mut self.simulation.out);
            self.write(&records);
            self.waiting += records.builds.len();
            if let Some(kept) = &mut self.kept {
                kept.take(records);
            }
            if self.waiting >= BATCH || !more || at >= until {
                self.rows += self.copies.send(&mut c).await?;
                self.waiting = 0;
                // At the end of what was asked for all of them: the rows of their builds may go next.
                let all = !more || at >= until;
                self.store_tests(db, if all { i64::MAX } else { at - 3 * DAY }).await?;
            }
        }
        Ok(more)
    }

    /// Sequences as if the rows had been made one by one; the truth, if it was kept.
    pub async fn finish(self, db: &Db) -> Result<Option<Truth>> {
        settle(&mut *db.pool().acquire().await?).await?;
        Ok(self.kept.map(|k| k.truth(self.simulation)))
    }

    /// Stores results of tests by the function that masters use, in the order of time: those
    /// before which no other comes any more, a page at once.
    async fn store_tests(&mut self, db: &Db, until: i64) -> Result<()> {
        let all = until == i64::MAX;
        let until = time::OffsetDateTime::from_unix_timestamp(until.min(self.simulation.shape.end + DAY) / 1_000_000)?;
        self.tests.sort_by_key(|s| (s.complete_at, s.build));
        let ready = self.tests.partition_point(|s| s.complete_at < Some(until));
        let whole = if all { ready } else { ready / TESTS_PAGE * TESTS_PAGE };
        for page in self.tests[..whole].chunks(TESTS_PAGE) {
            let stored = run_tx!(db, "history.tests", |c| test_results_store(c, page).await)?;
            anyhow::ensure!(stored == page.len() as u64, "results of tests of builds that are not there");
        }
        self.tests.drain(..whole);
        Ok(())
    }

    fn write(&mut self, records: &Records) {
        let world = &self.simulation.world;
        let branches = &self.simulation.branches;
        let copies = &mut self.copies;
        for change in &records.changes {
            write_change(copies, world, &branches[change.branch], change);
        }
        for (set, requests) in &records.buildsets {
            let (scheduler, reason) = said(&world.projects[branches[set.branch].project], set.kind);
            copies.add(&BuildsetRow {
                id: set.id,
                submitted_at: Stamp(set.submitted_at),
                reason,
                scheduler,
                complete_at: Stamp(set.complete_at),
                results: set.results.into(),
                _life: PhantomData,
            });
            copies.add(&BuildsetStampRow { buildset_id: set.id, sourcestamp_id: set.head, _life: PhantomData });
            for change in &set.changes {
                copies.add(&BuildsetChangeRow { buildset_id: set.id, change_id: *change, _life: PhantomData });
            }
            for r in requests {
                copies.add(&RequestRow {
                    id: r.id,
                    buildset_id: r.buildset,
                    builder_id: self.builders[r.builder].0,
                    priority: r.priority,
                    submitted_at: Stamp(r.submitted_at),
                    complete_at: Stamp(r.complete_at),
                    results: r.results.into(),
                    complete_reason: r.reason,
                    collapsed_into: r.collapsed_into,
                    _life: PhantomData,
                });
            }
        }
        for session in &records.sessions {
            copies.add(&SessionRow {
                id: session.id,
                worker_id: self.ground.workers[session.worker],
                instance: "history",
                epoch: self.ground.epoch,
                release: "history",
                protocol: 1,
                vocabulary: 1,
                slots: world.workers[session.worker].slots as i32,
                state: if session.open { "open" } else { "closed" },
                opened_at: Stamp(session.opened_at),
                seen_at: Stamp(session.seen_at),
                _life: PhantomData,
            });
        }
        for build in &records.builds {
            self.write_build(build);
        }
    }

    fn write_build(&mut self, build: &Build) {
        let world = &self.simulation.world;
        let branch = &self.simulation.branches[build.branch];
        let copies = &mut self.copies;
        let (builder_id, settings_id) = self.builders[build.builder];
        let stopped = build.results == CANCELLED;
        copies.add(&BuildRow {
            id: build.id,
            builder_id,
            number: build.number,
            request_id: build.request,
            worker_id: self.ground.workers[build.worker],
            session_id: build.session,
            poll: build.id,
            attempt: build.attempt as i32,
            token: "0123456789abcdef0123456789abcdef",
            revision_id: self.revision,
            settings_id,
            state: "finished",
            state_string: SAID[build.results as usize],
            started_at: Stamp(build.started_at),
            complete_at: Stamp(build.complete_at),
            results: build.results.into(),
            last_batch: (build.results != RETRY).then_some(7),
            stop_reason: stopped.then_some("stopped by admin"),
            stop_results: stopped.then_some(CANCELLED.into()),
            _life: PhantomData,
        });
        for (n, step) in build.steps.iter().enumerate() {
            let number = n as i32 + 1;
            copies.add(&StepRow {
                build_id: build.id,
                number,
                name: STEPS[step.name as usize].0,
                state_string: "",
                started_at: Stamp(step.started_at),
                complete_at: Stamp(step.complete_at),
                results: step.results.into(),
                lock_wait: step.lock_wait.map(Span),
                _life: PhantomData,
            });
            if let Some((name, value)) = step.statistic {
                copies.add(&StatisticRow { build_id: build.id, step: number, name, value, _life: PhantomData });
            }
            if let Some(bytes) = step.log_bytes {
                copies.add(&LogRow {
                    build_id: build.id,
                    number,
                    step: number,
                    name: "stdio",
                    slug: "stdio",
                    kind: "s",
                    complete: true,
                    incomplete: build.results == RETRY,
                    bytes,
                    lines: bytes / 60,
                    _life: PhantomData,
                });
            }
            if let Some(wait) = step.lock_wait.filter(|w| *w > 0) {
                let lock = world.builders[build.builder].lock.expect("who waits has a lock");
                copies.add(&LockWaitRow {
                    ended_at: Stamp(step.started_at + wait),
                    since: Stamp(step.started_at),
                    lock_id: self.locks[lock],
                    builder_id: Some(builder_id),
                    request_id: None,
                    build_id: Some(build.id),
                    step: Some(number),
                    _life: PhantomData,
                });
            }
        }
        if build.results == SUCCESS {
            copies.add(&SuccessRow {
                builder_id,
                line: Line(branch.line),
                number: build.number,
                build_id: build.id,
                _life: PhantomData,
            });
        }
        for notice in &build.notices {
            copies.add(&DeliveryRow {
                xid: 1,
                event_id: build.id,
                at: Stamp(build.complete_at),
                reporter: if notice.irc { "irc" } else { "mail" },
                generator: 0,
                moment: "end",
                revision_id: self.revision,
                mode: "failing",
                builder_id: Some(builder_id),
                build_id: Some(build.id),
                destination_id: self.ground.destinations[if notice.irc { IRC } else { MAIL }],
                address: if notice.irc { "#builds" } else { &world.authors[notice.author] },
                state: notice.state,
                planned_at: Stamp(notice.planned_at),
                expires_at: Stamp(notice.planned_at + DAY),
                attempts: notice.attempts,
                ended_at: Some(Stamp(notice.ended_at)),
                _life: PhantomData,
            });
        }
        if !build.tests.is_empty() {
            self.tests.push(test_set(build));
        }
    }
}

/// What its step `test` gave.
fn test_set(build: &Build) -> TestSet {
    let at = build.steps[TEST].complete_at;
    TestSet {
        build: build.id,
        step: TEST as i32 + 1,
        name: "all".into(),
        complete_at: time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1000).ok(),
        results: build
            .tests
            .iter()
            .enumerate()
            .map(|(t, (passed, seconds))| TestResult {
                name: test_name(t),
                path: "tests/all.rs".into(),
                outcome: if *passed { Outcome::Passed } else { Outcome::Failed },
                seconds: Some(*seconds),
                message: (!passed).then(|| "assertion failed".into()),
            })
            .collect(),
    }
}

/// Name of a test.
pub fn test_name(t: usize) -> String {
    format!("suite::test_{t}")
}

const SAID: [&str; 7] =
    ["build successful", "warnings", "failed", "skipped", "exception", "worker lost", "build stopped"];

/// Scheduler and reason of a buildset.
pub fn said(project: &Project, kind: Kind) -> (&str, &'static str) {
    match kind {
        Kind::Commits => (&project.scheduler, "scheduler"),
        Kind::Nightly => ("nightly", "The Nightly scheduler named 'nightly' triggered this build"),
        Kind::Forced => ("force", "force build"),
    }
}

fn write_change(copies: &mut Copies, world: &World, branch: &Branch, change: &Change) {
    let project = &world.projects[branch.project];
    let revision = change.revision();
    let stamp = SourceStamp {
        codebase: String::new(),
        repository: project.repository.clone(),
        project: project.name.clone(),
        branch: Some(branch.name.clone()),
        revision: Some(revision.clone()),
        ..SourceStamp::default()
    };
    copies.add(&SourcestampRow {
        id: change.id,
        hash: &stamp_hash(&stamp),
        codebase: "",
        repository: &project.repository,
        project: &project.name,
        branch: Some(&branch.name),
        revision: Some(&revision),
        created_at: Stamp(change.received_at),
        _life: PhantomData,
    });
    copies.add(&ChangeRow {
        id: change.id,
        received_at: Stamp(change.received_at),
        author: &world.authors[change.author],
        comments: "a change",
        files: &["src/main.rs"],
        branch: Some(&branch.name),
        revision: Some(&revision),
        repository: &project.repository,
        project: &project.name,
        codebase: "",
        when_at: Some(Stamp(change.made_at)),
        parent_ids: change.parent.as_slice(),
        sourcestamp_id: change.id,
        _life: PhantomData,
    });
}

/// Makes builders and locks as a project file does; in parts, as one activation adds so many at most.
async fn activate(db: &Db, world: &World) -> Result<i64> {
    let mut revision = 0;
    let all: Vec<WantedBuilder> = world
        .builders
        .iter()
        .map(|b| WantedBuilder {
            name: b.name.clone(),
            project: world.projects[b.project].name.clone(),
            workernames: world.pools[b.pool].workers.iter().map(|w| world.workers[*w].name.clone()).collect(),
            steps: STEPS.iter().map(|s| s.0.to_owned()).collect(),
            ..WantedBuilder::default()
        })
        .collect();
    for until in (4_000..all.len()).step_by(4_000).chain([all.len()]) {
        let wanted = Wanted {
            builders: all[..until].to_vec(),
            locks: world
                .locks
                .iter()
                .map(|name| WantedLock {
                    name: name.clone(),
                    of_workers: false,
                    capacity: 1,
                    capacities: Default::default(),
                })
                .collect(),
            projects: world
                .projects
                .iter()
                .map(|p| WantedProject { name: p.name.clone(), description: String::new(), public: p.public })
                .collect(),
            ..Wanted::default()
        };
        let files = Files::single(format!("# history, {until} builders"));
        revision = run_tx!(db, "history.activate", |c| {
            let id = revision_insert(c, &files, &serde_json::json!({}), 1, "", "history").await?;
            revision_activate(c, id, &wanted).await?;
            Ok::<_, tidemill_schema::Error>(id)
        })?
        .0;
    }
    Ok(revision)
}
