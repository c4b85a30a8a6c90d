//! How a delivery is claimed, and what became of it. States are drawn in docs/states.md.
//!
//! A sender holds what it claimed for a time of the database's clock. What it
//! does not record by then is due again: it was perhaps sent, and the second
//! time carries the same message id.

use super::{Moment, Way};
use crate::beats::interval;
use crate::changes::clean;
use crate::{Error, Result, run_tx};
use serde_json::Value;
use sqlx::PgConnection;
use std::time::Duration;
use time::OffsetDateTime;

/// Longest answer that is kept.
const ANSWER_MAX: usize = 1000;

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// When it happened.
    pub at: OffsetDateTime,
    pub generator: i32,
    pub moment: Moment,
    pub mode: String,
    pub builder: Option<i64>,
    pub build: Option<i64>,
    pub buildset: Option<i64>,
    pub request: Option<i64>,
    pub worker: Option<i64>,
    /// What the plan knew.
    pub facts: Value,
}

/// A delivery in a sender's hands.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    pub id: i64,
    pub told: Told,
    pub reporter: String,
    pub revision: i64,
    pub destination: i64,
    pub address: String,
    pub order_key: Option<String>,
    pub message_id: String,
    /// This one included.
    pub attempts: i32,
    pub expired: bool,
    /// Nothing else was due to its address when it was claimed, and nothing goes along with it.
    pub alone: bool,
}

/// What a sender may take.
#[derive(Clone, Debug)]
pub struct Room {
    pub ways: Vec<Way>,
    /// Destinations that it is sending to, and how many more each may get.
    pub busy: Vec<(i64, i32)>,
    /// How many any other destination may get.
    pub each: i32,
    pub most: i32,
    /// IRC networks whose connection it holds; nobody else can speak there.
    pub irc: Vec<String>,
}

/// Moments that this release has words for: what a newer one planned is left to it.
fn known() -> Vec<String> {
    Moment::ALL.map(|m| m.name().to_owned()).to_vec()
}

pub async fn deliveries_claim(
    c: &mut PgConnection,
    room: &Room,
    holder: &str,
    term: Duration,
) -> Result<Vec<Delivery>> {
    let ways: Vec<String> = room.ways.iter().map(|w| w.name().to_owned()).collect();
    let (busy, free): (Vec<i64>, Vec<i32>) = room.busy.iter().copied().unzip();
    let rows = sqlx::query!(
        r#"select id as "id!", at as "at!", reporter as "reporter!", generator as "generator!", moment as "moment!",
                  mode as "mode!", revision_id as "revision_id!", builder_id, build_id, buildset_id, request_id,
                  worker_id, destination_id as "destination_id!", address as "address!", facts as "facts!", order_key,
                  message_id as "message_id!", attempts as "attempts!", expires_at < tidemill_now() as "expired!",
                  not exists (select from deliveries o
                               where o.destination_id = d.destination_id and o.reporter = d.reporter
                                 and o.address = d.address and o.state = 'due' and o.id <> d.id)
                  and not exists (select from deliveries f where f.folded_into = d.id) as "alone!"
             from deliveries_claim($1, $2, $3, $4, $5, $6, $7, $8, $9) d order by id"#,
        &ways,
        &busy,
        &free,
        room.each,
        room.most,
        &room.irc,
        &known(),
        holder,
        interval(term)
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Delivery {
            id: r.id,
            told: Told {
                at: r.at,
                generator: r.generator,
                moment: Moment::named(&r.moment).expect("only known ones were asked for"),
                mode: r.mode,
                builder: r.builder_id,
                build: r.build_id,
                buildset: r.buildset_id,
                request: r.request_id,
                worker: r.worker_id,
                facts: r.facts,
            },
            reporter: r.reporter,
            revision: r.revision_id,
            destination: r.destination_id,
            address: r.address,
            order_key: r.order_key,
            message_id: r.message_id,
            attempts: r.attempts,
            expired: r.expired,
            alone: r.alone,
        })
        .collect())
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    Sent {
        answer: String,
    },
    /// Due again after this.
    Again {
        why: String,
        after: Duration,
    },
    /// The same, and the other side has it perhaps.
    Unsure {
        why: String,
        after: Duration,
    },
    /// The destination is down: due again, and this was no attempt.
    Down {
        why: String,
    },
    Parked {
        why: String,
    },
    Expired {
        why: String,
    },
    Superseded {
        why: String,
    },
}

