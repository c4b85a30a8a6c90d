//! Three replicas under whatever comes, in whatever order: changes, forced
//! builds, rebuilds, priorities, pauses, cancels and stops from people, locks, workers that answer late or
//! never again, masters that are killed. Afterwards every promise holds.
//!
//! `TIDEMILL_TEST_SEED=N` makes the same choices again; how they interleave is
//! up to the machine.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tidemill_model::Results;
use tidemill_model::wire::{Claim, Held, Poll};
use tidemill_schema::Db;
use tidemill_tests::api::Api;
use tidemill_tests::wait::holds;
use tidemill_tests::{Cluster, PlayedWorker, invariants, wait_until, wait_while_it_moves};

const MASTERS: usize = 3;
const WORKERS: usize = 6;
const PEOPLE: u64 = 3;
const SLOTS: u32 = 2;

/// Merging builders and others, some for a few workers only, some that hold locks;
/// schedulers for one branch, and for all.
const PROJECT: &str = r#"
c = {}
board = util.MasterLock("board")
memory = util.MasterLock("memory", maxCount = 3)
disk = util.WorkerLock("disk")
LOCKS = {
    1: [memory.access("counting", 2)],
    2: [board.access("exclusive"), memory.access("counting")],
    3: [disk.access("exclusive")],
}

def builder(i):
    return util.BuilderConfig(
        name = "b%d" % i,
        workernames = ["w0", "w1", "w2"] if i == 3 else ["*"],
        collapseRequests = i < 2,
        locks = LOCKS.get(i, []),
        factory = util.BuildFactory([steps.ShellCommand(command = ["true"])]),
    )

c["builders"] = [builder(i) for i in range(5)]
c["schedulers"] = [
    schedulers.SingleBranchScheduler(
        name = "main",
        change_filter = util.ChangeFilter(branch = "main"),
        builderNames = ["b0", "b1", "b2"],
    ),
    schedulers.SingleBranchScheduler(
        name = "dev",
        change_filter = util.ChangeFilter(branch = "dev"),
        builderNames = ["b1", "b3"],
    ),
    schedulers.SingleBranchScheduler(name = "all", builderNames = ["b4"]),
]
"#;

