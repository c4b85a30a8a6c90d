//! Loops that look at the whole state and act, whenever something may have
//! changed.
//!
//! A wake carries no work: it only means «look again». So a lost wake costs
//! time, never work, because the loop looks by itself after `period` too.

use crate::{Backoff, Lifecycle};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There may be more: look again at once.
    Again,
    /// Look again after this time at the latest, or at a wake.
    After(Duration),
    /// Look again at the next wake or the loop's period.
    Idle,
}

/// Runs `look` until the drain begins. Errors are logged here, once, and
/// tried again with back-off; what `look` did before failing is its own
/// transaction's matter.
pub fn spawn<F, Fut, E>(life: &Lifecycle, name: &'static str, period: Duration, wake: Arc<Notify>, mut look: F)
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Next, E>> + Send,
    E: std::fmt::Display + Send,
{
    let drain = life.draining().clone();
    life.spawn(name, async move {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        loop {
            // Interest is registered before the look, so that a wake during it is not lost.
            let woken = wake.notified();
            let pause = match look().await {
                Ok(next) => {
                    backoff.reset();
                    match next {
                        Next::Again => Duration::ZERO,
                        Next::After(d) => d.min(period),
                        Next::Idle => period,
                    }
                }
                Err(error) => {
                    let wait = backoff.wait();
                    tracing::warn!(task = name, %error, ?wait, "failed; trying again");
                    tokio::select! {
                        _ = tokio::time::sleep(wait) => continue,
                        _ = drain.cancelled() => return,
                    }
                }
            };
            if drain.is_cancelled() {
                return;
            }
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                _ = woken => {}
                _ = tokio::time::sleep(pause) => {}
                _ = drain.cancelled() => return,
            }
        }
    });
}