impl Became {
    /// State, text, seconds to wait, and whether the attempt counts.
    fn parts(&self) -> (&'static str, &str, f64, bool) {
        match self {
            Became::Sent { answer } => ("sent", answer, 0.0, true),
            Became::Again { why, after } => ("due", why, after.as_secs_f64(), true),
            Became::Unsure { why, after } => ("due", why, after.as_secs_f64(), true),
            Became::Down { why } => ("due", why, 0.0, false),
            Became::Parked { why } => ("parked", why, 0.0, true),
            Became::Expired { why } => ("expired", why, 0.0, false),
            Became::Superseded { why } => ("superseded", why, 0.0, false),
        }
    }
}

/// Records what became of deliveries that this holder still holds; of any other somebody else will
/// say. Returns those that were recorded.
pub async fn deliveries_record(c: &mut PgConnection, holder: &str, became: &[(i64, Became)]) -> Result<Vec<i64>> {
    let ids: Vec<i64> = became.iter().map(|(id, _)| *id).collect();
    let parts: Vec<_> = became.iter().map(|(_, b)| b.parts()).collect();
    let states: Vec<String> = parts.iter().map(|p| p.0.to_owned()).collect();
    let answers: Vec<String> = parts.iter().map(|p| line(p.1)).collect();
    let waits: Vec<f64> = parts.iter().map(|p| p.2).collect();
    let counts: Vec<bool> = parts.iter().map(|p| p.3).collect();
    let unsure: Vec<bool> = became.iter().map(|(_, b)| matches!(b, Became::Unsure { .. })).collect();
    Ok(sqlx::query_scalar!(
        r#"update deliveries d
              set state = x.state, answer = x.answer, holder = null, held_until = null,
                  not_before = case when x.state = 'due' then tidemill_now() + x.wait * interval '1 second'
                                    else d.not_before end,
                  attempts = d.attempts - case when x.counts then 0 else 1 end,
                  ended_at = case when x.state <> 'due' then tidemill_now() end,
                  unsure = d.unsure or x.unsure
             from unnest($2::bigint[], $3::text[], $4::text[], $5::float8[], $6::bool[], $7::bool[])
                  as x(id, state, answer, wait, counts, unsure)
            where d.id = x.id and d.state = 'sending' and d.holder = $1
           returning d.id"#,
        holder,
        &ids,
        &states,
        &answers,
        &waits,
        &counts,
        &unsure
    )
    .fetch_all(c)
    .await?)
}

/// Gives a delivery that only named somebody an address. False where this address is told of the same
/// event already, or the delivery is not this holder's any more.
pub async fn delivery_addressed(c: &mut PgConnection, id: i64, holder: &str, address: &str) -> Result<bool> {
    // Two names of one event may be one person, and be asked for at the same time.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('deliveries.address ' || lower($1), 0))", address)
        .execute(&mut *c)
        .await?;
    let done = sqlx::query!(
        "update deliveries d set address = $3, facts = d.facts - 'lookup'
          where d.id = $1 and d.state = 'sending' and d.holder = $2
            and not exists (select from deliveries o
                             where o.xid = d.xid and o.event_id = d.event_id and o.reporter = d.reporter
                               and o.generator = d.generator and o.build_id is not distinct from d.build_id
                               and o.id <> d.id and lower(o.address) = lower($3))",
        id,
        holder,
        clean(address)
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Goes on holding what is still being sent. Returns what is still held.
pub async fn deliveries_renew(c: &mut PgConnection, holder: &str, ids: &[i64], term: Duration) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar!(
        "update deliveries set held_until = tidemill_now() + $3
          where id = any($2) and state = 'sending' and holder = $1 returning id",
        holder,
        ids,
        interval(term)
    )
    .fetch_all(c)
    .await?)
}

/// Gives back what its holder no longer holds: sent, or not. Returns how many.
pub async fn deliveries_reap(c: &mut PgConnection) -> Result<u64> {
    Ok(sqlx::query!(
        "update deliveries set state = 'due', holder = null, held_until = null, not_before = tidemill_now(), unsure = true,
                answer = 'its sender was lost before it could say what became of it'
          where id in (select id from deliveries where state = 'sending' and held_until < tidemill_now()
                        order by held_until limit 1000 for no key update skip locked)
            and state = 'sending' and held_until < tidemill_now()"
    )
    .execute(c)
    .await?
    .rows_affected())
}

