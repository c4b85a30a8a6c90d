//! Secrets that masters provide, under the lease of the build that needs them.

use crate::order::Order;
use crate::shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::problem::kinds;
use tidemill_model::wire::SecretRequest;
use tidemill_service::Backoff;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Asks the masters for values of one build.
pub(crate) struct Source {
    shared: Arc<Shared>,
    build: i64,
    token: String,
    orders: watch::Receiver<Order>,
    handle: Handle,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("build", &self.build).finish_non_exhaustive()
    }
}

impl Source {
    /// Made on a thread of the runtime.
    pub fn new(shared: Arc<Shared>, build: i64, token: &str, orders: watch::Receiver<Order>) -> Source {
        Source { shared, build, token: token.to_owned(), orders, handle: Handle::current() }
    }

    /// The value, or why there is none, for people. Waits for a master as long as
    /// the build goes on.
    pub async fn fetch(&self, name: &str) -> Result<String, String> {
        let wanted = SecretRequest { build: self.build, token: self.token.clone(), name: name.to_owned() };
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        let mut orders = self.orders.clone();
        loop {
            match self.shared.client.secret(&wanted).await {
                Ok(reply) => return Ok(reply.value),
                Err(error) if matches!(error.kind(), Some(kind) if kind != kinds::UNAVAILABLE) => {
                    return Err(error.to_string());
                }
                Err(error) => tracing::warn!(%error, "cannot ask for a secret; trying again"),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.wait()) => {}
                _ = orders.wait_for(|order| *order != Order::Run) => return Err("the build is ending".to_owned()),
            }
        }
    }

    /// The same from a thread of its own, which it blocks. None on a thread of the
    /// runtime: there, what is needed was fetched before.
    pub fn fetch_blocking(&self, name: &str) -> Option<Result<String, String>> {
        match Handle::try_current() {
            Ok(_) => None,
            Err(_) => Some(self.handle.block_on(self.fetch(name))),
        }
    }
}
