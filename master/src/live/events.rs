//! One reader of the event stream for all clients of a replica.
//!
//! A client never misses an event between what it reads by itself and what it
//! is told: it is subscribed before it reads, the reader's start is settled
//! before it reads, and both go by the same cursor order, so what comes twice
//! is seen by its place. A client that cannot keep up gets [`Told::Reset`] and
//! goes on with what is new.

use super::Live;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidemill_schema::changes::Cursor;
use tidemill_schema::events::{Event, events_after, events_end, events_start};
use tidemill_schema::wake::{Wake, Wakes};
use tidemill_schema::{Error, Result};
use tidemill_service::Backoff;
use tokio::sync::{Notify, broadcast, watch};

/// Events kept for a client that is slow to take them.
const BUFFER: usize = 4096;
/// Events read with one statement.
const PAGE: i64 = 500;
/// The look underneath the wakes.
const POLL: Duration = Duration::from_secs(2);
/// While committed events wait above the horizon: first and longest wait.
const HELD_BACK: (u64, u64) = (2, 100);

pub(super) struct Reader {
    feed: broadcast::Sender<Item>,
    clients: AtomicUsize,
    /// A first client came.
    wanted: Notify,
    /// Where the reader is; none while nobody listens.
    at: watch::Sender<Option<Cursor>>,
}

#[derive(Clone, Debug)]
enum Item {
    Event(Arc<Event>),
    /// The stream began anew: the database moved to another cluster.
    Reset(Cursor),
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            feed: broadcast::channel(BUFFER).0,
            clients: AtomicUsize::new(0),
            wanted: Notify::new(),
            at: watch::channel(None).0,
        }
    }
}

/// What a client is told.
#[derive(Clone, Debug)]
pub enum Told {
    Event(Arc<Event>),
    /// Something was missed: read the state again, go on from here.
    Reset(Cursor),
}

/// One client's place in the stream.
pub struct Feed {
    live: Arc<Live>,
    receiver: broadcast::Receiver<Item>,
    /// Of the last event given, or where it began.
    last: Cursor,
    /// Read by itself, until it has caught up with the reader.
    backlog: std::collections::VecDeque<Event>,
    caught_up: bool,
    reset_first: bool,
    _client: Client,
}

/// Counts a client of the reader as long as it lives.
struct Client(Arc<Live>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.events.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Live {
    /// Listens from after `from`, or from now on. Waits for the database; an
    /// error says that it does not come.
    pub async fn listen(self: &Arc<Self>, from: Option<Cursor>) -> Result<Feed> {
        let receiver = self.events.feed.subscribe();
        self.events.clients.fetch_add(1, Ordering::AcqRel);
        let client = Client(self.clone());
        self.events.wanted.notify_one();
        // The reader's start must be settled before this client reads by itself.
        let mut at = self.events.at.subscribe();
        let started =
            tokio::time::timeout(Duration::from_secs(5), async { at.wait_for(Option::is_some).await.is_ok() });
        if started.await != Ok(true) {
            return Err(Error::Unavailable(sqlx::Error::PoolTimedOut));
        }
        let mut c = self.db.pool().acquire().await.map_err(Error::from)?;
        let end = events_end(&mut c).await?;
        let (last, reset_first) = match from {
            None => (end, false),
            Some(from) if kept(events_start(&mut c).await?, from, end) => (from, false),
            Some(_) => (end, true),
        };
        Ok(Feed {
            live: self.clone(),
            receiver,
            last,
            backlog: Default::default(),
            caught_up: false,
            reset_first,
            _client: client,
        })
    }

    pub(super) async fn run_events(self: Arc<Self>, wakes: Wakes) {
        let draining = self.life.draining().clone();
        loop {
            tokio::select! {
                _ = self.events.wanted.notified() => {}
                _ = draining.cancelled() => return,
            }
            if self.events.clients.load(Ordering::Acquire) == 0 {
                continue;
            }
            tokio::select! {
                _ = self.read_for_clients(&wakes) => {}
                _ = draining.cancelled() => return,
            }
        }
    }

    /// Reads until nobody listens any more.
    async fn read_for_clients(&self, wakes: &Wakes) {
        let mut heard = wakes.subscribe();
        let mut at: Option<Cursor> = None;
        let mut failures = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut held = HELD_BACK.0;
        loop {
            match self.read_some(&mut at).await {
                Ok(true) => {
                    failures.reset();
                    tokio::time::sleep(Duration::from_millis(held)).await;
                    held = (held * 2).min(HELD_BACK.1);
                    continue;
                }
                Ok(false) => {
                    failures.reset();
                    held = HELD_BACK.0;
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot read events");
                    tokio::time::sleep(failures.wait()).await;
                    // After an outage the database may be another one.
                    at = self.still_there(at).await;
                    continue;
                }
            }
            if self.events.clients.load(Ordering::Acquire) == 0 {
                // Told first, so that a client that comes now waits for a new start.
                self.events.at.send_replace(None);
                if self.events.clients.load(Ordering::Acquire) == 0 {
                    return;
                }
            }
            self.events.at.send_replace(at);
            wait_for_events(&mut heard).await;
        }
    }

    /// Reads and tells all there is. True if more waits above the horizon.
    async fn read_some(&self, at: &mut Option<Cursor>) -> Result<bool> {
        let mut c = self.db.pool().acquire().await.map_err(Error::from)?;
        let mut from = match *at {
            Some(from) => from,
            None => events_end(&mut c).await?,
        };
        if at.is_none() {
            *at = Some(from);
            self.events.at.send_replace(*at);
        }
        loop {
            let page = events_after(&mut c, from, PAGE).await?;
            let more = page.events.len() as i64 == PAGE;
            if page.events.is_empty() {
                // Without an error too the database may be another one, or this one of an earlier time.
                let end = events_end(&mut c).await?;
                if end.xid < from.xid {
                    tracing::warn!("the event stream ends before what was read of it: the database was restored");
                    let _ = self.events.feed.send(Item::Reset(end));
                    from = end;
                }
            }
            for event in page.events {
                from = event.at_cursor;
                // Nobody listening is no error.
                let _ = self.events.feed.send(Item::Event(Arc::new(event)));
            }
            *at = Some(from);
            self.events.at.send_replace(*at);
            if !more {
                return Ok(page.more_above_horizon);
            }
            // Readers of this replica must have a chance to take what was told.
            tokio::task::yield_now().await;
        }
    }

    /// After an error: the cursor, unless it lies beyond the end of the stream,
    /// as it does in a database restored elsewhere.
    async fn still_there(&self, at: Option<Cursor>) -> Option<Cursor> {
        let from = at?;
        let Ok(mut c) = self.db.pool().acquire().await else { return at };
        match events_end(&mut c).await {
            Ok(end) if end < from && end.xid < from.xid => {
                let _ = self.events.feed.send(Item::Reset(end));
                Some(end)
            }
            _ => at,
        }
    }
}

/// Whether nothing after `from` was removed. With doubt it was: a reset costs
/// one reading of the state.
fn kept(start: Option<Cursor>, from: Cursor, end: Cursor) -> bool {
    from.xid <= end.xid && (from >= end || start.is_some_and(|start| start <= from))
}

async fn wait_for_events(heard: &mut broadcast::Receiver<Wake>) {
    let look = tokio::time::sleep(POLL);
    tokio::pin!(look);
    loop {
        tokio::select! {
            wake = heard.recv() => match wake {
                Ok(Wake::Events | Wake::All) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Closed) => {
                    look.await;
                    return;
                }
            },
            _ = &mut look => return,
        }
    }
}