/// Of mails just claimed that are part of a storm to their address only the oldest is kept, to lead
/// the others, and none where one leads already; the rest is given back as if it had never been
/// claimed. Returns what was given back.
pub async fn deliveries_calm(c: &mut PgConnection, holder: &str, claimed: &[i64], storm: i64) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar!(
        r#"with mine as materialized (
             select d.id, d.destination_id, d.reporter, d.address, d.revision_id
               from deliveries d join destinations x on x.id = d.destination_id and x.kind = 'mail'
              where d.id = any($2) and d.state = 'sending' and d.holder = $1
                and d.order_key is null and d.moment <> 'test' and not d.unsure
         ), keys as (
             select destination_id, reporter, address, revision_id, min(id) as oldest, count(*) as claimed
               from mine group by 1, 2, 3, 4
         ), storms as (
             select k.*, exists (select from deliveries e
                                  where e.destination_id = k.destination_id and e.reporter = k.reporter
                                    and e.address = k.address and e.state = 'sending' and e.id < k.oldest) as led
               from keys k
              where k.claimed + (select count(*) from (
                        select from deliveries d
                         where d.destination_id = k.destination_id and d.reporter = k.reporter
                           and d.address = k.address and d.state = 'due' and d.revision_id = k.revision_id
                           and d.not_before <= tidemill_now() and not d.unsure limit $3) x) >= $3
         )
         update deliveries d
            set state = 'due', holder = null, held_until = null, attempts = d.attempts - 1
           from storms s
           join mine m on m.destination_id = s.destination_id and m.reporter = s.reporter
                      and m.address = s.address and m.revision_id = s.revision_id
          where d.id = m.id and (s.led or m.id <> s.oldest)
         returning d.id"#,
        holder,
        claimed,
        storm
    )
    .fetch_all(c)
    .await?)
}

/// Takes along the other notices that are due to the same address of the same reporter, in the same
/// order or in none, to be sent as one, if there are at least `storm` of them: the oldest, at most `most`, of the same revision.
/// What was perhaps sent goes as it was: its message id has a meaning for who got it. The one that
/// leads is told as long as the youngest of them would be.
pub async fn deliveries_fold(
    c: &mut PgConnection,
    leader: &Delivery,
    holder: &str,
    storm: i64,
    most: i64,
) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar!(
        // Who leads is locked: nobody may take it for lost, and send it without them, meanwhile.
        r#"with leader as materialized (
             select d.revision_id, d.gathered from deliveries d
              where d.id = $1 and d.state = 'sending' and d.holder = $5 and d.moment <> 'test' and not d.unsure
                for no key update
         ), others as (
             select o.id from leader d cross join deliveries o
              where o.destination_id = $2 and o.reporter = $3 and o.address = $4 and o.state = 'due' and o.id <> $1
                and o.order_key is not distinct from $8 and o.not_before <= tidemill_now() and not o.unsure
                and o.moment <> 'test' and o.moment = any($9)
                -- Of digests one is in hand at a time, and what follows it is its own.
                and o.revision_id = d.revision_id and o.gathered = d.gathered
              order by o.id limit $7 for no key update of o skip locked
         ), enough as (
             select id from others where (select count(*) from others) >= $6
         ), folded as (
             update deliveries d set state = 'folded', folded_into = $1, ended_at = tidemill_now()
               from enough e where d.id = e.id and d.state = 'due'
             returning d.id, d.expires_at
         ), theirs as (
             -- What led others brings them along.
             update deliveries set folded_into = $1 where folded_into in (select id from enough)
         ), youngest as (
             update deliveries
                set expires_at = greatest(expires_at, (select max(expires_at) from folded))
              where id = $1 and exists (select from folded)
         )
         select id from folded"#,
        leader.id,
        leader.destination,
        leader.reporter,
        leader.address,
        holder,
        storm,
        most,
        leader.order_key,
        &known()
    )
    .fetch_all(c)
    .await?)
}

/// What goes with a delivery, oldest first, with its ids.
pub async fn deliveries_folded(c: &mut PgConnection, leader: i64) -> Result<Vec<(i64, Told)>> {
    let rows = sqlx::query!(
        "select id, at, generator, moment, mode, builder_id, build_id, buildset_id, request_id, worker_id, facts
           from deliveries where folded_into = $1 order by id",
        leader
    )
    .fetch_all(c)
    .await?;
    rows.into_iter()
        .map(|r| {
            // Who folded it in knows it, and may go on with it.
            let moment = Moment::named(&r.moment).ok_or_else(|| {
                Error::Schema(format!(
                    "a notifier of a newer release planned a «{}», which this one cannot tell",
                    r.moment
                ))
            })?;
            Ok((
                r.id,
                Told {
                    at: r.at,
                    generator: r.generator,
                    moment,
                    mode: r.mode,
                    builder: r.builder_id,
                    build: r.build_id,
                    buildset: r.buildset_id,
                    request: r.request_id,
                    worker: r.worker_id,
                    facts: r.facts,
                },
            ))
        })
        .collect()
}

