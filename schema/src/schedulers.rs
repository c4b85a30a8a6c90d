//! Schedulers' rows: taken by the schedule loop of any replica, one batch in
//! one transaction, so that a change is scheduled exactly once whoever races.

use crate::Result;
use crate::changes::Cursor;
use serde_json::Value;
use sqlx::PgConnection;
use tidemill_model::SchedulerId;
use time::OffsetDateTime;

/// A scheduler, its row locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub id: SchedulerId,
    pub name: String,
    pub enabled: bool,
    pub definition: Value,
    pub cursor: Cursor,
    pub state: Value,
    pub next_at: Option<OffsetDateTime>,
}

/// What the rule decided for one scheduler.
#[derive(Clone, Debug)]
pub struct Advance {
    pub id: SchedulerId,
    pub cursor: Cursor,
    pub state: Value,
    pub next_at: Option<OffsetDateTime>,
}

/// Takes all active schedulers that no other replica holds right now, and the
/// time that their rules are to use.
pub async fn schedulers_take(c: &mut PgConnection) -> Result<(Vec<Scheduler>, OffsetDateTime)> {
    let rows = sqlx::query!(
        "select id, name, enabled, definition, cursor_xid, cursor_id, state, next_at
           from schedulers where active order by id for update skip locked"
    )
    .fetch_all(&mut *c)
    .await?;
    let now = sqlx::query_scalar!(r#"select tidemill_now() as "x!""#).fetch_one(&mut *c).await?;
    let schedulers = rows
        .into_iter()
        .map(|r| Scheduler {
            id: SchedulerId(r.id),
            name: r.name,
            enabled: r.enabled,
            definition: r.definition,
            cursor: Cursor { xid: r.cursor_xid, id: r.cursor_id },
            state: r.state,
            next_at: r.next_at,
        })
        .collect();
    Ok((schedulers, now))
}

/// Whether anything is to do, without a lock: a committed change past the
/// lowest cursor, or a timer that is due. Also how long until the next timer.
pub async fn schedulers_due(c: &mut PgConnection) -> Result<(bool, Option<f64>)> {
    let row = sqlx::query!(
        r#"select exists (
                select 1 from changes where (xid, id) > (
                    select s.cursor_xid, s.cursor_id from schedulers s where s.active
                     order by s.cursor_xid, s.cursor_id limit 1)) as "changes!",
              exists (select 1 from schedulers where active and next_at <= tidemill_now()) as "timers!",
              (select extract(epoch from min(next_at) - tidemill_now())::float8 from schedulers where active) as wait"#
    )
    .fetch_one(c)
    .await?;
    Ok((row.changes || row.timers, row.wait))
}

/// Stores new cursors and states of schedulers taken in this transaction.
pub async fn schedulers_advance(c: &mut PgConnection, advances: &[Advance]) -> Result<()> {
    let ids: Vec<i64> = advances.iter().map(|a| a.id.0).collect();
    let xids: Vec<i64> = advances.iter().map(|a| a.cursor.xid).collect();
    let cids: Vec<i64> = advances.iter().map(|a| a.cursor.id).collect();
    let states: Vec<Value> = advances.iter().map(|a| a.state.clone()).collect();
    let nexts: Vec<Option<OffsetDateTime>> = advances.iter().map(|a| a.next_at).collect();
    let done = sqlx::query!(
        "update schedulers s set cursor_xid = u.xid, cursor_id = u.cid, state = u.state, next_at = u.next_at
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::jsonb[], $5::timestamptz[])
                u(id, xid, cid, state, next_at)
          where s.id = u.id and (s.cursor_xid, s.cursor_id) <= (u.xid, u.cid)",
        &ids,
        &xids,
        &cids,
        &states,
        &nexts as &[Option<OffsetDateTime>],
    )
    .execute(c)
    .await?;
    crate::error::expect("schedulers advanced", advances.len() as u64, done.rows_affected())
}
