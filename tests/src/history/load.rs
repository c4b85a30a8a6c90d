//! Writes history as the raw rows that a Tidemill would have kept.

use super::records::*;
use super::simulate::Simulation;
use super::truth::{Collected, Truth};
use super::world::{Project, STEPS, TEST, TESTS, World};
use super::{DAY, Shape};
use anyhow::{Context, Result};
use std::marker::PhantomData;
use tidemill_model::SourceStamp;
use tidemill_model::revision::Files;
use tidemill_schema::config::{Wanted, WantedBuilder, WantedLock, revision_activate, revision_insert};
use tidemill_schema::testing::history::*;
use tidemill_schema::{Db, run_tx};

/// Rows are sent when so many builds wait.
const BATCH: usize = 5_000;
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
    test_sets: i64,
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
        for table in ["lock_wait_facts", "test_results"] {
            months(&mut c, table, Stamp(shape.start()), Stamp(shape.end)).await?;
        }
        let mut copies = Copies::default();
        for t in 0..TESTS {
            let name = test_name(t);
            let row = TestNameRow {
                id: t as i64 + 1,
                hash: name.as_bytes(),
                name: &name,
                path: "tests/all.rs",
                _life: PhantomData,
            };
            copies.add(&row);
        }
        copies.send(&mut c).await?;
        let kept = keep.then(Collected::default);
        Ok(Loader { simulation, builders, locks, ground, revision, copies, waiting: 0, kept, test_sets: 0, rows: 0 })
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
            }
        }
        Ok(more)
    }

    /// Sequences as if the rows had been made one by one; the truth, if it was kept.
    pub async fn finish(self, db: &Db) -> Result<Option<Truth>> {
        settle(&mut *db.pool().acquire().await?).await?;
        Ok(self.kept.map(|k| k.truth(self.simulation)))
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
        if build.tests.is_empty() {
            return;
        }
        self.test_sets += 1;
        let at = build.steps[TEST].complete_at;
        copies.add(&TestSetRow {
            id: self.test_sets,
            build_id: build.id,
            step: TEST as i32 + 1,
            name: "all",
            complete_at: Stamp(at),
            _life: PhantomData,
        });
        for (t, (passed, seconds)) in build.tests.iter().enumerate() {
            copies.add(&TestResultRow {
                set_id: self.test_sets,
                ordinal: t as i32,
                builder_id,
                name_id: t as i64 + 1,
                complete_at: Stamp(at),
                result: if *passed { "passed" } else { "failed" },
                seconds: Some(*seconds),
                message: (!passed).then_some("assertion failed"),
                _life: PhantomData,
            });
        }
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
            ..Wanted::default()
        };
        let files = Files::single(&format!("# history, {until} builders"));
        revision = run_tx!(db, "history.activate", |c| {
            let id = revision_insert(c, &files, &serde_json::json!({}), 1, "", "history").await?;
            revision_activate(c, id, &wanted).await?;
            Ok::<_, tidemill_schema::Error>(id)
        })?
        .0;
    }
    Ok(revision)
}
