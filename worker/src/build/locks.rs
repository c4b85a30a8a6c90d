//! Locks of a step: asked for before it runs, all or none, as long as it takes.
//!
//! Any master may be asked, and asked again: the step's place in the line is a
//! row. While no master answers the step goes on waiting; a stop ends the wait
//! at once. What it got is given back by the event of its end.

use super::text;
use crate::client::CallError;
use crate::order::{self, Order};
use crate::shared::Shared;
use std::time::Duration;
use tidemill_model::LockAccess;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{LocksAsk, LocksReply};
use tidemill_service::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a master may wait before it says that they are not to be had yet.
const WAIT: Duration = Duration::from_secs(25);
/// An answer that comes faster is not asked for again at once.
const TOO_FAST: Duration = Duration::from_millis(200);

/// How the wait ended.
#[derive(Debug, PartialEq)]
pub(super) enum Got {
    Locks,
    /// Somebody wants the build stopped.
    Stopped,
    /// Nothing of the build counts any more.
    Over,
    /// They can never be had.
    Refused(String),
}

pub(super) struct Ask<'a> {
    pub shared: &'a Shared,
    pub build: i64,
    pub token: &'a str,
    pub step: u32,
    pub locks: &'a [LockAccess],
    /// It runs although the build is to stop: only the end of everything ends the wait.
    pub always: bool,
}

impl Ask<'_> {
    /// Waits for the locks; `says` hears what for, each time that it changes.
    pub async fn wait(&self, orders: &mut watch::Receiver<Order>, mut says: impl FnMut(&str)) -> Got {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut pace = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let mut said = String::new();
        // The first answer is quick, to have something to show.
        let mut wait = Duration::ZERO;
        loop {
            let sent = Instant::now();
            let session = self.shared.session.now().id;
            let answer = tokio::select! {
                answer = self.ask(wait) => answer,
                got = self.ended(orders) => return got,
            };
            let pause = match answer {
                Ok(reply) if reply.granted => return Got::Locks,
                Ok(reply) => {
                    backoff.reset();
                    if reply.says != said {
                        said = reply.says;
                        says(&text::line(&format!("waiting for {said}")));
                    }
                    let first = std::mem::replace(&mut wait, WAIT) == Duration::ZERO;
                    // A replica that drains answers at once, and the next one waits.
                    (!first && sent.elapsed() < TOO_FAST).then(|| pace.wait())
                }
                Err(error) => match error.kind() {
                    Some(kinds::LEASE_LOST) => {
                        self.shared.order(self.build, Order::Lost);
                        return Got::Over;
                    }
                    Some(kinds::BAD_REQUEST) => return Got::Refused(error.to_string()),
                    _ => {
                        tracing::warn!(build = self.build, "cannot ask for locks, trying again: {error}");
                        tokio::select! {
                            () = self.shared.called(session, Some(&error)) => {}
                            got = self.ended(orders) => return got,
                        }
                        Some(backoff.wait())
                    }
                },
            };
            if let Some(pause) = pause {
                tokio::select! {
                    () = self.shared.pause(pause) => {}
                    got = self.ended(orders) => return got,
                }
            }
        }
    }

    async fn ask(&self, wait: Duration) -> Result<LocksReply, CallError> {
        let ask = LocksAsk {
            build: self.build,
            token: self.token.to_owned(),
            step: self.step,
            locks: self.locks.to_vec(),
            wait_us: wait.as_micros() as u64,
        };
        self.shared.client.locks(&ask).await
    }

    async fn ended(&self, orders: &mut watch::Receiver<Order>) -> Got {
        if self.always {
            order::over(orders).await;
            return Got::Over;
        }
        match super::stopped(orders).await {
            Order::Stop(_) => Got::Stopped,
            _ => Got::Over,
        }
    }
}
