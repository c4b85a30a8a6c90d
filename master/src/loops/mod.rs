//! What a replica does without being asked.
//!
//! Each loop is a reconciler: it looks at the whole state and acts, at a wake
//! or after its period. All replicas run all loops; rows taken with SKIP LOCKED
//! or under a lease keep them out of each other's way, and two running the
//! same one at once is correct.

pub mod asked;
pub mod batcher;
pub mod beat;
pub mod cancel;
pub mod choose;
pub mod claim;
pub mod facts;
pub mod housekeeping;
pub mod ingest;
pub mod lanes;
pub mod let_go;
pub mod locks;
pub mod poll_sources;
pub mod reap;
pub mod schedule;
pub mod tests;

use crate::app::App;
use std::sync::Arc;
use tidemill_schema::wake::Wake;
use tokio::sync::Notify;

pub fn start(app: &App) {
    crate::projects::start(app);
    beat::start(app);
    claim::start(app);
    ingest::start(app);
    schedule::start(app);
    cancel::start(app);
    asked::start(app);
    poll_sources::start(app);
    reap::start(app);
    let_go::start(app);
    housekeeping::start(app);
    facts::start(app);
    tests::start(app);
}

/// Turns wakes that `concerns` picks into a loop's own wake. A receiver that
/// lagged has missed some, which concerns everybody.
pub(crate) fn forward(app: &App, wake: Arc<Notify>, concerns: impl Fn(&Wake) -> bool + Send + 'static) {
    app.wakes.forward(&app.life, wake, concerns);
}
