//! Things that many requests want done together by one statement.
//!
//! While one group is being done the next gathers, so a group is as large as
//! the load makes it, and a single request waits for nothing.

use std::sync::Mutex;
use tokio::sync::{Notify, oneshot};

/// Requests of type `T`, each answered with an `R`. If the loop drops a
/// request, its caller sees that nothing was done.
pub struct Batcher<T, R> {
    waiting: Mutex<Vec<(T, oneshot::Sender<R>)>>,
    wake: Notify,
}

/// The replica is ending, or the group failed: nothing was done for this request.
#[derive(Debug)]
pub struct Dropped;

impl<T, R> Default for Batcher<T, R> {
    fn default() -> Self {
        Batcher { waiting: Mutex::default(), wake: Notify::new() }
    }
}

impl<T, R> Batcher<T, R> {
    /// Hands a request in and waits for its answer.
    pub async fn submit(&self, request: T) -> Result<R, Dropped> {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().expect("no panic while locked").push((request, answer));
        self.wake.notify_one();
        answered.await.map_err(|_| Dropped)
    }

    /// Waits until there is anything, then takes what `pick` chooses; the rest
    /// stays in order.
    pub async fn take(&self, mut pick: impl FnMut(&T) -> bool) -> Vec<(T, oneshot::Sender<R>)> {
        loop {
            let woken = self.wake.notified();
            let taken: Vec<_> = {
                let mut waiting = self.waiting.lock().expect("no panic while locked");
                let mut rest = Vec::new();
                let mut taken = Vec::new();
                // Whose caller is gone will be sent again.
                for entry in waiting.drain(..).filter(|(_, answer)| !answer.is_closed()) {
                    if pick(&entry.0) { taken.push(entry) } else { rest.push(entry) }
                }
                *waiting = rest;
                taken
            };
            if !taken.is_empty() {
                // What was left behind is looked at again at once.
                self.wake.notify_one();
                return taken;
            }
            woken.await;
        }
    }
}