/// Those of what goes with a delivery that cannot be put into words stay behind, parked, with why.
pub async fn deliveries_unfold(c: &mut PgConnection, leader: i64, broken: &[(i64, String)]) -> Result<u64> {
    let ids: Vec<i64> = broken.iter().map(|(id, _)| *id).collect();
    let whys: Vec<String> = broken.iter().map(|(_, why)| line(why)).collect();
    Ok(sqlx::query!(
        "update deliveries d set state = 'parked', folded_into = null, answer = x.why, ended_at = tidemill_now()
           from unnest($2::bigint[], $3::text[]) x(id, why)
          where d.id = x.id and d.state = 'folded' and d.folded_into = $1",
        leader,
        &ids,
        &whys
    )
    .execute(c)
    .await?
    .rows_affected())
}

/// Whether a status is old news: a later one of the same order and request waits, or was sent, as
/// when this one was given up and is tried again by hand. `one`: all of this order is one status,
/// and then one of a later request that was sent counts too.
pub async fn overtaken(c: &mut PgConnection, delivery: &Delivery, one: bool) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (select from deliveries
                           where order_key = $2 and state = 'due' and id > $1 and request_id = $3)
               or exists (select from deliveries
                           where order_key = $2 and state = 'sent' and id > $1 and ($4 or request_id = $3)) as "x!""#,
        delivery.id,
        delivery.order_key.as_deref(),
        delivery.told.request,
        one
    )
    .fetch_one(c)
    .await?)
}

/// Nothing can be handed to a destination: it is left alone for a while, longer each time up to ten
/// minutes, a quarter up or down. However many were sending to it, that is one failure.
pub async fn destination_down(c: &mut PgConnection, id: i64, why: &str) -> Result<()> {
    sqlx::query!(
        "update destinations
            set failures = failures + 1, error = $2, failed_at = tidemill_now(),
                not_before = tidemill_now()
                           + least(600, power(2, least(failures, 10))) * (0.75 + random() / 2) * interval '1 second'
          where id = $1 and (not_before is null or not_before <= tidemill_now())",
        id,
        line(why)
    )
    .execute(c)
    .await?;
    Ok(())
}

/// It took something: nothing is written where it was not down.
pub async fn destination_up(c: &mut PgConnection, id: i64) -> Result<bool> {
    let done =
        sqlx::query!("update destinations set failures = 0, not_before = null where id = $1 and failures > 0", id)
            .execute(c)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// Time until the next delivery that waits, of any of these ways and IRC networks; none if nothing
/// waits. What waits for a destination that is down counts from when that is tried again, what waits
/// for one in `full` not at all.
pub async fn next_due(c: &mut PgConnection, ways: &[Way], irc: &[String], full: &[i64]) -> Result<Option<Duration>> {
    let ways: Vec<String> = ways.iter().map(|w| w.name().to_owned()).collect();
    let seconds = sqlx::query_scalar!(
        r#"select extract(epoch from min(greatest(x.not_before, d.not_before)) - tidemill_now())::float8
             from destinations d
            cross join lateral (select not_before from deliveries q where q.destination_id = d.id and q.state = 'due'
                                 order by not_before limit 1) x
            where d.kind = any($1) and (d.kind <> 'irc' or d.name = any($2)) and d.id <> all($3)"#,
        &ways,
        irc,
        full
    )
    .fetch_one(c)
    .await?;
    Ok(seconds.map(|s| Duration::from_secs_f64(s.max(0.0))))
}

/// Removes what ended more than `days` ago, in small transactions; those that were folded first.
pub async fn notices_prune(db: &crate::Db, days: i32) -> Result<u64> {
    let mut removed = 0;
    loop {
        let n = run_tx!(db, "notices.prune", |c| sqlx::query!(
            "delete from deliveries where id in (
                 select id from deliveries where ended_at < tidemill_now() - $1 * interval '1 day'
                  order by ended_at limit 5000)",
            days as f64
        )
        .execute(c)
        .await
        .map_err(crate::Error::from)
        .map(|done| done.rows_affected()))?;
        removed += n;
        if n < 5000 {
            return Ok(removed);
        }
    }
}

/// One line without what a row cannot hold.
fn line(text: &str) -> String {
    clean(text).split(['\r', '\n']).collect::<Vec<_>>().join(" ").chars().take(ANSWER_MAX).collect()
}
