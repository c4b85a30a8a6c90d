//! The session with the masters: hello, and hello again.
//!
//! One session serves the whole process. Whoever meets `session-unknown` asks
//! for a new one; many may ask at once, one says hello. Running builds carry
//! on: what counts for them is the token of their lease.

use crate::client::{CallError, Client};
use std::sync::RwLock;
use std::time::Duration;
use tidemill_model::problem::kinds;
use tidemill_model::wire::Hello;
use tidemill_service::Backoff;
use tokio::time::Instant;

/// Two default lease terms: by then an old life of this worker, that died
/// elsewhere without a word, has lost its name.
const NAME_PATIENCE: Duration = Duration::from_secs(125);

#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    #[error(
        "the name {name:?} is in use by another live worker process; stop that one, or enrol this one under another name ({answer})"
    )]
    NameInUse { name: String, answer: String },
    #[error(
        "no master accepts this worker: {answer}. Check the token file and the name {name:?}, see `tidemill worker add`"
    )]
    Unauthorized { name: String, answer: String },
    #[error("this worker and the masters have no protocol version in common: {answer}. Update the older side")]
    Version { answer: String },
    #[error("another process took over the name {name:?}; this one stopped its builds and ends")]
    Superseded { name: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub id: i64,
    pub lease: Duration,
}

pub(crate) struct Session {
    hello: Hello,
    opened: RwLock<Opened>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Session {
    /// The first hello of a process: a refusal is an error, as a person most
    /// likely sits before it; an absent master is waited for.
    pub async fn open(client: &Client, hello: Hello) -> Result<Session, HelloError> {
        let opened = say_hello(client, &hello, true).await?;
        Ok(Session { hello, opened: RwLock::new(opened), one_at_a_time: Default::default() })
    }

    pub fn now(&self) -> Opened {
        *self.opened.read().expect("no panic while holding the session")
    }

    /// A session newer than `stale`.
    pub async fn renew(&self, client: &Client, stale: i64) -> Result<Opened, HelloError> {
        let _turn = self.one_at_a_time.lock().await;
        let now = self.now();
        if now.id != stale {
            return Ok(now);
        }
        let opened = say_hello(client, &self.hello, false).await?;
        *self.opened.write().expect("no panic while holding the session") = opened;
        Ok(opened)
    }

    pub fn superseded(&self) -> HelloError {
        HelloError::Superseded { name: self.hello.name.clone() }
    }
}

async fn say_hello(client: &Client, hello: &Hello, first: bool) -> Result<Opened, HelloError> {
    let begun = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let name = || hello.name.clone();
    loop {
        let error = match client.hello(hello).await {
            Ok(reply) => {
                tracing::info!(
                    session = reply.session,
                    master = reply.master,
                    lease_us = reply.lease_us,
                    "joined as {}",
                    hello.name
                );
                let lease = Duration::from_micros(reply.lease_us).max(Duration::from_millis(300));
                return Ok(Opened { id: reply.session, lease });
            }
            Err(error) => error,
        };
        let answer = error.to_string();
        match error.kind() {
            Some(kinds::UNAUTHORIZED | kinds::FORBIDDEN) if first => {
                return Err(HelloError::Unauthorized { name: name(), answer });
            }
            Some(kinds::PROTOCOL_VERSION) if first => return Err(HelloError::Version { answer }),
            Some(kinds::WORKER_NAME_IN_USE) if begun.elapsed() > NAME_PATIENCE => {
                return Err(HelloError::NameInUse { name: name(), answer });
            }
            Some(kinds::SESSION_SUPERSEDED) => return Err(HelloError::Superseded { name: name() }),
            _ => {}
        }
        let wait = backoff.wait();
        match error {
            CallError::Problem(_) => tracing::warn!(?wait, "hello refused, trying again: {answer}"),
            CallError::Transport(_) => tracing::warn!(?wait, "no master answers, trying again: {answer}"),
        }
        tokio::time::sleep(wait).await;
    }
}
