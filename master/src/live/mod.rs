//! The event stream and log tails for people who watch.
//!
//! Nothing is kept for a client but its place: it may come back on any replica
//! with the id of the last event it got. A replica reads the stream once for
//! all its clients, and only while there are any; wakes make that fast, and a
//! slow look underneath makes it sure.

mod events;
mod tail;
mod watched;

pub use events::{Feed, Told};
pub use tail::{Grown, Tail};
pub use watched::Watched;

use std::sync::Arc;
use tidemill_schema::Db;
use tidemill_schema::wake::Wakes;
use tidemill_service::Lifecycle;
use tokio::sync::Semaphore;

/// Most streams of one replica: each holds a socket and a little memory (A21).
const STREAMS_MAX: usize = 4096;

/// The live side of a replica.
pub struct Live {
    db: Db,
    life: Lifecycle,
    events: events::Reader,
    logs: tail::Logs,
    streams: Arc<Semaphore>,
}

impl Live {
    /// Starts the reader, which sleeps until somebody listens.
    pub fn start(db: Db, wakes: Wakes, life: Lifecycle) -> Arc<Live> {
        let live = Arc::new(Live {
            db,
            life: life.clone(),
            events: events::Reader::default(),
            logs: tail::Logs::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        });
        let (l, w) = (live.clone(), wakes.clone());
        life.spawn("live.events", async move { l.run_events(w).await });
        let l = live.clone();
        life.spawn("live.logs", async move { l.run_logs(wakes).await });
        live
    }

    /// Room for one more stream, kept as long as the value lives; none when
    /// there are too many.
    pub fn room(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.streams.clone().try_acquire_owned().ok()
    }
}
