//! Schedulers' rows: taken by the schedule loop of any replica, one batch in
//! one transaction, so that a change is scheduled exactly once whoever races.
//!
//! A batch has those that have something to do, and not too many of them: ten
//! thousand whose time comes in the same minute are many short transactions,
//! which any number of replicas share.
//!
//! One whose function failed is left alone until its time to try again: its
//! cursors stay where they were, so it loses nothing, and the others go on.

use crate::Result;
use crate::changes::{Cursor, clean, clean_json};
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
    /// Whether it looks at changes.
    pub watches: bool,
    /// When it was enabled, if it was disabled before.
    pub enabled_at: Option<OffsetDateTime>,
    /// Who wants it to run now.
    pub run_asked_by: Option<String>,
    pub summary: String,
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
    /// It did what somebody asked for, or will not.
    pub ran: bool,
    pub summary: String,
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
            ran: false,
            summary: self.summary.clone(),
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

/// Most schedulers of one transaction.
pub const BATCH: usize = 200;

/// Takes schedulers that have something to do, that no other replica holds right
/// now and that are not left alone after a failure, [`BATCH`] at most; and the
/// time that their rules are to use. Those that are furthest behind come first.
pub async fn schedulers_take(c: &mut PgConnection) -> Result<(Vec<Scheduler>, OffsetDateTime)> {
    // What lies above the horizon is nobody's yet.
    let at = sqlx::query!(
        r#"with h as materialized (select tidemill_horizon() as x),
                c as (select xid, id from changes where xid < (select x from h) order by xid desc, id desc limit 1),
                e as (select xid, id from events where kind in ('buildsets.new', 'buildsets.complete')
                         and xid < (select x from h) order by xid desc, id desc limit 1)
           select tidemill_now() as "now!", coalesce((select xid from c), 0) as "change_xid!",
                  coalesce((select id from c), 0) as "change_id!", coalesce((select xid from e), 0) as "event_xid!",
                  coalesce((select id from e), 0) as "event_id!""#
    )
    .fetch_one(&mut *c)
    .await?;
    let rows = sqlx::query!(
        "select id, name, enabled, definition, cursor_xid, cursor_id, heard_xid, heard_id, state, next_at, failures,
                watches, enabled_at, run_asked_by, summary
           from schedulers where id in (
                select id from schedulers_ready($1, $2, $3, $4, $5))
          order by cursor_xid, cursor_id, id limit $6 for update skip locked",
        at.now,
        at.change_xid,
        at.change_id,
        at.event_xid,
        at.event_id,
        BATCH as i64
    )
    .fetch_all(&mut *c)
    .await?;
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
            watches: r.watches,
            enabled_at: r.enabled_at,
            run_asked_by: r.run_asked_by,
            summary: r.summary,
        })
        .collect();
    Ok((schedulers, at.now))
}

/// Whether anything is to do, without a lock: a committed change past the
/// lowest cursor, a buildset of which one is to hear, a timer that is due, a
/// wish. One that is left alone counts by its time to try again.
pub async fn schedulers_due(c: &mut PgConnection) -> Result<Due> {
    let row = sqlx::query!(
        r#"with n as materialized (select tidemill_now() as now),
                c as (select xid, id from changes order by xid desc, id desc limit 1),
                e as (select xid, id from events where kind in ('buildsets.new', 'buildsets.complete')
                       order by xid desc, id desc limit 1)
           select exists (select 1 from schedulers_ready((select now from n), (select xid from c), (select id from c),
                                                         (select xid from e), (select id from e))) as "due!",
                  exists (select 1 from schedulers where active and hears) as "listens!",
                  (select extract(epoch from min(coalesce(s.retry_at, s.next_at)) - (select now from n))::float8
                     from schedulers s where s.active) as wait"#
    )
    .fetch_one(c)
    .await?;
    Ok(Due { due: row.due, wait: row.wait, listens: row.listens })
}

/// Stores new cursors and states of schedulers taken in this transaction.
pub async fn schedulers_advance(c: &mut PgConnection, advances: &[Advance]) -> Result<()> {
    fn column<T>(advances: &[Advance], f: impl Fn(&Advance) -> T) -> Vec<T> {
        advances.iter().map(f).collect()
    }
    let done = sqlx::query!(
        "update schedulers s set cursor_xid = u.xid, cursor_id = u.cid, heard_xid = u.hxid, heard_id = u.hid,
                                 state = u.state, next_at = u.next_at, retry_at = u.retry_at, failures = u.failures,
                                 run_asked_at = case when not u.ran then s.run_asked_at end,
                                 run_asked_by = case when not u.ran then s.run_asked_by end, summary = u.summary
           from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::jsonb[],
                       $7::timestamptz[], $8::timestamptz[], $9::int[], $10::bool[], $11::text[])
                u(id, xid, cid, hxid, hid, state, next_at, retry_at, failures, ran, summary)
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
        &column(advances, |a| a.ran),
        &column(advances, |a| clean(&a.summary)),
    )
    .execute(c)
    .await?;
    crate::error::expect("schedulers advanced", advances.len() as u64, done.rows_affected())
}
