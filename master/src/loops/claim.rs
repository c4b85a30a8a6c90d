//! The claim loop: one a replica, for all polls that wait in it.
//!
//! Polls wait in memory. The loop runs at a wake, takes all of them and the
//! lanes that may hold work for them, and claims in one round trip; what comes
//! in meanwhile gathers for the next. Idle polls cost nothing but a safety look
//! every [`SAFETY`]: which lanes hold anything, by an index probe a lane; and,
//! now and then, a claim that only looks for builds whose delivery was lost.

use crate::app::App;
use crate::loops::batcher::{Batcher, Dropped};
use crate::loops::choose::Chooser;
use crate::loops::lanes::{Lanes, SWEEP};
use crate::paths::build_path;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tidemill_model::wire::{Claim, Held, Stop};
use tidemill_model::{NewChange, SessionId, WorkerId};
use tidemill_schema::active::{Eligibility, eligibility, lanes_waiting};
use tidemill_schema::claims::{Claimed, Payloads, Picked, Waiting, claim_by, claim_picked};
use tidemill_schema::leases::{Renewed, leases_renew};
use tidemill_schema::wake::Wake;
use tidemill_service::Backoff;
use tokio::sync::{Notify, broadcast, oneshot};

/// Between two looks of a replica with idle polls and no wake.
const SAFETY: Duration = Duration::from_secs(2);
/// Most new builds of one round trip (queue.md: more gains nothing).
const BATCH: u32 = 100;
/// Most bytes of properties and changes in one answer, about: well below what a worker reads.
const ANSWER: usize = 16 << 20;
/// For which time what is known of lanes is taken for new, though there is one that it lacks.
const STRANGE: Duration = Duration::from_millis(100);
/// How long what is known of builders and workers is believed without a wake.
const ELIGIBLE: Duration = Duration::from_secs(15);

/// The polls that wait in this replica, and the sessions it knows.
#[derive(Default)]
pub struct Polls {
    waiting: Mutex<HashMap<SessionId, Slot>>,
    wake: Notify,
    sessions: Sessions,
    renewals: Batcher<Vec<Held>, Renewed>,
}

struct Slot {
    waiting: Waiting,
    worker: String,
    answer: oneshot::Sender<Vec<Claim>>,
    /// Ask the database even if no lane is hot: a build may have been delivered into the void.
    unsure: bool,
    /// No round has had it yet.
    new: bool,
}

impl Polls {
    /// Registers a poll. A poll of the same session that still waits here is
    /// an abandoned copy and is dropped.
    pub fn wait(&self, waiting: Waiting, worker: String) -> oneshot::Receiver<Vec<Claim>> {
        let (answer, answered) = oneshot::channel();
        let unsure = self.sessions.heard_poll(waiting.session, waiting.poll, waiting.free);
        let session = waiting.session;
        self.waiting
            .lock()
            .expect("no panic while locked")
            .insert(session, Slot { waiting, worker, answer, unsure, new: true });
        self.wake.notify_one();
        answered
    }

