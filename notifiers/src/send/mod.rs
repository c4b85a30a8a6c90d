//! From deliveries to what the other side said.
//!
//! [`start`] runs one loop a process: it claims what is due, as much as there is
//! room for at each destination, gives each delivery a task, and records what
//! became of them many at a time. A destination that is down is left alone as a
//! whole; one that is slow keeps its own room and nobody else's, and one that has
//! not answered yet has room for one.

mod commit;
mod dispatch;
mod forge;
mod gerrit;
mod http;
mod irc;
mod lately;
mod mail;
mod one;
mod person;
mod written;

use crate::app::App;
use crate::outcome::Outcome;
use dispatch::Transports;
use sqlx::PgConnection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tidemill_schema::notices::send::{
    Became, Delivery, Room, deliveries_calm, deliveries_claim, deliveries_reap, deliveries_record, deliveries_renew,
    destination_down, destination_up, next_due,
};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Result, run_tx};
use tidemill_service::Backoff;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

/// The look underneath the wakes.
const PERIOD: Duration = Duration::from_secs(2);
/// How long a destination that takes what comes is taken at its word: what other notifiers saw of it
/// meanwhile is put right after this.
const UP: Duration = Duration::from_secs(5);
/// Longest wait. A delivery that would wait longer is parked.
const AGAIN_MAX: Duration = Duration::from_secs(86_400);

/// What a task says of its delivery.
pub(crate) struct Done {
    id: i64,
    destination: i64,
    became: Became,
    /// Whether the destination answered, or why it does not.
    health: Health,
}

pub(crate) enum Health {
    Unknown,
    Up,
    Down(String),
}

pub fn start(app: &App, planned: Arc<Notify>) {
    let wake = planned;
    app.wakes.forward(&app.life, wake.clone(), |w| matches!(w, Wake::Notices | Wake::All));
    let this = app.clone();
    app.life.spawn("notices.send", async move { Sender::new(this).run(wake).await });
}

/// Where something in hand goes: its destination, reporter and address.
type Held = (i64, String, String);

struct Sender {
    app: App,
    transports: Arc<Transports>,
    /// In hand.
    held: BTreeMap<i64, Held>,
    /// Destinations that took the last that they were given, and when this was
    /// last written: of these little is written, and they get more at a time.
    up: BTreeMap<i64, Instant>,
    /// Claims in a row that got nothing although something was due: others are
    /// at it, or it waits for an earlier one of its order.
    vain: u32,
    done: mpsc::UnboundedSender<Done>,
    /// Until when what was in hand at the last renewal is held.
    lease: watch::Sender<Instant>,
}

impl Sender {
    fn new(app: App) -> Sender {
        let transports = Arc::new(Transports::new(&app));
        let (done, lease) = (mpsc::unbounded_channel().0, watch::Sender::new(Instant::now()));
        Sender { app, transports, held: BTreeMap::new(), up: BTreeMap::new(), vain: 0, done, lease }
    }

    async fn run(mut self, wake: Arc<Notify>) {
        let (done, mut results) = mpsc::unbounded_channel();
        self.done = done;
        let drain = self.app.life.draining().clone();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let mut renew = Instant::now() + self.app.settings.term / 3;
        // Results that are not recorded yet: kept over failures of the database.
        let mut unsaid: Vec<Done> = vec![];
        loop {
            let looked = self.look(&mut unsaid, &mut renew, drain.is_cancelled()).await;
            let pause = match looked {
                Ok(pause) => {
                    backoff.reset();
                    pause
                }
                Err(error) => {
                    let wait = backoff.wait();
                    tracing::warn!(task = "notices.send", %error, ?wait, "failed; trying again");
                    wait
                }
            };
            if drain.is_cancelled() && self.held.is_empty() && unsaid.is_empty() {
                return;
            }
            tokio::select! {
                _ = wake.notified() => {}
                _ = tokio::time::sleep(pause) => {}
                Some(first) = results.recv() => unsaid.push(first),
                _ = drain.cancelled(), if !drain.is_cancelled() => {}
            }
            while let Ok(more) = results.try_recv() {
                unsaid.push(more);
            }
        }
    }

