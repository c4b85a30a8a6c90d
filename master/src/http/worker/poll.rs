//! `POST /worker/v1/poll`: waits for work, and is the heartbeat of what runs.
//!
//! An idle poll costs no query: it waits in memory for the claim loop. One that
//! holds builds renews their leases first, together with all others that come
//! in the same moment, and hears at once of a lost lease or a wish to stop.

use super::Worker;
use crate::app::App;
use crate::http::ApiError;
use crate::loops::claim::Sessions;
use axum::Json;
use axum::extract::State;
use std::time::Duration;
use tidemill_model::SessionId;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{Poll, PollReply, Stop};
use tidemill_schema::claims::Waiting;
use tidemill_schema::wake::Wake;
use tokio::time::Instant;

/// Longest wait, whatever the worker asks for.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub async fn poll(State(app): State<App>, worker: Worker, Json(poll): Json<Poll>) -> Result<Json<PollReply>, ApiError> {
    let session = SessionId(poll.session);
    // Boxed, as all that rarely waits here: a poll that waits should cost little memory.
    Box::pin(session_check(&app, session, &worker)).await?;

    let deadline = Instant::now() + Duration::from_micros(poll.wait_us).min(WAIT_MAX);
    // Interest in stops begins before the look at the rows, so none is missed.
    let mut wakes = app.wakes.subscribe();
    if let Some(reply) = Box::pin(look(&app, &poll, session)).await? {
        return Ok(Json(reply));
    }

    let waiting = Waiting { session, poll: poll.poll, free: poll.free, newest: poll.newest };
    let mut answer = app.polls.wait(waiting, worker.name.clone());
    loop {
        tokio::select! {
            claims = &mut answer => {
                let claims = claims.unwrap_or_default();
                return Ok(Json(PollReply { claims, drain: false, ..PollReply::default() }));
            }
            _ = tokio::time::sleep_until(deadline) => break,
            _ = app.life.draining().cancelled() => break,
            wake = wakes.recv(), if !poll.held.is_empty() => {
                let concerns = match wake {
                    Ok(Wake::Stop(builds)) => builds.is_empty() || poll.held.iter().any(|h| builds.contains(&h.build)),
                    Ok(Wake::All) | Err(_) => true,
                    Ok(_) => false,
                };
                if concerns && let Some(reply) = Box::pin(look(&app, &poll, session)).await? {
                    return Ok(Json(reply));
                }
            }
        }
    }
    Ok(Json(PollReply::default()))
}

/// Renews what the worker holds. An answer if there is something to say at once.
async fn look(app: &App, poll: &Poll, session: SessionId) -> Result<Option<PollReply>, ApiError> {
    if poll.held.is_empty() {
        return Ok(None);
    }
    let renewed = app.polls.renew(poll.held.clone()).await.map_err(|_| ApiError::unavailable())?;
    let lost: Vec<i64> = poll.held.iter().map(|h| h.build).filter(|b| !renewed.alive.contains(b)).collect();
    // A stop is said until its answer arrived: the worker goes on polling while the command ends.
    let stop: Vec<Stop> = poll.held.iter().filter_map(|h| renewed.stop.get(&h.build).cloned()).collect();
    let news: Vec<Stop> =
        stop.into_iter().filter(|s| app.polls.sessions().stop_is_news(session, poll.poll, s)).collect();
    if lost.is_empty() && news.is_empty() {
        return Ok(None);
    }
    Ok(Some(PollReply { lost, stop: news, ..PollReply::default() }))
}

/// Whether the session is open and this worker's: from memory, or from the row
/// the first time that this replica meets it.
async fn session_check(app: &App, id: SessionId, worker: &Worker) -> Result<(), ApiError> {
    let sessions: &Sessions = app.polls.sessions();
    if sessions.is_open(id, worker.id) {
        return Ok(());
    }
    let mut c = app.db.pool().acquire().await?;
    let unknown = || ApiError::conflict(kinds::SESSION_UNKNOWN, "this session is not known here: say hello again");
    let session = tidemill_schema::sessions::session_get(&mut c, id).await?.ok_or_else(unknown)?;
    if session.worker != worker.id {
        return Err(unknown());
    }
    if !session.open {
        let newer = tidemill_schema::sessions::newer_session_exists(&mut c, id).await?;
        return Err(if newer {
            ApiError::conflict(kinds::SESSION_SUPERSEDED, "another process of this worker has taken over: stop")
        } else {
            unknown()
        });
    }
    sessions.opened(id, worker.id);
    Ok(())
}
