//! Wake-ups: NOTIFY as a hint that says «look again», and nothing else.
//!
//! A transaction with a pending NOTIFY serializes commits over the whole
//! instance, so none of ours has one: after a commit the writer calls
//! [`Wakes::send`], which wakes this replica's own loops at once and leaves the
//! others to a flusher with a connection of its own, at once while it is quiet
//! and at most twenty times a second under load. The listener has one direct connection; a reconnect counts as a
//! wake of everything, and a probe every 30 s finds a pooler that swallows
//! LISTEN. Whoever waits for a wake also looks by itself now and then.

use crate::{Db, Error, Result};
use sqlx::postgres::PgListener;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_service::pace::Pace;
use tidemill_service::{Backoff, Lifecycle};
use tokio::sync::{Notify, broadcast};

/// The one channel; the payload says what, in at most [`PAYLOAD_MAX`] bytes.
const CHANNEL: &str = "tidemill";
/// Postgres refuses 8000 bytes; a longer list of ids becomes «any».
const PAYLOAD_MAX: usize = 4000;
/// Time between two flushes under load, and so many at once before it counts: what follows one
/// event (a build's steps, its end, its notices) is told without a wait.
const FLUSH: Duration = Duration::from_millis(50);
const FLUSH_BURST: u32 = 16;
const PROBE: Duration = Duration::from_secs(30);
/// How long a first notification may take, and how often one is sent.
const FIRST: Duration = Duration::from_secs(4);
const FIRST_TRIES: u32 = 3;

/// Whether this address carries LISTEN, asked before anything else is: a pooler in transaction mode
/// takes it and delivers nothing, and loses prepared statements besides. Simple statements only.
pub async fn probe(db: &Db) -> Result<()> {
    let channel = format!("tidemill_{}", tidemill_service::token::random_hex(8));
    let pool = listener_pool(db).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(&channel).await?;
    // A listener as well: behind such a pooler it is the one who may get what it sends.
    let other = listener_pool(db).await?;
    let mut sender = PgListener::connect_with(&other).await?;
    for _ in 0..FIRST_TRIES {
        let notify = sqlx::AssertSqlSafe(format!("notify \"{channel}\""));
        sqlx::raw_sql(notify).execute(&mut sender).await?;
        // None of a connection that was lost meanwhile: the next try asks the new one.
        if let Ok(heard) = tokio::time::timeout(FIRST, listener.try_recv()).await
            && heard?.is_some()
        {
            return Ok(());
        }
    }
    Err(Error::Schema(
        "database.url leads through a pooler in transaction mode, which delivers no notifications (LISTEN): give the \
         address of Postgres itself, or of a pooler in session mode (PgBouncer: pool_mode = session)"
            .into(),
    ))
}

async fn listener_pool(db: &Db) -> Result<sqlx::PgPool> {
    let options = sqlx::postgres::PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(5));
    Ok(options.connect_with(db.options().clone()).await?)
}

/// What there may be to look at. An empty list of ids means any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// Everything: the listener was away.
    All,
    /// Lanes got work.
    Work(Vec<i64>),
    /// Changes came in.
    Changes,
    /// The event stream grew.
    Events,
    /// Somebody wants these builds stopped.
    Stop(Vec<i64>),
    /// These logs grew, and somebody watches them.
    Logs(Vec<i64>),
    /// Somebody watches these logs for the next seconds.
    Watch(Vec<i64>),
    /// Steps of these builds may get their locks now.
    Locks(Vec<i64>),
    /// Another revision, or the set of builders and workers changed.
    Config,
    /// Change sources are to poll now.
    Poll,
    /// There are notices to send.
    Notices,
    /// Somebody asked a notifier for something, or was answered.
    Control,
    /// A set of test results is whole.
    Tests,
}

#[derive(Default)]
struct Dirty {
    work: Option<BTreeSet<i64>>,
    changes: bool,
    events: bool,
    stop: BTreeSet<i64>,
    logs: BTreeSet<i64>,
    watch: BTreeSet<i64>,
    locks: BTreeSet<i64>,
    config: bool,
    poll: bool,
    notices: bool,
    control: bool,
    tests: bool,
}