impl Feed {
    /// Where this client is: what it is to come back with.
    pub fn at(&self) -> Cursor {
        self.last
    }

    /// The next thing to tell. None when the replica drains: the client is to
    /// come back, and finds another. An error when the database is away while
    /// the client still catches up.
    pub async fn next(&mut self) -> Option<Result<Told>> {
        if std::mem::take(&mut self.reset_first) {
            return Some(Ok(Told::Reset(self.last)));
        }
        let draining = self.live.life.draining().clone();
        tokio::select! {
            biased;
            _ = draining.cancelled() => None,
            told = self.take() => Some(told),
        }
    }

    async fn take(&mut self) -> Result<Told> {
        loop {
            if let Some(event) = self.backlog.pop_front() {
                self.last = event.at_cursor;
                return Ok(Told::Event(Arc::new(event)));
            }
            if !self.caught_up {
                let mut c = self.live.db.pool().acquire().await.map_err(Error::from)?;
                let page = events_after(&mut c, self.last, PAGE).await?;
                // What is above the horizon now will be told by the reader.
                self.caught_up = (page.events.len() as i64) < PAGE;
                self.backlog.extend(page.events);
                continue;
            }
            match self.receiver.recv().await {
                Ok(Item::Event(event)) if event.at_cursor <= self.last => {}
                Ok(Item::Event(event)) => {
                    self.last = event.at_cursor;
                    return Ok(Told::Event(event));
                }
                Ok(Item::Reset(at)) => {
                    self.last = at;
                    return Ok(Told::Reset(at));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.receiver = self.receiver.resubscribe();
                    if let Some(at) = *self.live.events.at.borrow() {
                        self.last = self.last.max(at);
                    }
                    return Ok(Told::Reset(self.last));
                }
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_older_than_what_is_kept_is_a_reset() {
        let at = |xid, id| Cursor { xid, id };
        assert!(kept(Some(at(5, 1)), at(5, 1), at(9, 0)));
        assert!(kept(Some(at(5, 1)), at(9, 0), at(9, 0)));
        assert!(kept(None, at(9, 0), at(9, 0)));
        assert!(!kept(Some(at(5, 1)), at(4, 7), at(9, 0)));
        assert!(!kept(None, at(4, 7), at(9, 0)));
        // Of another cluster, whose transactions went further.
        assert!(!kept(Some(at(5, 1)), at(20, 1), at(9, 0)));
    }
}
