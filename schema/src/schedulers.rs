//! Schedulers' rows: taken by the schedule loop of any replica, one batch in
//! one transaction, so that a change is scheduled exactly once whoever races.
//!
//! One whose function failed is left alone until its time to try again: its
//! cursors stay where they were, so it loses nothing, and the others go on.

use crate::Result;
use crate::changes::{Cursor, clean_json};
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
    /// Finished buildsets that it has heard of, as a position in the event stream.
    pub heard: Cursor,
    pub state: Value,
    pub next_at: Option<OffsetDateTime>,
    /// How often its functions failed in a row.
    pub failures: i32,
}

/// What the rule decided for one scheduler.
#[derive(Clone, Debug)]
pub struct Advance {
    pub id: SchedulerId,
    pub cursor: Cursor,
    pub heard: Cursor,
    pub state: Value,
    pub next_at: Option<OffsetDateTime>,
    /// One of its functions failed, so many times in a row: left alone until then.
    pub retry: Option<(OffsetDateTime, i32)>,
}

impl Scheduler {
    /// With everything as it is.
    pub fn unchanged(&self) -> Advance {
        Advance {
            id: self.id,
            cursor: self.cursor,
            heard: self.heard,
            state: self.state.clone(),
            next_at: self.next_at,
            retry: None,
        }
    }
}

/// Whether a pass has anything to do.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    pub due: bool,
    /// Seconds until the next timer, if there is one.
    pub wait: Option<f64>,
    /// Some scheduler hears of finished buildsets.
    pub listens: bool,
}

/// Takes the active schedulers that no other replica holds right now and that
/// are not left alone after a failure, and the time that their rules are to
/// use. Those that are furthest behind come first.
pub async fn schedulers_take(c: &mut PgConnection) -> Result<(Vec<Scheduler>, OffsetDateTime)> {
    let rows = sqlx::query!(
        "select id, name, enabled, definition, cursor_xid, cursor_id, heard_xid, heard_id, state, next_at, failures
           from schedulers where active and (retry_at is null or retry_at <= tidemill_now())
          order by cursor_xid, cursor_id, id for update skip locked"
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
            heard: Cursor { xid: r.heard_xid, id: r.heard_id },
            state: r.state,
            next_at: r.next_at,
            failures: r.failures,
        })
        .collect();
    Ok((schedulers, now))
}

/// Whether anything is to do, without a lock: a committed change past the
/// lowest cursor, a buildset that finished and of which one is to hear, or a
/// timer that is due. One that is left alone counts by its time to try again.
pub async fn schedulers_due(c: &mut PgConnection) -> Result<Due> {
    let row = sqlx::query!(
        r#"with s as materialized (
               select cursor_xid, cursor_id, heard_xid, heard_id, coalesce(retry_at, next_at) as at,
                      coalesce(retry_at <= tidemill_now(), true) as ready,
                      coalesce(jsonb_array_length(definition #> '{kind,custom,upstream}') > 0, false) as listens
                 from schedulers where active)
           select exists (
                select 1 from changes where (xid, id) > (
                    select cursor_xid, cursor_id from s where ready order by cursor_xid, cursor_id limit 1)) as "changes!",
              exists (
                select 1 from events where kind = 'buildsets.complete' and (xid, id) > (
                    select heard_xid, heard_id from s where ready and listens
                     order by heard_xid, heard_id limit 1)) as "finished!",
              exists (select 1 from s where at <= tidemill_now()) as "timers!",
              exists (select 1 from s where listens) as "listens!",
              (select extract(epoch from min(at) - tidemill_now())::float8 from s) as wait"#
    )
    .fetch_one(c)
    .await?;
    Ok(Due { due: row.changes || row.finished || row.timers, wait: row.wait, listens: row.listens })
}

/// Stores new cursors and states of schedulers taken in this transaction.
pub async fn schedulers_advance(c: &mut PgConnection, advances: &[Advance]) -> Result<()> {
    fn column<T>(advances: &[Advance], f: impl Fn(&Advance) -> T) -> Vec<T> {
        advances.iter().map(f).collect()
    }
    let done = sqlx::query!(
        "update schedulers s set cursor_xid = u.xid, cursor_id = u.cid, heard_xid = u.hxid, heard_id = u.hid,
                                 state = u.state, next_at = u.next_at, retry_at = u.retry_at, failures = u.failures
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::jsonb[],
                       $7::timestamptz[], $8::timestamptz[], $9::int[])
                u(id, xid, cid, hxid, hid, state, next_at, retry_at, failures)
          where s.id = u.id and (s.cursor_xid, s.cursor_id) <= (u.xid, u.cid)
            and (s.heard_xid, s.heard_id) <= (u.hxid, u.hid)",
        &column(advances, |a| a.id.0),
        &column(advances, |a| a.cursor.xid),
        &column(advances, |a| a.cursor.id),
        &column(advances, |a| a.heard.xid),
        &column(advances, |a| a.heard.id),
        &column(advances, |a| clean_json(&a.state)),
        &column(advances, |a| a.next_at) as &[Option<OffsetDateTime>],
        &column(advances, |a| a.retry.map(|(at, _)| at)) as &[Option<OffsetDateTime>],
        &column(advances, |a| a.retry.map_or(0, |(_, failures)| failures)),
    )
    .execute(c)
    .await?;
    crate::error::expect("schedulers advanced", advances.len() as u64, done.rows_affected())
}
