//! The poll loop: asks for work, keeps leases alive, hears of lost and stopped
//! builds.
//!
//! One poll is on its way at a time. While there is no free slot, a poll is held
//! back a moment, as the next build's end would make it stale; while there is
//! one, a poll always waits at some master.

use crate::client::CallError;
use crate::heard::{Heard, Unreadable};
use crate::order::Order;
use crate::shared::Shared;
use crate::taken;
use std::sync::Arc;
use std::time::Duration;
use tidemill_model::wire::{Poll, PollReply};
use tidemill_service::Backoff;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How long a poll that has no slot to offer is held back.
const HOLD_BACK: Duration = Duration::from_millis(500);

/// An answer without news that comes faster than this is not asked for again at once.
const TOO_FAST: Duration = Duration::from_millis(50);

/// How long the poll that says goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// How often dead orphans are looked for while nothing else does.
const TIDY: Duration = Duration::from_secs(10);

/// Polls until the worker is to end and holds nothing more.
pub(crate) async fn poll_loop(shared: Arc<Shared>, builds: TaskTracker) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut pace = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    let mut session = shared.session.now().id;
    let mut tidied = Instant::now();
    let mut drained = false;
    loop {
        if shared.ending.is_cancelled() {
            return;
        }
        if shared.life.draining().is_cancelled() {
            shared.slots().drain();
            if drained && shared.slots().is_empty() {
                return;
            }
        } else if !hold_back(&shared).await {
            continue;
        }
        let opened = shared.session.now();
        if opened.id != session {
            session = opened.id;
            shared.slots().new_session();
        }
        let draining = shared.life.draining().is_cancelled();
        let mut poll = shared.slots().poll(session, opened.lease);
        if draining && !drained {
            // Says that there is no room now, and hears of claims that were on their way here.
            poll.wait_us = 0;
        }
        let sent = Instant::now();
        let answer = tokio::select! {
            answer = shared.client.poll(&poll) => answer,
            () = stale(&shared, &poll, draining) => continue,
            () = shared.ending.cancelled() => return,
            () = tokio::time::sleep(GOODBYE), if draining && !drained => Err(CallError::Transport("no answer".into())),
        };
        drained |= draining;
        match answer {
            Ok(Heard { reply, unreadable }) => {
                shared.called(session, None).await;
                backoff.reset();
                let given_back = give_back(&shared, &builds, unreadable);
                if take(&shared, &builds, &poll, &reply) || given_back || sent.elapsed() > TOO_FAST {
                    pace.reset();
                } else {
                    pause(&shared, pace.wait(), draining).await;
                }
            }
            Err(error) => {
                // May say hello, which waits for a master as long as it takes.
                tokio::select! {
                    () = shared.called(session, Some(&error)) => {}
                    () = shared.ending.cancelled() => {}
                    () = shared.life.draining().cancelled(), if !draining => {}
                    () = tokio::time::sleep(GOODBYE), if draining => {}
                }
                if shared.session.now().id != session {
                    continue;
                }
                let wait = retry_after(backoff.wait(), opened.lease);
                tracing::warn!(?wait, "poll failed, trying again: {error}");
                pause(&shared, wait, draining).await;
            }
        }
        if tidied.elapsed() > TIDY {
            shared.processes.tidy(None);
            tidied = Instant::now();
        }
    }
}

/// How long a poll that failed is held back. However long no master answered: one that
/// comes back waits a term before it gives a build up, and by then it heard of ours.
fn retry_after(backoff: Duration, lease: Duration) -> Duration {
    backoff.min(lease / 6)
}

async fn pause(shared: &Shared, time: Duration, draining: bool) {
    tokio::select! {
        () = shared.pause(time) => {}
        () = shared.ending.cancelled() => {}
        () = shared.life.draining().cancelled(), if !draining => {}
    }
}

/// With no free slot: waits a moment. False if something changed meanwhile.
async fn hold_back(shared: &Shared) -> bool {
    if shared.slots().free() > 0 {
        return true;
    }
    let wait = HOLD_BACK.min(shared.session.now().lease / 6);
    tokio::select! {
        () = tokio::time::sleep(wait) => true,
        () = shared.changed.notified() => false,
        () = shared.life.draining().cancelled() => false,
        () = shared.ending.cancelled() => false,
    }
}

/// Until the waiting poll says something that is no longer so. The master may
/// yet answer it into the void: what it gives then, it gives again to the next
/// poll, which has the same number and does not list that build.
async fn stale(shared: &Shared, poll: &Poll, draining: bool) {
    loop {
        tokio::select! {
            () = shared.changed.notified() => {}
            () = shared.life.draining().cancelled(), if !draining => return,
        }
        let slots = shared.slots();
        if poll.session != shared.session.now().id || slots.is_stale(poll) || (draining && slots.is_empty()) {
            return;
        }
    }
}

/// Builds whose claims cannot be read end at once, as lost. True if there are any.
fn give_back(shared: &Arc<Shared>, builds: &TaskTracker, unreadable: Vec<Unreadable>) -> bool {
    let mut any = false;
    for Unreadable { build, token, why } in unreadable {
        if shared.slots().give_back(build, &token) {
            tracing::error!(build, "a claim cannot be read, and its build is given back: {why}");
            let (orders, _) = shared.orders_for(build);
            builds.spawn(taken::give_back(shared.clone(), build, token, why, orders));
            any = true;
        }
    }
    any
}

/// Acts on an answer. True if there was news in it.
fn take(shared: &Arc<Shared>, builds: &TaskTracker, poll: &Poll, reply: &PollReply) -> bool {
    let claims = shared.slots().answered(poll, reply);
    let mut news = !claims.is_empty();
    for claim in claims {
        let (orders, receiver) = shared.orders_for(claim.build);
        builds.spawn(taken::run(shared.clone(), claim, orders, receiver));
    }
    for build in &reply.lost {
        // One that ended while this poll was on its way has no lease, and lost nothing.
        if !shared.slots().works(*build) {
            tracing::debug!(build, "the lease of a build that ended is gone");
            continue;
        }
        tracing::warn!(build, "a master says that the lease is lost");
        shared.order(*build, Order::Lost);
    }
    for stop in &reply.stop {
        shared.order(stop.build, Order::Stop(stop.clone()));
    }
    if reply.drain && !shared.life.draining().is_cancelled() {
        tracing::info!("a master asks this worker to drain");
        shared.life.drain();
        news = true;
    }
    news
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_that_failed_comes_again_several_times_in_a_lease_however_long_no_master_answered() {
        for lease in [1, 6, 60, 600].map(Duration::from_secs) {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
            for _ in 0..100 {
                assert!(retry_after(backoff.wait(), lease) * 6 <= lease, "{lease:?}");
            }
        }
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(retry_after(second, minute), second, "what is short enough stays");
    }
}
