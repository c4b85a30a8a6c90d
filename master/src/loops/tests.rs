//! Results of tests: sets that workers reported as a whole become rows (`schema::test_parts`).
//!
//! Apart from the group commit, which is not to wait for it: a set may have a hundred
//! thousand results. One replica at a time does it; one that is killed has stored a set or
//! not, and the next goes on.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::Error;
use tidemill_schema::test_parts::test_parts_store;
use tidemill_schema::wake::Wake;
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// The look underneath the wakes.
const PERIOD: Duration = Duration::from_secs(10);
/// While another replica does it.
const BUSY: Duration = Duration::from_millis(200);

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Tests | Wake::All));
    let this = app.clone();
    reconcile::spawn(&app.life, "tests", PERIOD, wake, move || {
        let app = this.clone();
        async move {
            let pass = test_parts_store(&app.db).await?;
            if pass.sets > 0 {
                app.wakes.send(Wake::Events);
            }
            Ok::<_, Error>(match pass {
                pass if pass.full => Next::Again,
                pass if pass.busy => Next::After(BUSY),
                _ => Next::Idle,
            })
        }
    });
}
