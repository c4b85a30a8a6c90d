//! Who speaks on one network: claims, holds, loses.
//!
//! The lease is the database's; here counts when its renewal was asked for, so
//! that our idea of its end is the earlier one. A connection is over, goodbye
//! included, before that end, and a process that was stopped meanwhile says
//! nothing when it goes on: the [`Fence`] is asked before each line.

use super::Wanted;
use super::running::Running;
use crate::app::App;
use crate::irc::Fence;
use crate::irc::client::{GOODBYE, State};
use std::time::{Duration, Instant};
use tidemill_schema::notices::networks::{network_claim, network_release, network_renew, network_state};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Result, run_tx};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

/// Least and longest term.
const TERMS: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(10));
/// Between two looks whether a network is free.
const LOOK: Duration = Duration::from_millis(500);
/// For what goes wrong in a moment: a renewal, a read of places.
const AGAIN: Duration = Duration::from_millis(300);
/// For a read or write beside the connection.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a connection needs to end, and clocks that differ.
const MARGIN: Duration = GOODBYE.saturating_add(Duration::from_secs(1));

pub(super) struct Keeper {
    app: App,
    network: String,
    wanted: watch::Receiver<Option<Wanted>>,
    term: Duration,
    /// What was last said to people of the connection: that it is up, or why not.
    said: Option<Option<String>>,
}

impl Keeper {
    pub fn new(app: App, network: String, wanted: watch::Receiver<Option<Wanted>>) -> Keeper {
        let term = app.settings.term.clamp(TERMS.0, TERMS.1);
        Keeper { app, network, wanted, term, said: None }
    }

    /// Until the process drains.
    pub async fn run(mut self) {
        let drain = self.app.life.draining().clone();
        while !drain.is_cancelled() {
            if self.wanted.borrow_and_update().is_none() {
                tokio::select! {
                    changed = self.wanted.changed() => if changed.is_err() { return },
                    () = drain.cancelled() => {}
                }
                continue;
            }
            let asked = Instant::now();
            let (network, holder, term) = (&self.network, &self.app.holder, self.term);
            match run_tx!(self.app.db, "network.claim", |c| network_claim(c, network, holder, term).await) {
                Ok(true) => self.hold(asked).await,
                Ok(false) => {}
                Err(error) => tracing::debug!(network, %error, "cannot ask who holds the network"),
            }
            tokio::select! {
                () = sleep(LOOK.mul_f64(rand::random_range(0.8..1.2))) => {}
                () = drain.cancelled() => {}
            }
        }
    }

    /// As long as it is ours.
    async fn hold(&mut self, claimed: Instant) {
        tracing::info!(network = self.network, "this notifier speaks on IRC now");
        let drain = self.app.life.draining().clone();
        let mut end = claimed + self.term - MARGIN;
        let fence = Fence::until(end);
        let mut renew = claimed + self.term / 5;
        let mut running: Option<Running> = None;
        self.said = None;
        let ours = loop {
            let Some(wanted) = self.wanted.borrow_and_update().clone() else { break true };
            if drain.is_cancelled() {
                break true;
            }
            // Neither may wait for a database that is away: the end comes nearer.
            let bringing = Running::brought_in_line(&self.app, &self.network, &wanted, &fence, &mut running);
            let fresh = match timeout(PATIENCE, bringing).await {
                Ok(fresh) => fresh,
                Err(_) => Err("the database does not say what channels settled".to_owned()),
            };
            let said = self.said_to_people(running.as_ref(), fresh.as_ref().err());
            let _ = timeout(PATIENCE, said).await;
            let retry = if fresh.is_ok() { end } else { Instant::now() + AGAIN * 10 };
            tokio::select! {
                () = sleep_until(renew.into()) => {
                    let asked = Instant::now();
                    match self.renewed(end).await {
                        Some(true) => {
                            end = asked + self.term - MARGIN;
                            fence.extend(end);
                            renew = asked + self.term / 5;
                        }
                        Some(false) => break false,
                        None => renew = Instant::now() + AGAIN,
                    }
                }
                () = sleep_until(end.into()) => break false,
                () = sleep_until(retry.into()), if retry < end => {}
                _ = self.wanted.changed() => {}
                () = changed(running.as_mut()) => {}
                () = drain.cancelled() => {}
            }
        };
        self.app.networks.set(&self.network, None);
        if let Some(running) = running {
            running.end().await;
        }
        if ours {
            let (network, holder) = (&self.network, &self.app.holder);
            let released = run_tx!(self.app.db, "network.release", |c| network_release(c, network, holder).await);
            if let Err(error) = released {
                tracing::debug!(network, %error, "the network is free when its time is past");
            }
        } else {
            tracing::warn!(network = self.network, "the lease of the network was lost; another notifier speaks there");
        }
    }

    /// Whether the lease is still ours; none if the database does not say.
    async fn renewed(&self, end: Instant) -> Option<bool> {
        let (network, holder, term) = (&self.network, &self.app.holder, self.term);
        let renewal =
            async { run_tx!(self.app.db, "network.renew", |c| network_renew(c, network, holder, term).await) };
        match timeout(end.saturating_duration_since(Instant::now()), renewal).await {
            Ok(Ok(ours)) => Some(ours),
            Ok(Err(error)) => {
                tracing::debug!(network, %error, "cannot renew the lease of the network");
                None
            }
            Err(_) => None,
        }
    }

    /// Writes for people how the connection stands, when that has changed, and wakes the senders.
    async fn said_to_people(&mut self, running: Option<&Running>, wrong: Option<&String>) {
        let now = match (wrong, running.map(|r| r.client.state())) {
            (Some(why), _) => Some(why.clone()),
            (None, Some(State::Down { why })) => Some(why),
            (None, Some(State::Up { .. })) => None,
            (None, Some(State::Connecting) | None) => return,
        };
        if self.said.as_ref() == Some(&now) {
            return;
        }
        match &now {
            None => {
                self.app.wakes.send(Wake::Notices);
                tracing::info!(network = self.network, "IRC: connected");
            }
            Some(why) => tracing::warn!(network = self.network, why, "IRC: notices wait"),
        }
        let network = &self.network;
        let written: Result<()> =
            run_tx!(self.app.db, "network.state", |c| network_state(c, network, now.as_deref()).await);
        match written {
            Ok(()) => self.said = Some(now),
            Err(error) => tracing::debug!(network, %error, "cannot write how the network stands"),
        }
    }
}

/// Waits for another state of the connection.
async fn changed(running: Option<&mut Running>) {
    match running {
        // An end without a word is noticed by who asks for the state.
        Some(running) => {
            if running.states.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}
