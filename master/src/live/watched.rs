//! Which logs somebody watches, on whatever replica: so that ingest wakes only
//! for those.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidemill_schema::wake::{Wake, Wakes};
use tidemill_service::Lifecycle;
use tokio::sync::broadcast::error::RecvError;

/// How long a log counts as watched after somebody said so.
const KEEP: Duration = Duration::from_secs(12);

#[derive(Default)]
pub struct Watched(Mutex<Set>);

#[derive(Default)]
struct Set {
    until: HashMap<i64, Instant>,
    /// Somebody watches so many that they were not named.
    all_until: Option<Instant>,
}

impl Watched {
    /// Starts to hear who watches what.
    pub fn start(wakes: Wakes, life: Lifecycle) -> Arc<Watched> {
        let watched = Arc::new(Watched::default());
        let (this, draining) = (watched.clone(), life.draining().clone());
        let mut heard = wakes.subscribe();
        life.spawn("live.watched", async move {
            loop {
                let wake = tokio::select! {
                    wake = heard.recv() => wake,
                    _ = draining.cancelled() => return,
                };
                match wake {
                    Ok(Wake::Watch(logs)) => this.note(&logs, Instant::now()),
                    // What was missed is said again within seconds.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        watched
    }

    fn note(&self, logs: &[i64], now: Instant) {
        let mut set = self.0.lock().expect("no panic while locked");
        if logs.is_empty() {
            set.all_until = Some(now + KEEP);
        }
        set.until.retain(|_, until| *until > now);
        set.until.extend(logs.iter().map(|l| (*l, now + KEEP)));
    }

    /// Those of these logs that somebody watches.
    pub fn any(&self, logs: &[i64]) -> Vec<i64> {
        self.any_at(logs, Instant::now())
    }

    fn any_at(&self, logs: &[i64], now: Instant) -> Vec<i64> {
        let set = self.0.lock().expect("no panic while locked");
        if set.all_until.is_some_and(|until| until > now) {
            return logs.to_vec();
        }
        if set.until.is_empty() {
            return Vec::new();
        }
        logs.iter().copied().filter(|l| set.until.get(l).is_some_and(|until| *until > now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_watched_until_nobody_says_so_any_more() {
        let watched = Watched::default();
        let now = Instant::now();
        watched.note(&[3, 5], now);
        assert_eq!(watched.any_at(&[1, 3, 4, 5], now), [3, 5]);
        watched.note(&[5], now + KEEP / 2);
        assert_eq!(watched.any_at(&[1, 3, 5], now + KEEP), [5]);
        watched.note(&[], now + KEEP);
        assert_eq!(watched.any_at(&[1, 9], now + KEEP), [1, 9]);
    }
}
