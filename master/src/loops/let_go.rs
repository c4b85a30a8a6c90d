//! Cancels builds for which nobody waits any more: the children of a build that
//! was stopped, was lost, or is over. All from rows, so it does not matter
//! whether the worker of that build, or any replica, lived to say so.

use crate::app::App;
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::triggers::{LetGo, children_let_go, triggers_forsaken};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Error, run_tx};
use tidemill_service::reconcile::{self, Next};
use tokio::sync::Notify;

/// Triggers of one pass.
const BATCH: i64 = 200;
/// Without a wake: a build that was lost waited for a whole lease already.
const PERIOD: Duration = Duration::from_secs(1);

pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    super::forward(app, wake.clone(), |w| matches!(w, Wake::Stop(_) | Wake::All));
    let this = app.clone();
    reconcile::spawn(&app.life, "let-go", PERIOD, wake, move || {
        let app = this.clone();
        async move { pass(&app).await }
    });
}

async fn pass(app: &App) -> Result<Next, Error> {
    let forsaken = {
        let mut c = app.db.pool().acquire().await?;
        triggers_forsaken(&mut c, BATCH).await?
    };
    let mut again = forsaken.len() as i64 == BATCH;
    for one in &forsaken {
        let LetGo { requests, builds, more } =
            match run_tx!(app.db, "trigger.let-go", |c| children_let_go(c, one).await) {
                Ok(done) => done,
                Err(error) if error.is_unavailable() => return Err(error),
                // It stays as it is and is looked at again; the others do not wait for it.
                Err(error) => {
                    tracing::error!(trigger = one.trigger, %error, "what nobody waits for cannot be cancelled");
                    continue;
                }
            };
        again |= more;
        if !requests.is_empty() || !builds.is_empty() {
            tracing::info!(requests = requests.len(), builds = builds.len(), why = %one.why, "cancelled what nobody waits for");
            if !builds.is_empty() {
                app.wakes.send(Wake::Stop(builds.into_iter().map(|b| b.0).collect()));
            }
            app.wakes.send(Wake::Events);
        }
    }
    // Who claims what is cancelled needs a moment.
    Ok(if again { Next::After(Duration::from_millis(20)) } else { Next::Idle })
}
