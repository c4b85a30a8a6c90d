//! The claim: requests out of the queue into the hands of waiting polls. The
//! statement, its guarantees and its order stand in migrations/0002_claim.sql.

use crate::Result;
use crate::beats::interval;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::HashMap;
use std::time::Duration;
use tidemill_model::wire::Claim;
use tidemill_model::{Properties, SessionId, SourceStamp};

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
}

/// Claims for all waiting polls in one round trip, which is its own transaction.
///
/// `lanes` are those that may hold work for these sessions, each with the
/// ticket to look from (0 looks from the start). `sessions` must differ.
pub async fn claim_builds(
    c: &mut PgConnection,
    waiting: &[Waiting],
    lanes: &[(i64, i64)],
    term: Duration,
) -> Result<Claimed> {
    let sessions: Vec<i64> = waiting.iter().map(|w| w.session.0).collect();
    let polls: Vec<i64> = waiting.iter().map(|w| w.poll as i64).collect();
    let free: Vec<i32> = waiting.iter().map(|w| w.free as i32).collect();
    let newest: Vec<i64> = waiting.iter().map(|w| w.newest).collect();
    let slots: usize = waiting.iter().map(|w| w.free as usize).sum();
    let tokens: Vec<String> = (0..slots).map(|_| tidemill_service::token::random_hex(16)).collect();
    let (lane_ids, lows): (Vec<i64>, Vec<i64>) = lanes.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"select build_id as "build_id!", session_id as "session_id!", token as "token!", attempt as "attempt!",
                  builder_id as "builder_id!", builder as "builder!", number as "number!", request_id as "request_id!",
                  revision as "revision!", properties as "properties!: Json<Properties>", sourcestamps as "sourcestamps!: Json<Vec<SourceStamp>>",
                  reason as "reason!", fresh as "fresh!", lane, ticket
             from claim_builds($1, $2, $3, $4, $5, $6, $7, $8)"#,
        &sessions,
        &polls,
        &free,
        &newest,
        &tokens,
        &lane_ids,
        &lows,
        interval(term)
    )
    .fetch_all(c)
    .await?;
    let mut claimed = Claimed::default();
    for r in rows {
        if let (true, Some(lane), Some(ticket)) = (r.fresh, r.lane, r.ticket) {
            claimed.fresh += 1;
            let highest = claimed.lanes.entry(lane).or_insert(ticket);
            *highest = ticket.max(*highest);
        }
        let claim = Claim {
            build: r.build_id,
            token: r.token,
            attempt: r.attempt as u32,
            builder: r.builder,
            builder_id: r.builder_id,
            number: r.number,
            request: r.request_id,
            revision: r.revision,
            properties: r.properties.0,
            sourcestamps: r.sourcestamps.0,
            reason: r.reason,
        };
        claimed.by_session.entry(SessionId(r.session_id)).or_default().push(claim);
    }
    Ok(claimed)
}
