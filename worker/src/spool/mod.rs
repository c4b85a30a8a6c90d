//! What a build has to say and no master has acknowledged.
//!
//! Guarantees: frames leave in the order in which they came; a batch keeps its
//! number and bytes until it is acknowledged, also over a restart of the
//! worker; every frame of a build older than [`YOUNG`] is in a file (the
//! kernel's cache, no sync) before it is sent. A younger build stays in memory,
//! and if it ends there all of it goes up as one batch; that batch goes to disk
//! as soon as a first try to deliver it failed.
//!
//! If the disk refuses to take a frame, frames are kept in memory up to
//! [`MEMORY_MAX`] and sent from there; beyond that the command waits.
//!
//! One task writes (the build), one reads (its sender).

mod budget;
mod journal;
mod store;

pub(crate) use budget::Budget;
pub(crate) use journal::Journal;

use bytes::{Bytes, BytesMut};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use store::{Found, Store};
use tidemill_model::wire::{self, Event, Frame};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A build that ends within this time goes up in one batch.
const YOUNG: Duration = Duration::from_millis(100);

/// Later batches wait so long for company.
const LINGER: Duration = Duration::from_millis(20);

/// So much is sent without waiting for company.
const FULL: u64 = 512 << 10;

/// Size of a batch, and of one where much is waiting.
const BATCH: u64 = 2 << 20;
const BATCH_LARGE: u64 = 4 << 20;

/// A young build with more than this goes to disk.
const YOUNG_MAX: usize = 256 << 10;

/// Most bytes in memory while the disk takes none.
const MEMORY_MAX: usize = 1 << 20;

pub(crate) struct Spool {
    dir: PathBuf,
    budget: Arc<Budget>,
    begun: Instant,
    state: Mutex<State>,
    ready: Notify,
}

struct State {
    /// Frames that come after those in `store`.
    memory: BytesMut,
    store: Option<Store>,
    young: bool,
    /// A batch in memory is on its way: nothing may go to disk behind it.
    memory_in_flight: bool,
    /// A batch of an earlier life that may have been sent.
    resend: Option<Batch>,
    next: u64,
    /// Bytes that no batch holds yet, and since when.
    unsent: u64,
    since: Instant,
    /// Bytes counted in the budget.
    counted: u64,
    finished: bool,
    complained: bool,
}

/// Frames under a number.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub number: u64,
    pub frames: Bytes,
    on_disk: bool,
}

impl Spool {
    /// Of a new build; `dir` is made when there is need.
    pub fn new(dir: PathBuf, budget: Arc<Budget>) -> Spool {
        Self::with(dir, budget, None)
    }

    /// Of an earlier life. The second value says whether the build had finished.
    pub fn open(dir: PathBuf, budget: Arc<Budget>) -> std::io::Result<(Spool, bool)> {
        let (store, found) = Store::open(&dir)?;
        let finished = found.last_frame.as_deref().is_some_and(is_finish);
        let spool = Self::with(dir, budget, Some((store, found)));
        spool.lock().finished = finished;
        Ok((spool, finished))
    }

    fn with(dir: PathBuf, budget: Arc<Budget>, old: Option<(Store, Found)>) -> Spool {
        let now = Instant::now();
        let mut state = State {
            memory: BytesMut::new(),
            store: None,
            young: old.is_none(),
            memory_in_flight: false,
            resend: None,
            next: 1,
            unsent: 0,
            since: now,
            counted: 0,
            finished: false,
            complained: false,
        };
        if let Some((store, found)) = old {
            budget.add(found.bytes);
            state.counted = found.bytes;
            state.unsent = found.bytes - found.in_flight.as_ref().map_or(0, |(_, b)| b.len() as u64);
            state.next = found.next;
            state.resend = found.in_flight.map(|(number, frames)| Batch { number, frames, on_disk: true });
            state.store = Some(store);
        }
        Spool { dir, budget, begun: now, state: Mutex::new(state), ready: Notify::new() }
    }

    pub fn event(&self, event: Event) {
        let last = matches!(event, Event::BuildFinished { .. });
        self.frame(&Frame::Event(event), last);
    }

    /// Takes log bytes. Callers look at [`Spool::has_room`] before they read more.
    pub fn chunk(&self, log: u32, chunk: tidemill_model::log::Chunk) {
        self.frame(&Frame::Log { log, chunk }, false);
    }

    fn frame(&self, frame: &Frame, last: bool) {
        let mut state = self.lock();
        let before = state.memory.len();
        wire::encode_frame(&mut state.memory, frame);
        let bytes = (state.memory.len() - before) as u64;
        self.budget.add(bytes);
        state.counted += bytes;
        if state.unsent == 0 {
            state.since = Instant::now();
        }
        let was = state.unsent;
        state.unsent += bytes;
        state.finished |= last;
        if state.young && state.memory.len() > YOUNG_MAX {
            state.young = false;
        }
        if !state.young {
            self.to_disk(&mut state);
        }
        if last || was == 0 || (was < FULL && state.unsent >= FULL) {
            self.ready.notify_one();
        }
    }

    /// Whether more output may be read.
    pub fn has_room(&self) -> bool {
        self.budget.has_room() && self.lock().memory.len() < MEMORY_MAX
    }

    /// Until there may be room again.
    pub async fn room(&self) {
        self.budget.freed().await;
    }