    /// Records what ended, claims what is due. Returns how long there is nothing to do.
    async fn look(&mut self, unsaid: &mut Vec<Done>, renew: &mut Instant, draining: bool) -> Result<Duration> {
        if !unsaid.is_empty() {
            self.record(unsaid).await?;
        }
        if Instant::now() >= *renew {
            let held: Vec<i64> = self.held.keys().copied().collect();
            run_tx!(self.app.db, "notices.reap", |c| deliveries_reap(c).await)?;
            if !held.is_empty() {
                let (holder, term, asked) = (&self.app.holder, self.app.settings.term, Instant::now());
                run_tx!(self.app.db, "notices.renew", |c| deliveries_renew(c, holder, &held, term).await)?;
                self.lease.send_replace(asked + term);
            }
            *renew = Instant::now() + self.app.settings.term / 3;
        }
        if draining {
            return Ok(PERIOD);
        }
        let free = self.app.settings.most.saturating_sub(self.held.len());
        if free == 0 {
            return Ok(PERIOD);
        }
        let room = self.room(free);
        let (holder, term, asked) = (&self.app.holder, self.app.settings.term, Instant::now());
        let held = &self.held;
        let claimed = run_tx!(self.app.db, "notices.claim", |c| claim(c, &room, holder, term, held).await)?;
        if claimed.is_empty() {
            // What ends there makes room, and another look.
            let full: Vec<i64> = room.busy.iter().filter(|(_, left)| *left <= 0).map(|(id, _)| *id).collect();
            let (ways, irc) = (&self.app.settings.ways, self.app.networks.up());
            let next = next_due(&mut *self.app.db.pool().acquire().await?, ways, &irc, &full).await?;
            self.vain = if next == Some(Duration::ZERO) { self.vain + 1 } else { 0 };
            let least = Duration::from_millis(20 << self.vain.min(5));
            return Ok(next.map_or(PERIOD, |d| d.clamp(least, PERIOD)));
        }
        self.vain = 0;
        for delivery in claimed {
            self.held.insert(delivery.id, key(&delivery));
            self.send(delivery, asked + term);
        }
        // What ends next makes room.
        Ok(PERIOD)
    }

    fn room(&self, free: usize) -> Room {
        let mut sending: BTreeMap<i64, usize> = BTreeMap::new();
        for (destination, ..) in self.held.values() {
            *sending.entry(*destination).or_default() += 1;
        }
        for destination in self.up.keys() {
            sending.entry(*destination).or_default();
        }
        // One that has not taken anything yet gets one, so that many that never answer leave room for others.
        let all = |id: &i64| if self.up.contains_key(id) { self.app.settings.each } else { 1 };
        let left = |id: i64, used: usize| (id, i32::try_from(all(&id).saturating_sub(used)).unwrap_or(i32::MAX));
        Room {
            ways: self.app.settings.ways.clone(),
            busy: sending.into_iter().map(|(id, used)| left(id, used)).collect(),
            each: 1,
            most: i32::try_from(free).unwrap_or(i32::MAX),
            irc: self.app.networks.up(),
        }
    }

    /// `until`: it is held so long, and longer with each renewal.
    fn send(&self, delivery: Delivery, until: Instant) {
        let (app, transports, done) = (self.app.clone(), self.transports.clone(), self.done.clone());
        let (id, destination, lease) = (delivery.id, delivery.destination, self.lease.subscribe());
        self.app.life.spawn("notices.send.one", async move {
            let ordered = delivery.order_key.is_some();
            // A panic of a transport is that delivery's matter.
            let mut work = tokio::spawn(async move { one::deliver(&app, &transports, &delivery).await });
            let (became, health) = tokio::select! {
                biased;
                // Somebody else sends it then, and perhaps what comes after it: it must not arrive later.
                () = lost(until, lease), if ordered => {
                    work.abort();
                    let why = "its lease was over before the other side said anything".into();
                    (Became::Unsure { why, after: Duration::ZERO }, Health::Unknown)
                }
                found = &mut work => found.unwrap_or_else(|e| {
                    (Became::Parked { why: format!("sending it failed within: {e}") }, Health::Unknown)
                }),
            };
            // Nobody hears it only when the process ends.
            let _ = done.send(Done { id, destination, became, health });
        });
    }

    async fn record(&mut self, unsaid: &mut Vec<Done>) -> Result<()> {
        let became: Vec<(i64, Became)> = unsaid.iter().map(|d| (d.id, d.became.clone())).collect();
        let mut health: BTreeMap<i64, Option<&str>> = BTreeMap::new();
        for done in unsaid.iter() {
            match &done.health {
                Health::Unknown if matches!(done.became, Became::Unsure { .. }) => {
                    self.up.remove(&done.destination);
                }
                Health::Unknown => {}
                Health::Up => {
                    health.insert(done.destination, None);
                }
                Health::Down(why) => {
                    health.entry(done.destination).or_insert(Some(why));
                }
            }
        }
        let holder = &self.app.holder;
        let up = &self.up;
        let recorded = run_tx!(self.app.db, "notices.record", |c| async {
            for (destination, why) in &health {
                match why {
                    Some(why) => destination_down(c, *destination, why).await?,
                    None if up.get(destination).is_none_or(|said| said.elapsed() > UP) => {
                        destination_up(c, *destination).await?;
                    }
                    None => {}
                }
            }
            deliveries_record(c, holder, &became).await
        }
        .await)?;
        for (destination, why) in health {
            match why {
                Some(why) => {
                    tracing::warn!(destination, why, "notices wait: their destination is down");
                    self.up.remove(&destination);
                }
                None if self.up.get(&destination).is_none_or(|said| said.elapsed() > UP) => {
                    self.up.insert(destination, Instant::now());
                }
                None => {}
            }
        }
        for done in unsaid.drain(..) {
            self.held.remove(&done.id);
            if !recorded.contains(&done.id) {
                tracing::warn!(delivery = done.id, "somebody else has taken a delivery that took too long here");
            }
        }
        Ok(())
    }
}

