//! The claim: requests out of the queue into the hands of waiting polls. The
//! statement, its guarantees and its order stand in migrations/0002_claim.sql.
//!
//! What comes back from it are numbers; what a build starts with (source
//! stamps, properties, reason, changes) is immutable and added from [`Payloads`]. If
//! that fails, the builds are claimed but not delivered, as after a lost reply:
//! the next poll gets them.

mod payloads;

pub use payloads::Payloads;

use crate::Result;
use crate::beats::interval;
use payloads::Key;
use sqlx::PgConnection;
use sqlx::types::{Json, JsonRawValue};
use std::collections::HashMap;
use std::time::Duration;
use tidemill_model::wire::{CLAIM_CHANGES_MAX, Claim};
use tidemill_model::{LockAccess, SessionId, SourceStamp};

/// A poll that waits in this replica.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub session: SessionId,
    pub poll: u64,
    pub free: u32,
    /// The highest build id that the session's worker knows.
    pub newest: i64,
}

/// What a claim gave.
#[derive(Debug, Default)]
pub struct Claimed {
    /// For each session that got something: builds new and delivered again.
    pub by_session: HashMap<SessionId, Vec<Claim>>,
    /// How many were new.
    pub fresh: usize,
    /// For each lane that gave something, the highest ticket taken.
    pub lanes: HashMap<i64, i64>,
    /// Slots of each poll that could have taken more. Not those of a worker that is paused, too
    /// old for the revision, or has as many builds as it may: that they are free says nothing of a lane.
    pub spare: HashMap<SessionId, u32>,
    /// Nothing new was given, because another revision is the active one.
    pub moved: bool,
    /// Of builds that appear under a virtual builder, its name.
    pub shown: HashMap<i64, String>,
}

/// What policies decided: which pending request goes to which of the polls.
#[derive(Clone, Debug, Default)]
pub struct Picked {
    /// The revision whose policies decided.
    pub revision: i64,
    pub picks: Vec<Pick>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    pub lane: i64,
    pub ticket: i64,
    pub session: SessionId,
    /// Locks that the build is to hold besides its worker's; `None` where its builder has none.
    pub locks: Option<Vec<LockAccess>>,
}

/// Claims exactly what was picked, as far as it is still there and its poll may
/// have it; the most important first. One round trip, which is its own transaction.
pub async fn claim_picked(
    c: &mut PgConnection,
    payloads: &mut Payloads,
    waiting: &[Waiting],
    picked: &Picked,
    term: Duration,
) -> Result<Claimed> {
    claim(c, payloads, waiting, &[], picked, term).await
}

/// Claims for all waiting polls in one round trip, which is its own transaction.
///
/// `lanes` are those that may hold work for these sessions, each with the
/// ticket to look from (0 looks from the start). `sessions` must differ.
/// A second round trip reads what `payloads` does not hold yet.
pub async fn claim_builds(
    c: &mut PgConnection,
    payloads: &mut Payloads,
    waiting: &[Waiting],
    lanes: &[(i64, i64)],
    term: Duration,
) -> Result<Claimed> {
    claim_by(c, payloads, waiting, lanes, 0, term).await
}

/// The same, for a caller who knows that this revision (none: 0) has no functions that
/// have a say: if another one is active, nothing new is given.
pub async fn claim_by(
    c: &mut PgConnection,
    payloads: &mut Payloads,
    waiting: &[Waiting],
    lanes: &[(i64, i64)],
    revision: i64,
    term: Duration,
) -> Result<Claimed> {
    claim(c, payloads, waiting, lanes, &Picked { revision, picks: vec![] }, term).await
}

