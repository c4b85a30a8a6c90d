//! `changes.PollingChangeSource`: a function of the project asks for what is
//! new (C-30 to C-33).
//!
//! Its state is the source's cursor. It runs on a thread of its own, under the
//! language's limits, for at most [`LONGEST`]; what it reaches outside is
//! bounded by [`super::http`] and [`command`].

mod command;

use super::http;
use crate::app::App;
use crate::policies::Host;
use std::sync::Arc;
use std::time::Duration;
use tidemill_lang::policies::{
    HttpReply, HttpRequest, PolicyHost, PollCommand, PollCommandEnd, PollHost, PollInput, PollOutput, Query,
};
use tidemill_lang::{EvalError, Project};
use tokio_util::sync::CancellationToken;

/// Longest wait of one poll for what is outside; the language's own bound, 9
/// minutes, is above it, and the lease of the source above that.
pub const LONGEST: Duration = Duration::from_secs(500);

/// Why a poll gave nothing.
pub enum Broken {
    /// The function failed, with its traceback.
    Failed(EvalError),
    /// This replica is to end: another polls.
    Draining,
}

/// Calls the function of a source. `state` is none the first time.
pub async fn poll(
    app: &App,
    project: Arc<Project>,
    source: String,
    state: Option<serde_json::Value>,
    now_us: i64,
) -> Result<PollOutput, Broken> {
    let drain = app.life.draining().clone();
    let world = World {
        host: Host::new(app, LONGEST),
        http: http::Http::new(app.settings.poll_local_addresses),
        drain: drain.clone(),
    };
    let input = PollInput { now_us, state: state.unwrap_or_default() };
    let asked = tokio::task::spawn_blocking(move || project.policies().poll(&source, input, &world)).await;
    match asked {
        Ok(Ok(output)) => Ok(output),
        Ok(Err(_)) | Err(_) if drain.is_cancelled() => Err(Broken::Draining),
        Ok(Err(error)) => Err(Broken::Failed(error)),
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

/// What the function may reach.
struct World {
    host: Host,
    http: http::Http,
    drain: CancellationToken,
}

impl World {
    /// Waits for what is outside, within the time of the call and of the poll,
    /// and no longer than this replica lives.
    fn wait<T>(
        &self,
        timeout_us: u64,
        longest: Duration,
        work: impl AsyncFnOnce(Duration) -> Result<T, String>,
    ) -> Result<T, String> {
        let left = self.host.left();
        if left.is_zero() {
            return Err(format!("the poll has taken more than {} s", LONGEST.as_secs()));
        }
        let within = Duration::from_micros(timeout_us).min(longest).min(left);
        self.host.runtime().block_on(async {
            tokio::select! {
                done = work(within) => done,
                () = self.drain.cancelled() => Err("the master is about to end".into()),
            }
        })
    }
}

impl PolicyHost for World {
    fn query(&self, query: &Query) -> Result<Vec<serde_json::Value>, String> {
        self.host.query(query)
    }
}

impl PollHost for World {
    fn http(&self, request: &HttpRequest) -> Result<HttpReply, String> {
        self.wait(request.timeout_us, http::LONGEST, async |within| self.http.ask(request, within).await)
    }

    fn command(&self, command: &PollCommand) -> Result<PollCommandEnd, String> {
        self.wait(command.timeout_us, command::LONGEST, async |within| command::run(command, within).await)
    }
}