/// A change that a scheduler wants, and not exactly one buildset for it.
const SCHEDULED_WRONGLY: &str = "
    select format('change %s by %s: %s', c.id, s.name,
                  (select count(*) from buildset_changes x join buildsets b on b.id = x.buildset_id
                    where x.change_id = c.id and b.scheduler = s.name))
      from changes c
      join (values ('main', 'main'), ('dev', 'dev'), ('all', null)) s(name, branch)
        on s.branch is null or s.branch = c.branch
     where 1 <> (select count(*) from buildset_changes x join buildsets b on b.id = x.buildset_id
                  where x.change_id = c.id and b.scheduler = s.name)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_people_workers_and_deaths_do_at_random_every_promise_holds() {
    let full = std::env::var_os("TIDEMILL_TEST_FULL").is_some();
    let (wishes, deaths) = if full { (2_000, 20) } else { (80, 3) };
    let seed: u64 = std::env::var("TIDEMILL_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("TIDEMILL_TEST_SEED={seed}");
    let mut t = Cluster::with(false, 3).await;
    for _ in 0..MASTERS {
        t.master().await;
    }
    t.configure(0, PROJECT).await;
    let masters = Arc::new((0..MASTERS).map(|n| t.master_url(n)).collect::<Vec<_>>());
    let done = Arc::new(AtomicBool::new(false));
    let mut workers = tokio::task::JoinSet::new();
    for i in 0..WORKERS {
        let worker = PlayedWorker::enrol(&t.db, &format!("w{i}"), &masters).await;
        workers.spawn(work(worker, StdRng::seed_from_u64(seed ^ (1 << 32) ^ i as u64), done.clone()));
    }
    let watch = tokio::spawn(watch(t.db.clone(), done.clone()));
    let mut people = tokio::task::JoinSet::new();
    for i in 0..PEOPLE {
        let person = Person {
            name: i,
            db: t.db.clone(),
            apis: (0..MASTERS).map(|n| t.api(n)).collect(),
            rng: StdRng::seed_from_u64(seed.wrapping_add(i)),
        };
        people.spawn(person.wish(wishes));
    }
    // Each death comes after so many more changes, wherever people are by then.
    let mut rng = StdRng::seed_from_u64(seed ^ 7);
    for death in 1..=deaths {
        let changes = (wishes * PEOPLE as usize / 4 * death / (deaths + 1)) as i64;
        wait_until("more changes", || async { holds(count(&t.db, "changes").await >= changes, "too few") }).await;
        let n = rng.random_range(0..MASTERS);
        t.masters[n].process.kill9();
        let address = t.masters[n].address;
        t.master_restart(n, address).await;
    }
    let mut accepted = 0;
    while let Some(one) = people.join_next().await {
        accepted += one.expect("a person goes on");
    }
    assert_eq!(count(&t.db, "changes").await, accepted, "each accepted change is stored, once");
    wait_until("each change to be scheduled once", || async {
        let wrong: Vec<String> = sqlx::query_scalar(SCHEDULED_WRONGLY).fetch_all(t.db.pool()).await.unwrap();
        holds(wrong.is_empty(), format!("{wrong:?}"))
    })
    .await;
    // The builder of the exclusive lock has a backlog by now, which one worker after another works off.
    wait_while_it_moves("all requests to be complete", || async {
        let open = count(&t.db, "build_requests where complete_at is null").await;
        holds(open == 0, format!("{open} are open"))
    })
    .await;
    done.store(true, Ordering::Relaxed);
    while let Some(worker) = workers.join_next().await {
        worker.expect("a worker goes on");
    }
    watch.await.expect("no look found anything broken");
    invariants::check(&t.db).await;
    let builds = count(&t.db, "builds").await;
    let lost = count(&t.db, "builds where results = 5").await;
    let merged = count(&t.db, "build_requests where collapsed_into is not null").await;
    println!("{accepted} changes, {builds} builds, {lost} of them lost, {merged} requests merged, {deaths} deaths");
    assert!(builds > lost && accepted > 0);
}

/// What must hold at every moment, not only at the end.
async fn watch(db: Db, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        invariants::check_always(&db).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn count(db: &Db, of: &str) -> i64 {
    let query = sqlx::AssertSqlSafe(format!("select count(*) from {of}"));
    sqlx::query_scalar(query).fetch_one(db.pool()).await.expect("the tables can be counted")
}

/// Somebody who asks for things, of whichever master answers.
struct Person {
    name: u64,
    db: Db,
    apis: Vec<Api>,
    rng: StdRng,
}

impl Person {
    /// So many wishes; returns how many changes were accepted.
    async fn wish(mut self, wishes: usize) -> i64 {
        let mut accepted = 0;
        for n in 0..wishes {
            match self.rng.random_range(0..100) {
                0..45 => {
                    self.change(n).await;
                    accepted += 1;
                }
                45..65 => {
                    let builder = self.rng.random_range(0..5);
                    let priority = self.rng.random_range(-1..3);
                    let _ = self.ask(&format!("builders/b{builder}/force"), json!({ "priority": priority })).await;
                }
                65..80 => self.about("build_requests", "buildrequests", "cancel", json!({})).await,
                80..85 => self.about("builds", "builds", "stop", json!({})).await,
                85..90 => {
                    let priority = json!({ "priority": self.rng.random_range(-2..5) });
                    self.about("build_requests", "buildrequests", "priority", priority).await;
                }
                90..93 => self.pause().await,
                _ => self.about("builds", "builds", "rebuild", json!({})).await,
            }
        }
        accepted
    }

    /// Announces a change until a master says that it is stored; the key makes it once.
    async fn change(&mut self, n: usize) {
        let branch = *["main", "dev", "other"].choose(&mut self.rng).expect("there are branches");
        let key = format!("{}-{n}", self.name);
        let body = json!({ "author": "A", "comments": key, "branch": branch, "revision": key, "repository": "r" });
        loop {
            let api = self.apis.choose(&mut self.rng).expect("there is a master");
            match api.post_once("changes", body.clone(), &key).await {
                Ok(_) => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Does something with one of the newest rows, which may be over by then.
    async fn about(&mut self, table: &str, resource: &str, what: &str, body: Value) {
        let query = sqlx::AssertSqlSafe(format!("select id from {table} order by id desc limit 20"));
        let ids: Vec<i64> = sqlx::query_scalar(query).fetch_all(self.db.pool()).await.expect("rows can be read");
        if let Some(id) = ids.choose(&mut self.rng) {
            let _ = self.ask(&format!("{resource}/{id}/{what}"), body).await;
        }
    }

    /// Pauses a builder and lets it go on, whatever dies in between.
    async fn pause(&mut self) {
        let builder = self.rng.random_range(0..5);
        let _ = self.ask(&format!("builders/b{builder}/pause"), json!({})).await;
        while self.ask(&format!("builders/b{builder}/unpause"), json!({})).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks once: a refusal and a dead master are answers too.
    async fn ask(&mut self, path: &str, body: Value) -> Result<Value, String> {
        self.apis.choose(&mut self.rng).expect("there is a master").post(path, body).await
    }
}

/// Takes builds, holds some of them for a while, ends them in any way, and lets a few fall.
async fn work(worker: PlayedWorker, mut rng: StdRng, done: Arc<AtomicBool>) {
    let session = worker.hello(SLOTS).await;
    let (mut number, mut newest) = (1, 0);
    let mut holding: Vec<Claim> = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let held = holding.iter().map(|c| Held { build: c.build, token: c.token.clone() }).collect();
        let free = SLOTS.saturating_sub(holding.len() as u32);
        let wait_us = if holding.is_empty() { 200_000 } else { 50_000 };
        let poll = Poll { session, poll: number, free, newest, held, wait_us };
        let patience = if rng.random_bool(0.2) { rng.random_range(1..30) } else { 5_000 };
        let Some(answer) = worker.poll(&poll, Duration::from_millis(patience)).await else { continue };
        number += 1;
        holding.retain(|c| !answer.lost.contains(&c.build));
        for claim in answer.claims {
            if claim.build > newest {
                newest = claim.build;
                // It falls: never heard of again, until its lease is over.
                if rng.random_bool(0.98) {
                    holding.push(claim);
                }
            }
        }
        let stopped = |c: &Claim| answer.stop.iter().find(|s| s.build == c.build).map(|s| s.results);
        for claim in std::mem::take(&mut holding) {
            let ends = stopped(&claim).or_else(|| rng.random_bool(0.5).then(|| any_result(&mut rng)));
            match ends {
                None => holding.push(claim),
                Some(results) => {
                    let mut patience = || Duration::from_millis(if rng.random_bool(0.2) { 2 } else { 5_000 });
                    worker.finish(session, &claim, results, &mut patience).await;
                }
            }
        }
    }
}

fn any_result(rng: &mut StdRng) -> Results {
    let all =
        [Results::Success, Results::Success, Results::Warnings, Results::Failure, Results::Exception, Results::Retry];
    *all.choose(rng).expect("there are results")
}