async fn claim(
    c: &mut PgConnection,
    payloads: &mut Payloads,
    waiting: &[Waiting],
    lanes: &[(i64, i64)],
    picked: &Picked,
    term: Duration,
) -> Result<Claimed> {
    let sessions: Vec<i64> = waiting.iter().map(|w| w.session.0).collect();
    let polls: Vec<i64> = waiting.iter().map(|w| w.poll as i64).collect();
    let free: Vec<i32> = waiting.iter().map(|w| w.free as i32).collect();
    let newest: Vec<i64> = waiting.iter().map(|w| w.newest).collect();
    let slots: usize = waiting.iter().map(|w| w.free as usize).sum();
    let mut tokens = tidemill_service::token::random_hexes(slots, 16);
    let (lane_ids, lows): (Vec<i64>, Vec<i64>) = lanes.iter().copied().unzip();
    let place = |p: &Pick| waiting.iter().position(|w| w.session == p.session).map(|i| i as i32 + 1);
    let picks: Vec<(&Pick, i32)> = picked.picks.iter().filter_map(|p| Some((p, place(p)?))).collect();
    let pick_lanes: Vec<i64> = picks.iter().map(|(p, _)| p.lane).collect();
    let pick_tickets: Vec<i64> = picks.iter().map(|(p, _)| p.ticket).collect();
    let pick_slots: Vec<i32> = picks.iter().map(|(_, slot)| *slot).collect();
    let locked = picks.iter().any(|(p, _)| p.locks.is_some());
    let pick_locks: Vec<Option<serde_json::Value>> = match locked {
        true => picks.iter().map(|(p, _)| p.locks.as_ref().and_then(|l| serde_json::to_value(l).ok())).collect(),
        false => vec![],
    };
    let rows = sqlx::query_as!(
        Row,
        r#"select slot as "slot!", build_id as build, token, attempt, builder_id as builder, shown_id as shown, number,
                  request_id as request, buildset_id as buildset, settings_id as settings, revision_id as revision,
                  worker_id as worker, lane, ticket, usable
             from claim_builds($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"#,
        &sessions,
        &polls,
        &free,
        &newest,
        &tokens,
        &lane_ids,
        &lows,
        interval(term),
        picked.revision,
        &pick_lanes,
        &pick_tickets,
        &pick_slots,
        &pick_locks as &[Option<serde_json::Value>]
    )
    .fetch_all(&mut *c)
    .await?;
    let mut claimed = Claimed::default();
    let mut fresh = Vec::with_capacity(rows.len());
    let mut again = Vec::new();
    let mut spare: Vec<u32> = waiting.iter().map(|w| w.free).collect();
    for row in rows {
        let Some(slot) = (row.slot as usize).checked_sub(1) else {
            claimed.moved = true;
            continue;
        };
        match (row.usable, row.build, row.fresh()) {
            (Some(usable), _, _) => spare[slot] = usable.max(0) as u32,
            (None, _, Some(taken)) => fresh.push((slot, taken)),
            (None, Some(build), None) => again.push((slot, build)),
            (None, None, None) => {}
        }
    }
    fresh.iter().for_each(|(slot, _)| spare[*slot] = spare[*slot].saturating_sub(1));
    claimed.spare = waiting.iter().map(|w| w.session).zip(spare).collect();
    claimed.fresh = fresh.len();
    payloads.load(c, fresh.iter().map(|(_, t)| t.key)).await?;
    for (slot, taken) in fresh {
        let highest = claimed.lanes.entry(taken.lane).or_insert(taken.ticket);
        *highest = taken.ticket.max(*highest);
        let token = std::mem::take(&mut tokens[taken.token]);
        claimed.shown.extend(payloads.shown(taken.key).map(|name| (taken.build, name)));
        match payloads.claim(&taken, token) {
            Ok(claim) => claimed.by_session.entry(waiting[slot].session).or_default().push(claim),
            // Its lease runs out, and the next attempt says the same; the others go on.
            Err(error) => tracing::error!(build = taken.build, %error, "cannot deliver a build"),
        }
    }
    if !again.is_empty() {
        let builds: Vec<i64> = again.iter().map(|(_, build)| *build).collect();
        let mut found = redelivered(c, &builds).await?;
        for (slot, build) in again {
            // One that was finished in between is no longer open.
            if let Some((claim, shown)) = found.remove(&build) {
                claimed.shown.extend(shown.map(|name| (build, name)));
                claimed.by_session.entry(waiting[slot].session).or_default().push(claim);
            }
        }
    }
    Ok(claimed)
}

/// What the statement gives for each build, and for polls that may take less than they said.
struct Row {
    slot: i32,
    build: Option<i64>,
    token: Option<i32>,
    attempt: Option<i32>,
    builder: Option<i64>,
    shown: Option<i64>,
    number: Option<i64>,
    request: Option<i64>,
    buildset: Option<i64>,
    settings: Option<i64>,
    revision: Option<i64>,
    worker: Option<i64>,
    lane: Option<i64>,
    ticket: Option<i64>,
    usable: Option<i32>,
}

/// A new build, in numbers.
struct Taken {
    build: i64,
    /// Index of its token.
    token: usize,
    attempt: i32,
    number: i64,
    request: i64,
    key: Key,
    lane: i64,
    ticket: i64,
}

impl Row {
    /// None for a build that is delivered again.
    fn fresh(&self) -> Option<Taken> {
        Some(Taken {
            build: self.build?,
            token: self.token? as usize - 1,
            attempt: self.attempt?,
            number: self.number?,
            request: self.request?,
            key: Key {
                buildset: self.buildset?,
                builder: self.builder?,
                shown: self.shown?,
                settings: self.settings?,
                revision: self.revision?,
                worker: self.worker?,
            },
            lane: self.lane?,
            ticket: self.ticket?,
        })
    }
}

/// Open builds whose delivery may have been lost: rare, so in full from the rows. Each with the
/// name of the virtual builder that it appears under.
async fn redelivered(c: &mut PgConnection, builds: &[i64]) -> Result<HashMap<i64, (Claim, Option<String>)>> {
    let rows = sqlx::query!(
        r#"select b.id, b.token, b.attempt, q.builder_id, u.name as builder, v.name as "shown?", b.number, b.request_id, r.hash as revision,
                  build_started_with(b.id) as "properties!: Json<Box<JsonRawValue>>", s.reason,
                  buildset_stamps(s.id) as "sourcestamps!: Json<Vec<SourceStamp>>",
                  buildset_blame(s.id, $2) as "changes: Json<Vec<Box<JsonRawValue>>>",
                  buildset_trusted(s.id) as "trusted!"
             from builds b
             join config_revisions r on r.id = b.revision_id
             join build_requests q on q.id = b.request_id
             join builders u on u.id = q.builder_id
             left join builders v on v.id = b.builder_id and v.id <> q.builder_id
             join buildsets s on s.id = q.buildset_id
            where b.id = any($1) and b.state <> 'finished'"#,
        builds,
        CLAIM_CHANGES_MAX
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|r| {
            let properties = payloads::readable("build", r.id, &r.properties)?;
            let claim = Claim {
                build: r.id,
                token: r.token,
                attempt: r.attempt as u32,
                builder: r.builder,
                builder_id: r.builder_id,
                number: r.number,
                request: r.request_id,
                revision: r.revision,
                properties,
                sourcestamps: r.sourcestamps.0,
                reason: r.reason,
                changes: payloads::blame(r.changes).0,
                trusted: r.trusted,
                url: String::new(),
            };
            Some((r.id, (claim, r.shown)))
        })
        .collect())
}
