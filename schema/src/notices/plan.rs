//! What a plan commits: deliveries, together with the planner's new place in the
//! event stream, so that each event is planned once however many plan.

use super::{Moment, Way};
use crate::Result;
use crate::changes::clean;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The planner's place in the event stream.
pub const READER: &str = "notifiers";

/// Longest address, in characters: it is part of a key.
const ADDRESS_MAX: usize = 500;

/// A delivery that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// The event's place in the stream, and its time.
    pub xid: i64,
    pub event_id: i64,
    pub at: OffsetDateTime,
    pub reporter: String,
    /// Which of the reporter's generators.
    pub generator: i32,
    pub moment: Moment,
    /// How the generator calls it: `failing`, `change`, …
    pub mode: String,
    pub builder: Option<i64>,
    pub build: Option<i64>,
    pub buildset: Option<i64>,
    pub request: Option<i64>,
    pub worker: Option<i64>,
    pub way: Way,
    pub destination: String,
    pub address: String,
    pub facts: Value,
    pub order_key: Option<String>,
    /// None: a new one.
    pub message_id: Option<String>,
    /// Gathered this long with others to the same address, microseconds.
    pub wait_us: u64,
    /// Not told any more when the event is older, microseconds.
    pub max_age_us: u64,
}

/// The revision whose reporters plan, with its definition. None before the first.
pub async fn active(c: &mut PgConnection) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!("select revision_id from active_revision").fetch_optional(c).await?)
}

/// The reporters of a revision, as stored with it.
pub async fn reporters(c: &mut PgConnection, revision: i64) -> Result<Option<Value>> {
    let row = sqlx::query_scalar!("select definition -> 'reporters' from config_revisions where id = $1", revision)
        .fetch_optional(c)
        .await?;
    Ok(row.flatten())
}

/// Stores deliveries; one that is there already stays as it is. A notice that is too old is stored
/// as expired, so that people see what was not told. Returns how many are new and due.
pub async fn deliveries_insert(c: &mut PgConnection, revision: i64, planned: &[Planned]) -> Result<u64> {
    if planned.is_empty() {
        return Ok(0);
    }
    let destinations = destinations_intern(c, planned).await?;
    let each = |f: &dyn Fn(&Planned) -> Option<i64>| planned.iter().map(f).collect::<Vec<_>>();
    let texts = |f: &dyn Fn(&Planned) -> String| planned.iter().map(f).collect::<Vec<_>>();
    let xids: Vec<i64> = planned.iter().map(|p| p.xid).collect();
    let ids: Vec<i64> = planned.iter().map(|p| p.event_id).collect();
    let ats: Vec<OffsetDateTime> = planned.iter().map(|p| p.at).collect();
    let generators: Vec<i32> = planned.iter().map(|p| p.generator).collect();
    let to: Vec<i64> = planned.iter().map(|p| destinations[&(p.way, clean(&p.destination))]).collect();
    let facts: Vec<Value> = planned.iter().map(|p| crate::changes::clean_json(&p.facts)).collect();
    let orders: Vec<Option<String>> = planned.iter().map(|p| p.order_key.as_deref().map(clean)).collect();
    let messages: Vec<Option<String>> = planned.iter().map(|p| p.message_id.as_deref().map(clean)).collect();
    let waits: Vec<f64> = planned.iter().map(|p| p.wait_us as f64 / 1e6).collect();
    let ages: Vec<f64> = planned.iter().map(|p| p.max_age_us as f64 / 1e6).collect();
    let made = sqlx::query_scalar!(
        r#"with new as (
             select x.*, x.at + x.age * interval '1 second' as expires,
                    -- Joins what is already gathered for the address.
                    coalesce((select min(d.not_before) from deliveries d
                               where x.wait > 0 and d.gathered and d.attempts = 0 and d.destination_id = x.destination and d.reporter = x.reporter
                                 and d.address = x.address and d.state = 'due'),
                             tidemill_now() + x.wait * interval '1 second') as due
               from unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::text[], $5::int[], $6::text[],
                           $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
                           $13::bigint[], $14::text[], $15::jsonb[], $16::text[], $17::float8[], $18::float8[],
                           $20::text[])
                    with ordinality
                    as x(xid, event_id, at, reporter, generator, moment, mode, builder, build, buildset, request,
                         worker, destination, address, facts, order_key, wait, age, message, ord)
         ), made as (
             insert into deliveries (xid, event_id, at, reporter, generator, moment, mode, revision_id, builder_id,
                                     build_id, buildset_id, request_id, worker_id, destination_id, address, facts,
                                     order_key, message_id, gathered, not_before, expires_at, state, ended_at, answer)
             select xid, event_id, at, reporter, generator, moment, mode, $19, builder, build, buildset, request,
                    worker, destination, address, facts, order_key,
                    coalesce(message, gen_random_uuid()::text), wait > 0, due, expires,
                    case when expires < tidemill_now() then 'expired' else 'due' end,
                    case when expires < tidemill_now() then tidemill_now() end,
                    case when expires < tidemill_now() then 'too old when it was planned' end
               from new order by ord
             on conflict (xid, event_id, reporter, generator, address, build_id) do nothing
             returning state
         )
         select count(*) filter (where state = 'due') as "n!" from made"#,
        &xids,
        &ids,
        &ats,
        &texts(&|p| clean(&p.reporter)),
        &generators,
        &texts(&|p| p.moment.name().into()),
        &texts(&|p| clean(&p.mode)),
        &each(&|p| p.builder) as &[Option<i64>],
        &each(&|p| p.build) as &[Option<i64>],
        &each(&|p| p.buildset) as &[Option<i64>],
        &each(&|p| p.request) as &[Option<i64>],
        &each(&|p| p.worker) as &[Option<i64>],
        &to,
        &texts(&|p| clean(&p.address).chars().take(ADDRESS_MAX).collect()),
        &facts,
        &orders as &[Option<String>],
        &waits,
        &ages,
        revision,
        &messages as &[Option<String>]
    )
    .fetch_one(c)
    .await?;
    Ok(u64::try_from(made).unwrap_or_default())
}

/// Ids of the destinations; new ones are made. A read, where all are known.
async fn destinations_intern(c: &mut PgConnection, planned: &[Planned]) -> Result<BTreeMap<(Way, String), i64>> {
    let mut wanted: Vec<(Way, String)> = planned.iter().map(|p| (p.way, clean(&p.destination))).collect();
    wanted.sort();
    wanted.dedup();
    let kinds: Vec<String> = wanted.iter().map(|(way, _)| way.name().into()).collect();
    let names: Vec<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
    for _ in 0..2 {
        let rows = sqlx::query!(
            r#"select x.ord as "ord!", d.id from unnest($1::text[], $2::text[]) with ordinality x(kind, name, ord)
                 join destinations d on d.kind = x.kind and d.name = x.name"#,
            &kinds,
            &names
        )
        .fetch_all(&mut *c)
        .await?;
        if rows.len() == wanted.len() {
            let by_place = rows.into_iter().map(|r| (usize::try_from(r.ord - 1).unwrap_or_default(), r.id));
            return Ok(by_place.map(|(place, id)| (wanted[place].clone(), id)).collect());
        }
        sqlx::query!(
            "insert into destinations (kind, name) select * from unnest($1::text[], $2::text[]) x(kind, name)
              order by 1, 2 on conflict do nothing",
            &kinds,
            &names
        )
        .execute(&mut *c)
        .await?;
    }
    Err(crate::Error::Inconsistent("destinations: an insert left some of them out".into()))
}
