//! A build in this worker's hands, from its claim to the acknowledgement of its
//! last event; and builds that an earlier life left.

use crate::build::{self, Site, Verdict};
use crate::clock;
use crate::order::Order;
use crate::provided::Source;
use crate::secrets::Secrets;
use crate::sender::{Delivery, deliver};
use crate::shared::Shared;
use crate::spool::{self, Spool};
use crate::tree;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tidemill_model::Results;
use tidemill_model::wire::{Claim, Event};
use tokio::sync::watch;

/// Runs a claimed build and delivers it.
pub(crate) async fn run(
    shared: Arc<Shared>,
    claim: Claim,
    orders: watch::Sender<Order>,
    receiver: watch::Receiver<Order>,
) {
    let build = claim.build;
    let guard = shared.processes.build_begins();
    shared.journal.taken(build, &claim.token);
    let spool = Arc::new(Spool::new(dir(&shared, build), shared.budget.clone()));
    spool.event(Event::BuildStarted { at_us: clock::now_us() });
    tracing::info!(build, builder = claim.builder, number = claim.number, "build started");
    let delivery = tokio::spawn(deliver(shared.clone(), build, claim.token.clone(), spool.clone(), orders.clone()));

    let verdict = work(&shared, &claim, &spool, receiver).await;
    drop(guard);
    if let Verdict::Finished { results, summary } = verdict {
        tracing::info!(build, %results, "build ended: {summary}");
        shared.slots().done(build);
        spool.event(Event::BuildFinished { results, summary, at_us: clock::now_us() });
    }
    finish(&shared, build, &spool, delivery.await.unwrap_or(Delivery::Quit));
}

/// Runs the steps and leaves no process behind.
async fn work(shared: &Arc<Shared>, claim: &Claim, spool: &Arc<Spool>, receiver: watch::Receiver<Order>) -> Verdict {
    let folder = match shared.base.builder_folder(&claim.builder) {
        Ok(folder) => folder,
        Err(error) => {
            return Verdict::Finished { results: Results::Exception, summary: format!("exception: {error}") };
        }
    };
    let tree = match shared.settings.tree.as_ref().map(|tree| tree::stand(tree, folder.path())).transpose() {
        Ok(tree) => tree,
        Err(error) => {
            let summary = format!("exception: cannot use the working tree: {error}");
            return Verdict::Finished { results: Results::Exception, summary };
        }
    };
    let dir = shared.settings.secrets();
    let secrets = Arc::new(match claim.trusted {
        true => {
            let source = Source::new(shared.clone(), claim.build, &claim.token, receiver.clone());
            Secrets::of_build(&dir, source)
        }
        false => Secrets::for_outsider(&dir),
    });
    let path = tree.as_ref().map_or(folder.path(), tree::Standing::folder);
    let site = Site { claim, spool, folder: path, secrets };
    let run = AssertUnwindSafe(build::execute(shared, site, receiver)).catch_unwind();
    let verdict = run.await.unwrap_or_else(|_| {
        tracing::error!(build = claim.build, "the worker's own code panicked in a build");
        let summary = "exception: the worker panicked; its log says where".into();
        Verdict::Finished { results: Results::Exception, summary }
    });
    if verdict == Verdict::Over {
        shared.processes.end(shared.processes.build_mark(claim.build)).await;
    }
    shared.processes.end_of_build(claim.build).await;
    verdict
}

/// Ends a build that cannot be begun.
pub(crate) async fn give_back(
    shared: Arc<Shared>,
    build: i64,
    token: String,
    why: String,
    orders: watch::Sender<Order>,
) {
    shared.journal.taken(build, &token);
    let spool = Arc::new(Spool::new(dir(&shared, build), shared.budget.clone()));
    spool.event(Event::BuildStarted { at_us: clock::now_us() });
    let summary = format!("lost: the worker cannot read what it is to build: {why}");
    spool.event(Event::BuildFinished { results: Results::Retry, summary, at_us: clock::now_us() });
    let delivery = deliver(shared.clone(), build, token, spool.clone(), orders).await;
    finish(&shared, build, &spool, delivery);
}

/// Forgets a build, or leaves it to the next life.
fn finish(shared: &Shared, build: i64, spool: &Spool, delivery: Delivery) {
    match delivery {
        Delivery::Done | Delivery::Lost => {
            spool.remove();
            shared.journal.over(build);
        }
        Delivery::Quit => spool.leave(),
    }
    shared.build_ended(build);
}

/// Takes over what an earlier life left: each build is delivered and, unless it
/// had ended, ends as a retry. Until then nothing new is asked for.
pub(crate) fn left_over(shared: &Arc<Shared>) -> Vec<impl Future<Output = ()> + Send + 'static> {
    let held = shared.journal.held();
    forget_strangers(shared, &held);
    let mut deliveries = Vec::new();
    for (build, token) in held {
        let spool = match open(shared, build) {
            Ok(spool) => Arc::new(spool),
            Err(error) => {
                tracing::error!(build, %error, "the spool of an earlier life cannot be read; the build ends by its lease");
                spool::remove_dir(&dir(shared, build));
                shared.journal.over(build);
                continue;
            }
        };
        tracing::info!(build, "delivering what an earlier life of this worker left");
        shared.slots().left_over(build, token.clone());
        let (orders, _) = shared.orders_for(build);
        let shared = shared.clone();
        deliveries.push(async move {
            let delivery = deliver(shared.clone(), build, token, spool.clone(), orders).await;
            finish(&shared, build, &spool, delivery);
        });
    }
    deliveries
}

fn open(shared: &Shared, build: i64) -> std::io::Result<Spool> {
    let (path, budget) = (dir(shared, build), shared.budget.clone());
    let lost =
        || Event::BuildFinished { results: Results::Retry, summary: "worker restarted".into(), at_us: clock::now_us() };
    if !path.exists() {
        // It was too young to have anything on disk, so nothing was sent but perhaps its end.
        let spool = Spool::new(path, budget);
        spool.event(Event::BuildStarted { at_us: clock::now_us() });
        spool.event(lost());
        return Ok(spool);
    }
    let (spool, finished) = Spool::open(path, budget)?;
    if !finished {
        spool.event(lost());
    }
    Ok(spool)
}

/// Spools without an entry in the journal are of builds that are over.
fn forget_strangers(shared: &Shared, held: &std::collections::BTreeMap<i64, String>) {
    for entry in std::fs::read_dir(shared.base.spool()).into_iter().flatten().flatten() {
        let build = entry.file_name().to_str().and_then(|n| n.parse::<i64>().ok());
        if build.is_some_and(|b| !held.contains_key(&b)) {
            spool::remove_dir(&entry.path());
        }
    }
}

fn dir(shared: &Shared, build: i64) -> std::path::PathBuf {
    shared.base.spool().join(build.to_string())
}
