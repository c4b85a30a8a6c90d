//! The end of a daemon, in order.
//!
//! Two tokens: `drain` (take nothing new, finish what runs) and `stop` (end
//! now). The first SIGTERM or SIGINT drains; a second one, or the end of the
//! grace, stops. Tasks are tracked, so that `main` returns only after them; a
//! task that panics starts the drain and marks the outcome as failed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Clone, Default)]
pub struct Lifecycle {
    drain: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Done once draining has begun.
    pub fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    /// Done once everything is to end now.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    pub fn drain(&self) {
        self.drain.cancel();
    }

    pub fn stop(&self) {
        self.drain.cancel();
        self.stop.cancel();
    }

    /// Runs a task that the end waits for. It is to watch `draining` itself.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let this = self.clone();
        self.tasks.spawn(async move {
            if let Err(e) = tokio::spawn(task).await
                && e.is_panic()
            {
                tracing::error!(task = name, "task panicked; draining");
                this.failed.store(true, Ordering::Relaxed);
                this.drain();
            }
        });
    }

    /// Turns signals into drain and stop. `grace` is how long a drain may take.
    pub fn watch_signals(&self, grace: Duration) -> std::io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let this = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                _ = this.drain.cancelled() => {}
            }
            tracing::info!("draining; a second signal stops at once");
            this.drain();
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
                _ = tokio::time::sleep(grace) => tracing::warn!(?grace, "drain took too long"),
            }
            this.stop();
        });
        Ok(())
    }

    /// Waits for the drain to begin and every task to end, or for the stop.
    /// True if no task panicked.
    pub async fn ended(&self) -> bool {
        self.drain.cancelled().await;
        self.tasks.close();
        tokio::select! {
            _ = self.tasks.wait() => {}
            _ = self.stop.cancelled() => {}
        }
        !self.failed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_tasks() {
        let life = Lifecycle::new();
        let (done, flag) = (life.clone(), Arc::new(AtomicBool::new(false)));
        let set = flag.clone();
        life.spawn("slow", async move {
            done.draining().cancelled().await;
            tokio::task::yield_now().await;
            set.store(true, Ordering::SeqCst);
        });
        life.drain();
        assert!(life.ended().await);
        assert!(flag.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_task_that_panics_starts_the_drain_and_fails_the_outcome() {
        let life = Lifecycle::new();
        life.spawn("bad", async { panic!("on purpose") });
        assert!(!life.ended().await);
    }
}
