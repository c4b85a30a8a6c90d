//! Locks that were given back: who may have them now is woken, here and in the
//! other replicas.
//!
//! Whoever waits for locks also looks by itself: the claim loop at all lanes that
//! hold anything, a waiting step every few seconds. So a wake that is lost, or a
//! replica that dies before it sends one, costs seconds and nothing else.

use crate::app::App;
use tidemill_schema::locks::locks_turns;
use tidemill_schema::run_tx;
use tidemill_schema::wake::Wake;

/// After the commit that gave something of these locks back.
pub async fn given_back(app: &App, mut locks: Vec<i64>) {
    if locks.is_empty() {
        return;
    }
    locks.sort_unstable();
    locks.dedup();
    match run_tx!(app.db, "locks.turns", |c| locks_turns(c, &locks).await) {
        Ok(turns) => {
            if !turns.lanes.is_empty() {
                app.wakes.send(Wake::Work(turns.lanes));
            }
            if !turns.builds.is_empty() {
                app.wakes.send(Wake::Locks(turns.builds));
            }
        }
        Err(error) => tracing::debug!(%error, "could not see whose turn it is at a lock"),
    }
}
