//! The bound on bytes that wait for a master, over all builds of a worker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Log bytes stop at the bound; events pass it, as they are few and a build
/// could not end without them. One read of output may overshoot.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u64,
    used: AtomicU64,
    freed: Notify,
}

impl Budget {
    pub fn new(max: u64) -> Self {
        Budget { max, used: AtomicU64::new(0), freed: Notify::new() }
    }

    pub fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.max
    }

    pub fn add(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn sub(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }

    #[cfg(test)]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Until something was freed; looks up by itself now and then, so a missed
    /// wake-up costs little.
    pub async fn freed(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(100), self.freed.notified()).await;
    }
}