/// The wakes of one replica.
#[derive(Clone)]
pub struct Wakes {
    local: broadcast::Sender<Wake>,
    dirty: Arc<Mutex<Dirty>>,
    flush: Arc<Notify>,
    /// Tells our own notifications apart, which were already heard locally.
    origin: Arc<str>,
    healthy: Arc<AtomicBool>,
}

impl Default for Wakes {
    fn default() -> Self {
        Wakes {
            local: broadcast::channel(1024).0,
            dirty: Arc::default(),
            flush: Arc::default(),
            origin: tidemill_service::token::random_hex(4).into(),
            healthy: Arc::new(AtomicBool::new(false)),
        }
    }
}

impl Wakes {
    /// Hears what happens from now on. A receiver that lags has missed some:
    /// it is to look at everything.
    pub fn subscribe(&self) -> broadcast::Receiver<Wake> {
        self.local.subscribe()
    }

    /// Tells `wake` of each wake that concerns it, until the drain begins.
    pub fn forward(&self, life: &Lifecycle, wake: Arc<Notify>, concerns: impl Fn(&Wake) -> bool + Send + 'static) {
        let mut wakes = self.subscribe();
        let drain = life.draining().clone();
        life.spawn("wake.forward", async move {
            loop {
                let heard = tokio::select! {
                    w = wakes.recv() => w,
                    _ = drain.cancelled() => return,
                };
                match heard {
                    Ok(w) if !concerns(&w) => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => wake.notify_one(),
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
    }

    /// Says after a commit that there may be something to look at.
    pub fn send(&self, wake: Wake) {
        {
            let mut dirty = self.dirty.lock().expect("no panic while locked");
            match &wake {
                Wake::All => return,
                Wake::Work(lanes) => dirty.work.get_or_insert_default().extend(lanes),
                Wake::Changes => dirty.changes = true,
                Wake::Events => dirty.events = true,
                Wake::Stop(ids) => dirty.stop.extend(ids),
                Wake::Logs(ids) => dirty.logs.extend(ids),
                Wake::Watch(ids) => dirty.watch.extend(ids),
                Wake::Locks(ids) => dirty.locks.extend(ids),
                Wake::Config => dirty.config = true,
                Wake::Poll => dirty.poll = true,
                Wake::Notices => dirty.notices = true,
                Wake::Control => dirty.control = true,
                Wake::Tests => dirty.tests = true,
            }
        }
        // Nobody listening is no error.
        let _ = self.local.send(wake);
        self.flush.notify_one();
    }

    /// Whether the last probe came back.
    pub fn healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Starts flusher and listener.
    pub fn start(&self, db: &Db, life: &Lifecycle) {
        let (this, d, l) = (self.clone(), db.clone(), life.clone());
        life.spawn("wake.flush", async move { this.run_flusher(d, l).await });
        let (this, d, l) = (self.clone(), db.clone(), life.clone());
        life.spawn("wake.listen", async move { this.run_listener(d, l).await });
    }

    async fn run_flusher(self, db: Db, life: Lifecycle) {
        let mut pace = Pace::new(FLUSH, FLUSH_BURST);
        loop {
            tokio::select! {
                _ = self.flush.notified() => {}
                _ = life.draining().cancelled() => return,
            }
            tokio::time::sleep_until(pace.turn()).await;
            let payloads =
                std::mem::take(&mut *self.dirty.lock().expect("no panic while locked")).payloads(&self.origin);
            if payloads.is_empty() {
                continue;
            }
            let sent = sqlx::query!("select pg_notify($1, p) from unnest($2::text[]) p", CHANNEL, &payloads)
                .execute(db.pool())
                .await;
            if let Err(error) = sent {
                // Only hints are lost; the others poll.
                tracing::debug!(%error, "could not notify");
            }
        }
    }

    async fn run_listener(self, db: Db, life: Lifecycle) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let result = tokio::select! {
                r = self.listen(&db) => r,
                _ = life.draining().cancelled() => return,
            };
            self.healthy.store(false, Ordering::Relaxed);
            if let Err(error) = result {
                tracing::debug!(%error, "listener lost its connection");
            }
            let _ = self.local.send(Wake::All);
            tokio::select! {
                _ = tokio::time::sleep(backoff.wait()) => {}
                _ = life.draining().cancelled() => return,
            }
        }
    }

    async fn listen(&self, db: &Db) -> Result<()> {
        let pool = listener_pool(db).await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        let _ = self.local.send(Wake::All);
        let probe = format!("p{}", self.origin);
        let mut probe_sent = None;
        let mut next_probe = tokio::time::Instant::now();
        loop {
            let received = tokio::select! {
                r = listener.try_recv() => Some(r?),
                _ = tokio::time::sleep_until(next_probe) => None,
            };
            match received {
                // The connection was lost and made anew: anything may have been missed.
                Some(None) => {
                    let _ = self.local.send(Wake::All);
                }
                Some(Some(n)) if n.payload() == probe => {
                    probe_sent = None;
                    self.healthy.store(true, Ordering::Relaxed);
                    next_probe = tokio::time::Instant::now() + PROBE;
                }
                Some(Some(n)) => {
                    if let Some(wake) = parse(n.payload(), &self.origin) {
                        let _ = self.local.send(wake);
                    }
                }
                None if probe_sent.is_some() => {
                    probe_sent = None;
                    self.healthy.store(false, Ordering::Relaxed);
                    tracing::warn!(
                        "LISTEN delivers nothing: is there a transaction pooler before Postgres? Work is found by polling, later"
                    );
                    next_probe = tokio::time::Instant::now() + PROBE;
                }
                None => {
                    sqlx::query!("select pg_notify($1, $2)", CHANNEL, probe).execute(db.pool()).await?;
                    probe_sent = Some(());
                    next_probe = tokio::time::Instant::now() + Duration::from_secs(5);
                }
            }
        }
    }
}

impl Dirty {
    /// One payload a kind: `letter origin ids`.
    fn payloads(self, origin: &str) -> Vec<String> {
        let ids = |letter: char, ids: &BTreeSet<i64>| {
            let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
            let list = if list.len() > PAYLOAD_MAX { String::new() } else { list };
            format!("{letter} {origin} {list}")
        };
        let mut out = Vec::new();
        if let Some(lanes) = &self.work {
            out.push(ids('w', lanes));
        }
        for (letter, set) in [('s', &self.stop), ('l', &self.logs), ('h', &self.watch), ('k', &self.locks)] {
            if !set.is_empty() {
                out.push(ids(letter, set));
            }
        }
        let flags = [
            ('c', self.changes),
            ('e', self.events),
            ('f', self.config),
            ('o', self.poll),
            ('n', self.notices),
            ('r', self.control),
            ('t', self.tests),
        ];
        for (letter, flag) in flags {
            if flag {
                out.push(format!("{letter} {origin} "));
            }
        }
        out
    }
}

fn parse(payload: &str, own: &str) -> Option<Wake> {
    let mut parts = payload.split(' ');
    let (letter, origin, ids) = (parts.next()?, parts.next()?, parts.next()?);
    if origin == own {
        return None;
    }
    let ids = || ids.split(',').filter_map(|i| i.parse().ok()).collect();
    Some(match letter {
        "w" => Wake::Work(ids()),
        "s" => Wake::Stop(ids()),
        "l" => Wake::Logs(ids()),
        "h" => Wake::Watch(ids()),
        "k" => Wake::Locks(ids()),
        "c" => Wake::Changes,
        "e" => Wake::Events,
        "f" => Wake::Config,
        "o" => Wake::Poll,
        "n" => Wake::Notices,
        "r" => Wake::Control,
        "t" => Wake::Tests,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_comes_out_as_it_went_in_and_our_own_is_ignored() {
        let dirty = Dirty { work: Some(BTreeSet::from([3, 7])), events: true, ..Dirty::default() };
        let payloads = dirty.payloads("aa");
        let heard: Vec<_> = payloads.iter().filter_map(|p| parse(p, "bb")).collect();
        assert_eq!(heard, [Wake::Work(vec![3, 7]), Wake::Events]);
        assert!(payloads.iter().all(|p| parse(p, "aa").is_none()));
    }

    #[test]
    fn too_many_ids_become_any() {
        let dirty = Dirty { work: Some((0..100_000).collect()), ..Dirty::default() };
        let payloads = dirty.payloads("aa");
        assert!(payloads[0].len() < 8000);
        assert_eq!(parse(&payloads[0], "bb"), Some(Wake::Work(vec![])));
    }
}