    /// Renews leases, together with all others that come in the same moment.
    pub async fn renew(&self, held: Vec<Held>) -> Result<Renewed, Dropped> {
        self.renewals.submit(held).await
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

/// Sessions that were found open, and when each was last heard.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<SessionId, Known>>);

struct Known {
    worker: WorkerId,
    /// False: the row is to be asked again.
    sure: bool,
    heard: Instant,
    free: u32,
    last_poll: u64,
    /// Builds whose stop was said, and in the answer to which poll.
    told: HashMap<i64, u64>,
}

impl Sessions {
    pub fn is_open(&self, id: SessionId, worker: WorkerId) -> bool {
        let mut known = self.0.lock().expect("no panic while locked");
        known.get_mut(&id).is_some_and(|k| {
            k.heard = Instant::now();
            k.sure && k.worker == worker
        })
    }

    /// Whether each is open is asked again at its next poll.
    fn doubt_all(&self) {
        self.0.lock().expect("no panic while locked").values_mut().for_each(|k| k.sure = false);
    }

    /// Whether its builds were delivered is asked again at its next poll.
    fn doubt(&self, id: SessionId) {
        if let Some(known) = self.0.lock().expect("no panic while locked").get_mut(&id) {
            known.last_poll = 0;
        }
    }

    pub fn opened(&self, id: SessionId, worker: WorkerId) {
        let known = Known { worker, sure: true, heard: Instant::now(), free: 0, last_poll: 0, told: HashMap::new() };
        self.0.lock().expect("no panic while locked").insert(id, known);
    }

    pub fn forget(&self, id: SessionId) {
        self.0.lock().expect("no panic while locked").remove(&id);
    }

    /// Sessions heard in the last two spans, with their free slots. Those
    /// silent for long are forgotten: the next poll asks the row.
    pub fn heard(&self, span: Duration) -> Vec<(SessionId, u32)> {
        let mut known = self.0.lock().expect("no panic while locked");
        known.retain(|_, k| k.heard.elapsed() < span * 20);
        known
            .iter()
            .filter(|(_, k)| k.heard.elapsed() < span * 2 + Duration::from_secs(2))
            .map(|(id, k)| (*id, k.free))
            .collect()
    }

    /// Notes a poll. True if it does not follow the last one heard here, so
    /// that the answer before it may be lost or came from another replica.
    fn heard_poll(&self, id: SessionId, poll: u64, free: u32) -> bool {
        let mut known = self.0.lock().expect("no panic while locked");
        let Some(k) = known.get_mut(&id) else { return true };
        let follows = poll == k.last_poll + 1;
        k.last_poll = poll;
        k.free = free;
        !follows
    }

    /// Whether this stop is to be said in the answer to this poll. Once it was
    /// said, later polls wait again; the same poll once more means that the
    /// answer did not arrive.
    pub fn stop_is_news(&self, id: SessionId, poll: u64, stop: &Stop) -> bool {
        let mut known = self.0.lock().expect("no panic while locked");
        let Some(k) = known.get_mut(&id) else { return true };
        if k.told.get(&stop.build).is_some_and(|at| poll > *at) {
            return false;
        }
        if k.told.len() > 1000 {
            k.told.clear();
        }
        k.told.insert(stop.build, poll);
        true
    }
}

pub fn start(app: &App) {
    let this = app.clone();
    app.life.spawn("claim", async move { ClaimLoop::new(this).run().await });
    let this = app.clone();
    app.life.spawn("renew", async move { renew_loop(this).await });
}

async fn renew_loop(app: App) {
    loop {
        let taken = tokio::select! {
            t = app.polls.renewals.take(|_| true) => t,
            // Renewals go on through the drain, until the last request is answered.
            _ = app.life.stopping().cancelled() => return,
            _ = drained_and_idle(&app) => return,
        };
        let held: Vec<Held> = taken.iter().flat_map(|(h, _)| h.clone()).collect();
        let result = async {
            let mut c = app.db.pool().acquire().await?;
            leases_renew(&mut c, &held, app.settings.lease).await
        };
        match result.await {
            Ok(renewed) => {
                for (_, answer) in taken {
                    let _ = answer.send(renewed.clone());
                }
            }
            // The polls answer 503 and come again; leases run meanwhile, and the outage rule holds them.
            Err(error) => tracing::warn!(%error, "could not renew leases"),
        }
    }
}

/// Some time after the drain began: what was in flight has been answered.
pub(crate) async fn drained_and_idle(app: &App) {
    app.life.draining().cancelled().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
}

struct ClaimLoop {
    app: App,
    /// Kept between rounds: the pool asks a connection that comes back whether it lives, which
    /// would be a round trip for each claim. None at first and after an error.
    connection: Option<PoolConnection<Postgres>>,
    lanes: Lanes,
    payloads: Payloads,
    chooser: Chooser,
    /// Lanes in which functions of the project left something waiting: a worker
    /// that becomes free may change their mind.
    settled: HashSet<i64>,
    /// Rounds in a row in which all that was picked had gone.
    missed: u32,
    /// What waited for locks at the last pick.
    lines: usize,
    generation: u64,
    turn: usize,
    eligible: Eligibility,
    eligible_at: Option<Instant>,
    /// When a lane was looked up that was not known.
    strange_at: Option<Instant>,
    safety_at: Instant,
    redelivery_at: Instant,
}

impl ClaimLoop {
    fn new(app: App) -> Self {
        let now = Instant::now();
        ClaimLoop {
            app,
            connection: None,
            lanes: Lanes::default(),
            payloads: Payloads::default(),
            chooser: Chooser::default(),
            settled: HashSet::new(),
            missed: 0,
            lines: 0,
            generation: 1,
            turn: 0,
            eligible: Eligibility::default(),
            eligible_at: None,
            strange_at: None,
            safety_at: now,
            redelivery_at: now,
        }
    }

    async fn run(mut self) {
        let mut wakes = self.app.wakes.subscribe();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        loop {
            if self.app.life.draining().is_cancelled() {
                return;
            }
            self.hear_all(&mut wakes);
            match self.round().await {
                Ok(true) => {
                    backoff.reset();
                    continue;
                }
                Ok(false) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(%error, "claim failed; trying again");
                    // Polls that were to be asked about what they may have missed were not.
                    self.redelivery_at = Instant::now();
                    tokio::time::sleep(backoff.wait()).await;
                    continue;
                }
            }
            let drain = self.app.life.draining().clone();
            tokio::select! {
                _ = self.app.polls.wake.notified() => {}
                wake = wakes.recv() => self.hear(wake.map_err(|_| ())),
                _ = tokio::time::sleep_until(self.safety_at.into()) => {}
                _ = drain.cancelled() => return,
            }
        }
    }

    fn hear_all(&mut self, wakes: &mut broadcast::Receiver<Wake>) {
        loop {
            match wakes.try_recv() {
                Ok(wake) => self.hear(Ok(wake)),
                Err(broadcast::error::TryRecvError::Lagged(_)) => self.hear(Err(())),
                Err(_) => return,
            }
        }
    }

    fn hear(&mut self, wake: Result<Wake, ()>) {
        match wake {
            Ok(Wake::Work(lanes)) if !lanes.is_empty() => {
                self.generation += 1;
                self.lanes.mark(lanes, self.generation);
            }
            Ok(Wake::Work(_) | Wake::All) | Err(()) => self.safety_at = Instant::now(),
            Ok(Wake::Config) => {
                self.eligible_at = None;
                self.safety_at = Instant::now();
            }
            Ok(_) => {}
        }
    }

    /// One look. True if there may be more to do at once.
    async fn round(&mut self) -> Result<bool, tidemill_schema::Error> {
        let now = Instant::now();
        let (any, unsure, new) = {
            let mut waiting = self.app.polls.waiting.lock().expect("no panic while locked");
            // Polls whose request is gone wait for nobody.
            waiting.retain(|_, s| !s.answer.is_closed());
            let new = waiting.values_mut().any(|s| std::mem::take(&mut s.new) && s.waiting.free > 0);
            (!waiting.is_empty(), waiting.values().any(|s| s.unsure), new)
        };
        if new && !self.settled.is_empty() {
            self.generation += 1;
            self.lanes.mark(self.settled.drain(), self.generation);
        }
        if !any {
            self.safety_at = now + SAFETY;
            return Ok(false);
        }
        if self.eligible_at.is_none_or(|at| at.elapsed() > ELIGIBLE) {
            let mut c = self.connection().await?;
            self.eligible = eligibility(&mut c).await?;
            self.connection = Some(c);
            self.chooser.refresh(&self.app).await?;
            self.eligible_at = Some(now);
        }
        if now >= self.safety_at {
            let mut c = self.connection().await?;
            let found = lanes_waiting(&mut c).await?;
            self.connection = Some(c);
            self.generation += 1;
            self.lanes.mark(found, self.generation);
            self.safety_at = now + SAFETY;
        }
        let redeliver = unsure || now >= self.redelivery_at;
        let names: Vec<String> = {
            let waiting = self.app.polls.waiting.lock().expect("no panic while locked");
            waiting.values().filter(|s| s.waiting.free > 0).map(|s| s.worker.clone()).collect()
        };
        let eligible = &self.eligible;
        let mut lanes = self.lanes.hot(now, |lane| names.iter().any(|w| eligible.may(w, lane)));
        let strange = lanes.iter().any(|(lane, _)| !self.eligible.lanes.contains_key(lane));
        if strange && (self.chooser.asks() || self.strange_at.is_none_or(|at| at.elapsed() > STRANGE)) {
            // A lane made since the last look may be for one worker that is not here, and then
            // it is not empty because others found nothing in it.
            let mut c = self.connection().await?;
            self.eligible = eligibility(&mut c).await?;
            self.strange_at = Some(now);
            self.connection = Some(c);
            let eligible = &self.eligible;
            lanes.retain(|(lane, _)| names.iter().any(|w| eligible.may(w, *lane)));
        }
        if strange && self.chooser.asks() {
            // It may be of a builder with functions, which nothing may go around; one still
            // unknown is of a builder that is not active.
            let (known, strange): (Vec<_>, Vec<_>) =
                lanes.into_iter().partition(|(lane, _)| self.eligible.lanes.contains_key(lane));
            strange.iter().for_each(|(lane, _)| self.lanes.drained(*lane, self.generation));
            lanes = known;
        }
        if lanes.is_empty() && !redeliver {
            return Ok(false);
        }
        if redeliver {
            self.redelivery_at = now + SWEEP;
        }
        self.claim(lanes, redeliver).await
    }

    /// The loop's own; whoever takes it puts it back if nothing went wrong with it.
    async fn connection(&mut self) -> Result<PoolConnection<Postgres>, tidemill_schema::Error> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => {
                let connection = self.app.db.pool().acquire().await?;
                self.forget();
                Ok(connection)
            }
        }
    }

    /// A new connection may lead to another database: a standby that was behind,
    /// or one brought back to an earlier time. There the ids that came after it
    /// are given once more, to other things.
    fn forget(&mut self) {
        self.payloads = Payloads::default();
        self.lanes.unbound();
        self.chooser = Chooser::default();
        self.eligible_at = None;
        self.app.polls.sessions.doubt_all();
    }

    async fn claim(&mut self, lanes: Vec<(i64, i64)>, redeliver: bool) -> Result<bool, tidemill_schema::Error> {
        let generation = self.generation;
        let polls: Vec<(Waiting, String)> = {
            let mut waiting = self.app.polls.waiting.lock().expect("no panic while locked");
            waiting
                .values_mut()
                .map(|s| {
                    s.unsure = false;
                    (s.waiting.clone(), s.worker.clone())
                })
                .collect()
        };
        // At most a batch, for those who may build what is hot; from another place
        // each time, so that whom the batch left out is first some day. Who gets
        // nothing is asked about only when lost deliveries are looked for: every
        // session of a claim costs a row lock.
        self.turn = self.turn.wrapping_add(7);
        let first = self.turn % polls.len().max(1);
        let mut left = BATCH;
        let mut asked: Vec<Waiting> = Vec::new();
        for (mut w, name) in polls[first..].iter().chain(&polls[..first]).cloned() {
            let may = lanes.iter().any(|(lane, _)| self.eligible.may(&name, *lane));
            w.free = if may { w.free.min(left) } else { 0 };
            left -= w.free;
            if w.free > 0 || redeliver {
                asked.push(w);
            }
        }
        if asked.is_empty() {
            return Ok(false);
        }
        if self.chooser.concerns(&self.eligible, &lanes) {
            return self.claim_chosen(lanes, asked).await;
        }
        let started = Instant::now();
        let mut c = self.connection().await?;
        let (revision, term) = (self.chooser.revision(), self.app.settings.lease);
        let mut claimed = claim_by(&mut c, &mut self.payloads, &asked, &lanes, revision, term).await?;
        self.connection = Some(c);
        self.answer(&mut claimed);
        if claimed.moved {
            // It may have functions, which nothing may go around.
            self.eligible_at = None;
        }
        for (lane, highest) in &claimed.lanes {
            self.lanes.taken(*lane, *highest, started);
        }
        // A lane is empty, as far as these workers go, if one of them could have taken more of it.
        let spare: Vec<&String> =
            polls.iter().filter(|(w, _)| claimed.spare.get(&w.session) > Some(&0)).map(|(_, name)| name).collect();
        for (lane, _) in &lanes {
            let spare = spare.iter().any(|name| self.eligible.may(name, *lane));
            if spare {
                self.lanes.drained(*lane, generation);
            }
        }
        if claimed.fresh > 0 {
            self.app.wakes.send(Wake::Events);
        }
        Ok(claimed.fresh > 0 || claimed.moved)
    }

    /// Claims what the project's functions choose.
    async fn claim_chosen(
        &mut self,
        lanes: Vec<(i64, i64)>,
        asked: Vec<Waiting>,
    ) -> Result<bool, tidemill_schema::Error> {
        let (generation, started) = (self.generation, Instant::now());
        let mut c = self.connection().await?;
        let chosen = self.chooser.choose(&mut c, &self.app, &self.eligible, &asked, &lanes).await?;
        let Some(chosen) = chosen else { return Ok(false) };
        let picked = Picked { revision: chosen.revision, picks: chosen.picks };
        // Also without a pick: builds whose delivery was lost are looked for by the same statement.
        let mut claimed = claim_picked(&mut c, &mut self.payloads, &asked, &picked, self.app.settings.lease).await?;
        self.connection = Some(c);
        self.answer(&mut claimed);
        if claimed.moved {
            self.eligible_at = None;
        }
        // Picks may be out of order: the bound is where the queue began.
        for (lane, ticket) in chosen.first {
            self.lanes.taken(lane, ticket, started);
        }
        for lane in chosen.settled {
            self.lanes.drained(lane, generation);
            self.settled.insert(lane);
        }
        if claimed.fresh > 0 {
            self.missed = 0;
            self.app.wakes.send(Wake::Events);
            return Ok(true);
        }
        if picked.picks.is_empty() {
            return Ok(chosen.more);
        }
        // What it had to leave for want of locks stands in line now, and is not picked again.
        if std::mem::replace(&mut self.lines, chosen.waiting) != chosen.waiting {
            self.missed = 0;
        }
        // All had gone: another replica was faster, or the revision is no longer the active one.
        self.missed += 1;
        if self.missed < 5 {
            return Ok(true);
        }
        self.missed = 0;
        self.eligible_at = None;
        for pick in picked.picks {
            self.lanes.drained(pick.lane, generation);
            self.settled.insert(pick.lane);
        }
        Ok(false)
    }

    /// Gives each poll what was claimed for it.
    fn answer(&self, claimed: &mut Claimed) {
        let mut waiting = self.app.polls.waiting.lock().expect("no panic while locked");
        for (session, mut claims) in std::mem::take(&mut claimed.by_session) {
            for claim in &mut claims {
                let shown = claimed.shown.get(&claim.build).unwrap_or(&claim.builder);
                claim.url = format!("{}{}", self.app.url, build_path(shown, claim.number));
            }
            if let Some(slot) = waiting.remove(&session) {
                let claims = self.fitting(session, claims);
                // If its request has just gone, the next poll gets them again.
                let _ = slot.answer.send(claims);
            }
        }
    }

    /// The oldest of these claims that one answer can carry. The others count as
    /// not delivered: the next poll gets them.
    fn fitting(&self, session: SessionId, mut claims: Vec<Claim>) -> Vec<Claim> {
        claims.sort_by_key(|claim| claim.build);
        let mut size = 0;
        let fits = claims.iter().take_while(|claim| {
            size += claim.properties.size() + claim.changes.iter().map(NewChange::size).sum::<usize>();
            size <= ANSWER
        });
        let fits = fits.count().max(1);
        if fits < claims.len() {
            claims.truncate(fits);
            self.app.polls.sessions.doubt(session);
        }
        claims
    }
}
