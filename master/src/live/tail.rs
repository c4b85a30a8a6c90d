//! Tails of logs: what a log grows by, from any byte on, until it is closed.
//!
//! While somebody watches a log here, every replica hears so (for the one that
//! takes in its bytes); that one's wakes make the tail fast, and a look each
//! second makes it sure.

use super::Live;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_model::LogId;
use tidemill_model::log::Run;
use tidemill_schema::read::text::{Runs, log_complete, runs_from};
use tidemill_schema::wake::{Wake, Wakes};
use tidemill_schema::{Error, Result};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// How often it is said again that a log is watched.
const SAY: Duration = Duration::from_secs(5);
/// The look underneath the wakes.
const POLL: Duration = Duration::from_secs(1);

/// The logs that clients of this replica watch.
#[derive(Default)]
pub(super) struct Logs {
    watched: Mutex<HashMap<i64, Watch>>,
    new: tokio::sync::Notify,
}

struct Watch {
    clients: usize,
    grown: watch::Sender<()>,
}

/// A client's place in a log.
pub struct Tail {
    live: Arc<Live>,
    log: LogId,
    grown: watch::Receiver<()>,
    at: i64,
    ended: bool,
}

/// What a log grew by.
#[derive(Debug)]
pub struct Grown {
    /// Content byte at which `runs` begin, and the line it lies in.
    pub first_byte: i64,
    pub first_line: i64,
    pub runs: Vec<Run>,
    /// Where the next ones begin.
    pub next: i64,
}

impl Live {
    /// Follows a log from a content byte on.
    pub fn tail(self: &Arc<Self>, log: LogId, from: i64) -> Tail {
        let mut watched = self.logs.watched.lock().expect("no panic while locked");
        let watch = watched.entry(log.0).or_insert_with(|| Watch { clients: 0, grown: watch::channel(()).0 });
        watch.clients += 1;
        let grown = watch.grown.subscribe();
        drop(watched);
        self.logs.new.notify_one();
        Tail { live: self.clone(), log, grown, at: from, ended: false }
    }

    pub(super) async fn run_logs(self: Arc<Self>, wakes: Wakes) {
        let draining = self.life.draining().clone();
        let mut heard = wakes.subscribe();
        let mut say = tokio::time::interval(SAY);
        say.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = draining.cancelled() => return,
                _ = say.tick() => self.say(&wakes),
                _ = self.logs.new.notified() => self.say(&wakes),
                wake = heard.recv() => match wake {
                    Ok(Wake::Logs(logs)) if !logs.is_empty() => self.wake(&logs),
                    Ok(Wake::Logs(_) | Wake::All) | Err(RecvError::Lagged(_)) => self.wake_all(),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
            }
        }
    }

    fn say(&self, wakes: &Wakes) {
        let logs: Vec<i64> = self.logs.watched.lock().expect("no panic while locked").keys().copied().collect();
        if !logs.is_empty() {
            wakes.send(Wake::Watch(logs));
        }
    }

    fn wake(&self, logs: &[i64]) {
        let watched = self.logs.watched.lock().expect("no panic while locked");
        for log in logs {
            if let Some(watch) = watched.get(log) {
                watch.grown.send_replace(());
            }
        }
    }

    fn wake_all(&self) {
        for watch in self.logs.watched.lock().expect("no panic while locked").values() {
            watch.grown.send_replace(());
        }
    }
}

impl Tail {
    /// What came next. `Ok(None)` when the log is closed and all was given; the
    /// outer none when the replica drains: the client is to come back.
    pub async fn next(&mut self) -> Option<Result<Option<Grown>>> {
        let draining = self.live.life.draining().clone();
        tokio::select! {
            biased;
            _ = draining.cancelled() => None,
            grown = self.read() => Some(grown),
        }
    }

    /// Goes on from another content byte.
    pub fn go_to(&mut self, at: i64) {
        self.at = at;
    }

    async fn read(&mut self) -> Result<Option<Grown>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            self.grown.mark_unchanged();
            let mut c = self.live.db.pool().acquire().await.map_err(Error::from)?;
            // Asked first: what is stored when a log is closed is all there is.
            let complete = log_complete(&mut c, self.log).await?.unwrap_or(true);
            let Runs { first_byte, first_line, runs, next } = runs_from(&mut c, self.log, self.at).await?;
            drop(c);
            if !runs.is_empty() {
                self.at = next;
                return Ok(Some(Grown { first_byte, first_line, runs, next }));
            }
            if complete {
                self.ended = true;
                continue;
            }
            tokio::select! {
                _ = self.grown.changed() => {}
                _ = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut watched = self.live.logs.watched.lock().expect("no panic while locked");
        if let Some(watch) = watched.get_mut(&self.log.0) {
            watch.clients -= 1;
            if watch.clients == 0 {
                watched.remove(&self.log.0);
            }
        }
    }
}
