//! The group commit: batches of all builds that come in while one commit runs
//! are the next one.

use crate::app::App;
use crate::http::ApiError;
use crate::loops::batcher::Batcher;
use std::collections::HashSet;
use std::time::Duration;
use tidemill_schema::ingest::{Batch, Outcome, Report, batches_store};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, log_chunks};
use tokio::sync::oneshot;

/// Most bytes of log data and results of tests in one commit: it stays within some tens of milliseconds.
const GROUP_BYTES: usize = 16 << 20;
const GROUP_BATCHES: usize = 500;

/// Partitions made for one commit.
const PARTITIONS: usize = 3;

type Answer = Result<Outcome, ApiError>;

/// Where the handlers hand batches in.
#[derive(Default)]
pub struct Ingest(Batcher<Batch, Answer>);

impl Ingest {
    /// Returns after the commit.
    pub async fn store(&self, batch: Batch) -> Answer {
        self.0.submit(batch).await.unwrap_or_else(|_| Err(ApiError::unavailable()))
    }
}

pub fn start(app: &App) {
    let this = app.clone();
    app.life.spawn("ingest", async move {
        loop {
            let mut builds = HashSet::new();
            let mut bytes = 0;
            // Two batches of one build never share a group: the second may be the first again.
            let pick = |b: &Batch| {
                bytes += size(b);
                bytes <= GROUP_BYTES.max(size(b)) && builds.len() < GROUP_BATCHES && builds.insert(b.head.build)
            };
            let taken = tokio::select! {
                t = this.ingest.0.take(pick) => t,
                _ = this.life.stopping().cancelled() => return,
                _ = super::claim::drained_and_idle(&this) => return,
            };
            store(&this, taken).await;
        }
    });
}

fn size(batch: &Batch) -> usize {
    use tidemill_model::wire::{Event, Frame, TestResult};
    let text = |r: &TestResult| 100 + r.name.len() + r.path.len() + r.message.as_ref().map_or(0, String::len);
    let bytes = |f: &Frame| match f {
        Frame::Log { chunk, .. } => chunk.data.len(),
        Frame::Event(Event::TestResults { results, .. }) => results.iter().map(text).sum(),
        Frame::Event(_) => 0,
    };
    batch.frames.iter().map(bytes).sum()
}

async fn store(app: &App, taken: Vec<(Batch, oneshot::Sender<Answer>)>) {
    let (batches, answers): (Vec<_>, Vec<_>) = taken.into_iter().unzip();
    let error = match tokio::time::timeout(Duration::from_secs(60), stored(app, &batches)).await {
        Ok(Ok(report)) => {
            for (answer, outcome) in answers.into_iter().zip(report.outcomes) {
                let _ = answer.send(Ok(outcome));
            }
            if report.events {
                app.wakes.send(Wake::Events);
            }
            if report.tests {
                app.wakes.send(Wake::Tests);
            }
            let watched = app.watched.any(&report.logs);
            if !watched.is_empty() {
                app.wakes.send(Wake::Logs(watched));
            }
            if !report.unlocked.is_empty() {
                // It waits for claims that hold the rows of these locks; the next group does not.
                let this = app.clone();
                app.life.spawn("locks.turns", async move { super::locks::given_back(&this, report.unlocked).await });
            }
            return;
        }
        Ok(Err(error)) => error,
        Err(_) => {
            tracing::warn!(batches = batches.len(), "storing what workers report took too long");
            return;
        }
    };
    // Whether a cut commit happened is unknown; the workers send again, and once is once.
    if error.is_unavailable() {
        tracing::warn!(%error, batches = batches.len(), "could not store what workers report");
        return;
    }
    // One batch that cannot be stored must not fail the others (F23): it is found
    // by halves, so that they are stored in few commits.
    let mut taken: Vec<_> = batches.into_iter().zip(answers).collect();
    if taken.len() > 1 {
        let rest = taken.split_off(taken.len() / 2);
        Box::pin(store(app, taken)).await;
        Box::pin(store(app, rest)).await;
        return;
    }
    for (batch, answer) in taken {
        let build = batch.head.build;
        tracing::error!(%error, build.id = build, "a batch cannot be stored; its build waits");
        let _ = answer.send(Err(refused(&error, build)));
    }
}

/// Stores them; where logs came faster than their partitions, makes those first.
async fn stored(app: &App, batches: &[Batch]) -> Result<Report, Error> {
    for _ in 0..PARTITIONS {
        match batches_store(&app.db, batches).await {
            Err(error) if error.no_partition().is_some() => {
                let log = error.no_partition().unwrap_or_default();
                tracing::warn!(log, "log partitions were used up before housekeeping made more");
                log_chunks::partitions_ensure(&app.db).await?;
                if log > 0 {
                    log_chunks::partition_ensure(&app.db, log).await?;
                }
            }
            settled => return settled,
        }
    }
    batches_store(&app.db, batches).await
}

fn refused(error: &Error, build: i64) -> ApiError {
    if error.is_data() {
        // The worker gives the build up, and its lease ends it.
        return ApiError::bad_request(format!("a batch of build {build} holds what cannot be stored"));
    }
    ApiError::internal(format!("batch of build {build}: {error}"))
}