    /// Until a batch should be sent.
    pub async fn ready(&self) {
        loop {
            let due = {
                let state = self.lock();
                let linger = if state.next == 1 { self.begun + YOUNG } else { state.since + LINGER };
                match () {
                    _ if state.resend.is_some() => return,
                    _ if state.unsent == 0 => None,
                    _ if state.finished || state.unsent >= FULL || linger <= Instant::now() => return,
                    _ => Some(linger),
                }
            };
            match due {
                None => self.ready.notified().await,
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, self.ready.notified()).await;
                }
            }
        }
    }

    /// The next batch. At most one may be on its way.
    pub async fn take(&self) -> Option<Batch> {
        let (ahead, limit) = {
            let mut state = self.lock();
            if let Some(batch) = state.resend.take() {
                return Some(batch);
            }
            if !(state.young && state.finished) {
                state.young = false;
                self.to_disk(&mut state);
            }
            let limit = if state.unsent > BATCH_LARGE { BATCH_LARGE } else { BATCH };
            match state.store.as_mut().and_then(Store::ahead) {
                Some(ahead) => (ahead, limit),
                None => return self.take_memory(&mut state),
            }
        };
        let read = tokio::task::spawn_blocking(move || ahead.read(limit)).await;
        let frames = match read.map_err(std::io::Error::other).and_then(|r| r) {
            Ok(frames) => frames,
            Err(error) => {
                tracing::error!(%error, "cannot read the spool {}", self.dir.display());
                return None;
            }
        };
        let mut state = self.lock();
        let number = state.next;
        let store = state.store.as_mut().expect("the sender alone removes it");
        if let Err(error) = store.record(number, frames.len() as u64) {
            // A restart before the acknowledgement would be reported as lost by its lease.
            tracing::warn!(%error, "cannot record a batch in {}", self.dir.display());
        }
        state.took(frames.len());
        Some(Batch { number, frames, on_disk: true })
    }

    fn take_memory(&self, state: &mut State) -> Option<Batch> {
        if state.memory.is_empty() {
            return None;
        }
        let number = state.next;
        let frames = state.memory.split().freeze();
        state.took(frames.len());
        state.memory_in_flight = true;
        Some(Batch { number, frames, on_disk: false })
    }

    /// After a try to deliver failed: makes the batch survive this process.
    pub fn keep(&self, batch: &mut Batch) {
        if batch.on_disk {
            return;
        }
        let mut state = self.lock();
        state.young = false;
        let kept = self.store(&mut state).and_then(|store| {
            store.append(&batch.frames)?;
            // Whatever was before it is acknowledged and may go.
            store.ahead();
            store.record(batch.number, batch.frames.len() as u64)
        });
        match kept {
            Ok(()) => {
                batch.on_disk = true;
                state.memory_in_flight = false;
                self.to_disk(&mut state);
            }
            Err(error) => self.complain(&mut state, &error),
        }
    }

    /// The batch is stored by a master.
    pub fn acknowledged(&self, batch: &Batch) {
        let mut state = self.lock();
        let bytes = batch.frames.len() as u64;
        if batch.on_disk {
            if let Some(store) = &mut state.store {
                store.acknowledged(bytes);
            }
        } else {
            state.memory_in_flight = false;
        }
        state.counted -= bytes;
        self.budget.sub(bytes);
    }

    /// Whether the last event is in and everything was acknowledged.
    pub fn is_delivered(&self) -> bool {
        let state = self.lock();
        state.finished && state.unsent == 0 && state.counted == 0
    }

    /// Leaves everything to the next life.
    pub fn leave(&self) {
        let mut state = self.lock();
        state.young = false;
        self.to_disk(&mut state);
    }

    /// Deletes what is on disk; for builds that are over.
    pub fn remove(&self) {
        if self.lock().store.take().is_some() {
            remove_dir(&self.dir);
        }
    }

    fn to_disk(&self, state: &mut State) {
        if state.memory_in_flight || state.memory.is_empty() {
            return;
        }
        let memory = std::mem::take(&mut state.memory);
        let written = self.store(state).and_then(|store| store.append(&memory));
        state.memory = memory;
        match written {
            Ok(()) => {
                state.memory.clear();
                state.complained = false;
            }
            Err(error) => self.complain(state, &error),
        }
    }

    fn store<'a>(&self, state: &'a mut State) -> std::io::Result<&'a mut Store> {
        if state.store.is_none() {
            state.store = Some(Store::create(&self.dir)?);
        }
        Ok(state.store.as_mut().expect("made above"))
    }

    fn complain(&self, state: &mut State, error: &std::io::Error) {
        if !std::mem::replace(&mut state.complained, true) {
            tracing::error!(%error, "cannot write the spool {}; output waits for space", self.dir.display());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while holding the spool")
    }
}

impl State {
    fn took(&mut self, bytes: usize) {
        self.next += 1;
        self.unsent -= bytes as u64;
        self.since = Instant::now();
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let counted = self.lock().counted;
        self.budget.sub(counted);
    }
}

pub(crate) fn remove_dir(dir: &Path) {
    if let Err(error) = std::fs::remove_dir_all(dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "cannot delete the spool {}", dir.display());
    }
}

fn is_finish(payload: &[u8]) -> bool {
    matches!(serde_json::from_slice(payload), Ok(Event::BuildFinished { .. }))
}

#[cfg(test)]
mod tests;
