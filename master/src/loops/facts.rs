//! Facts for reporting, behind the event stream (`schema::facts`).
//!
//! One replica at a time reads it, at most once a second while things happen, so that a
//! busy cluster writes its sums in large pages; nothing waits for it. A replica that is
//! killed leaves what it committed; the next goes on there.

use crate::app::App;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_schema::Error;
use tidemill_schema::facts::{self, backfill::Sweep};
use tidemill_schema::wake::Wake;
use tidemill_service::reconcile::{self, Next};
use tokio::sync::{Mutex, Notify};

/// The look underneath the wakes.
const PERIOD: Duration = Duration::from_secs(10);
/// Least time between two looks that found the end of the stream.
const PACE: Duration = Duration::from_secs(1);
/// After events that wait above the horizon.
const BEHIND: Duration = Duration::from_millis(100);

/// What is kept from look to look.
#[derive(Default)]
struct Memory {
    sweep: Sweep,
    looked: Option<Instant>,
}

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Events | Wake::All));
    let this = app.clone();
    let memory = Arc::new(Mutex::new(Memory::default()));
    reconcile::spawn(&app.life, "facts", PERIOD, wake, move || {
        let (app, memory) = (this.clone(), memory.clone());
        async move {
            let mut memory = memory.lock().await;
            if let Some(left) = memory.looked.and_then(|at| PACE.checked_sub(at.elapsed())) {
                return Ok(Next::After(left.max(Duration::from_millis(1))));
            }
            let pass = facts::follow(&app.db, &mut memory.sweep).await?;
            if pass.full {
                return Ok(Next::Again);
            }
            if pass.behind {
                return Ok(Next::After(BEHIND));
            }
            memory.looked = Some(Instant::now());
            Ok::<_, Error>(Next::Idle)
        }
    });
}