/// Ends when nothing renewed the lease in time.
async fn lost(until: Instant, mut lease: watch::Receiver<Instant>) {
    loop {
        let end = until.max(*lease.borrow_and_update());
        tokio::time::sleep_until(end).await;
        if until.max(*lease.borrow()) <= end {
            return;
        }
    }
}

/// Claims what there is room for; of what is a storm to one address, one.
async fn claim(
    c: &mut PgConnection,
    room: &Room,
    holder: &str,
    term: Duration,
    held: &BTreeMap<i64, Held>,
) -> Result<Vec<Delivery>> {
    let mut claimed = deliveries_claim(c, room, holder, term).await?;
    if crowded(held, &claimed) {
        let ids: Vec<i64> = claimed.iter().map(|d| d.id).collect();
        let back = deliveries_calm(c, holder, &ids, mail::STORM).await?;
        claimed.retain(|d| !back.contains(&d.id));
    }
    Ok(claimed)
}

fn key(delivery: &Delivery) -> Held {
    (delivery.destination, delivery.reporter.clone(), delivery.address.clone())
}

/// Whether several of these go to one address.
fn crowded(now: &BTreeMap<i64, Held>, claimed: &[Delivery]) -> bool {
    let mut seen: BTreeSet<Held> = now.values().cloned().collect();
    claimed.iter().any(|delivery| !seen.insert(key(delivery)))
}

/// What an outcome means for the delivery, at this attempt; `again` is the first wait.
pub(crate) fn became(outcome: Outcome, attempts: i32, again: Duration) -> (Became, Health) {
    let given_up = |why: &str| Became::Parked { why: format!("given up after {attempts} attempts: {why}") };
    let wait = back_off(again, attempts);
    match outcome {
        Outcome::Sent { answer } => (Became::Sent { answer }, Health::Up),
        Outcome::Refused { why } => (Became::Parked { why }, Health::Up),
        Outcome::Down { why } => (Became::Down { why: why.clone() }, Health::Down(why)),
        Outcome::Again { why, after } => {
            let wait = wait.max(after.unwrap_or_default());
            if wait > AGAIN_MAX {
                (given_up(&why), Health::Up)
            } else {
                (Became::Again { why, after: jittered(wait) }, Health::Up)
            }
        }
        Outcome::Unsure { why } if wait > AGAIN_MAX => (given_up(&why), Health::Unknown),
        Outcome::Unsure { why } => (Became::Unsure { why, after: jittered(wait) }, Health::Unknown),
    }
}

fn back_off(again: Duration, attempts: i32) -> Duration {
    let times = 3u32.saturating_pow(u32::try_from(attempts - 1).unwrap_or_default());
    again.saturating_mul(times)
}

/// A quarter up or down, so that what failed together does not come back together.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_held_is_lost_when_nobody_renews_it_and_not_before() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let lease = watch::Sender::new(begun);
        let (short, long) = (lost(at(30), lease.subscribe()), lost(at(200), lease.subscribe()));
        lease.send_replace(at(100));
        short.await;
        assert!(Instant::now() >= at(100));
        long.await;
        assert!(Instant::now() >= at(200), "what was claimed after the renewal has its own time");
    }

    #[test]
    fn waits_grow_to_a_day_and_then_it_is_given_up() {
        let first = Duration::from_secs(10);
        let again = |attempts| became(Outcome::Again { why: "busy".into(), after: None }, attempts, first).0;
        let mut whole = Duration::ZERO;
        let mut attempts = 1;
        while let Became::Again { after, .. } = again(attempts) {
            assert!(after <= AGAIN_MAX.mul_f64(1.25));
            whole += after;
            attempts += 1;
        }
        assert!(whole > Duration::from_secs(12 * 3600), "{whole:?}");
        assert!(matches!(again(attempts), Became::Parked { .. }));
        assert!(matches!(became(Outcome::Refused { why: "no".into() }, 1, first).0, Became::Parked { .. }));
        let (down, health) = became(Outcome::Down { why: "away".into() }, 1, first);
        assert!(matches!(down, Became::Down { .. }) && matches!(health, Health::Down(_)));
    }
}
