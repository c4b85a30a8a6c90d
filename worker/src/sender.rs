//! Delivery of a build's batches: one after the other, each until it is
//! acknowledged, however long that takes.
//!
//! Only `lease-lost` ends a delivery that did not succeed, or the end of the
//! worker; then the spool stays for its next life.

use crate::clock;
use crate::order::{self, Order};
use crate::shared::Shared;
use crate::spool::{Batch, Spool};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::problem::kinds;
use tidemill_model::wire::{self, BatchHead};
use tidemill_service::Backoff;
use tokio::sync::watch;

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Everything is stored, the build's end included.
    Done,
    /// The masters do not want it: the lease is gone.
    Lost,
    /// The worker ends.
    Quit,
}

pub(crate) async fn deliver(
    shared: Arc<Shared>,
    build: i64,
    token: String,
    spool: Arc<Spool>,
    orders: watch::Sender<Order>,
) -> Delivery {
    let mut over = orders.subscribe();
    loop {
        tokio::select! {
            biased;
            () = order::over(&mut over) => return ended(&over),
            () = spool.ready() => {}
        }
        let Some(mut batch) = spool.take().await else {
            // The spool cannot be read now; it said why.
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        tokio::select! {
            biased;
            () = order::over(&mut over) => {
                spool.keep(&mut batch);
                return ended(&over);
            }
            sent = send(&shared, build, &token, &spool, &mut batch, &orders) => if !sent {
                order::give(&orders, Order::Lost);
                return Delivery::Lost;
            }
        }
        spool.acknowledged(&batch);
        if spool.is_delivered() {
            return Delivery::Done;
        }
    }
}

fn ended(orders: &watch::Receiver<Order>) -> Delivery {
    if *orders.borrow() == Order::Quit { Delivery::Quit } else { Delivery::Lost }
}

/// Sends one batch until it is stored. False if the lease is lost.
async fn send(
    shared: &Shared,
    build: i64,
    token: &str,
    spool: &Spool,
    batch: &mut Batch,
    orders: &watch::Sender<Order>,
) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
    loop {
        let session = shared.session.now().id;
        let head =
            BatchHead { session, build, token: token.to_owned(), batch: batch.number, sent_at_us: clock::now_us() };
        let error = match shared.client.batch(body(&head, &batch.frames)).await {
            Ok(reply) => {
                shared.called(session, None).await;
                if let Some(stop) = reply.stop {
                    order::give(orders, Order::Stop(stop));
                }
                if reply.drain {
                    shared.life.drain();
                }
                if reply.acked >= batch.number {
                    return true;
                }
                tracing::warn!(build, batch = batch.number, acked = reply.acked, "a batch was answered but not stored");
                None
            }
            Err(error) => Some(error),
        };
        spool.keep(batch);
        if let Some(error) = error {
            shared.called(session, Some(&error)).await;
            match error.kind() {
                Some(kinds::LEASE_LOST) => {
                    tracing::warn!(build, "the lease is lost: {error}");
                    return false;
                }
                Some(kinds::BAD_REQUEST) => {
                    // The same bytes will never be understood; without this worker the lease ends.
                    tracing::error!(
                        build,
                        batch = batch.number,
                        "a master cannot read a batch, giving up the build: {error}"
                    );
                    return false;
                }
                Some(kinds::SESSION_UNKNOWN) if shared.session.now().id != session => continue,
                _ => tracing::warn!(build, batch = batch.number, "cannot deliver a batch, trying again: {error}"),
            }
        }
        shared.pause(backoff.wait()).await;
    }
}

fn body(head: &BatchHead, frames: &Bytes) -> Bytes {
    let mut body = BytesMut::with_capacity(frames.len() + 256);
    wire::encode_head(&mut body, head);
    body.extend_from_slice(frames);
    body.freeze()
}
