//! The event stream, and the only reader of it.
//!
//! Ids commit out of order, so a reader goes by the pair (xid, id) and only up
//! to the horizon below which no transaction is still open. What it has read is
//! complete: no late commit slips in before the cursor.

use crate::Result;
use crate::changes::Cursor;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// An entry of the stream.
#[derive(Clone, Debug)]
pub struct Event {
    pub at_cursor: Cursor,
    pub at: OffsetDateTime,
    /// Topic and verb, such as `builds.finished`.
    pub kind: String,
    pub builder_id: Option<i64>,
    pub build_id: Option<i64>,
    pub data: serde_json::Value,
}

/// What a reader got, and whether committed rows above the horizon wait.
#[derive(Debug)]
pub struct Page {
    pub events: Vec<Event>,
    pub more_above_horizon: bool,
}

impl Cursor {
    /// The id that clients get to resume with; also orders as text of equal length.
    pub fn encode(self) -> String {
        format!("{}-{}", self.xid, self.id)
    }

    pub fn decode(text: &str) -> Option<Cursor> {
        let (xid, id) = text.rsplit_once('-')?;
        Some(Cursor { xid: xid.parse().ok()?, id: id.parse().ok()? })
    }
}

/// Where the stream ends now: a reader that begins here sees everything that
/// commits later.
pub async fn events_end(c: &mut PgConnection) -> Result<Cursor> {
    let xid = sqlx::query_scalar!(r#"select tidemill_horizon() as "x!""#).fetch_one(c).await?;
    Ok(Cursor { xid, id: 0 })
}

pub async fn events_after(c: &mut PgConnection, after: Cursor, limit: i64) -> Result<Page> {
    let rows = sqlx::query!(
        r#"with h as materialized (select tidemill_horizon() as horizon)
         select e.xid, e.id, e.at, e.kind, e.builder_id, e.build_id, e.data,
                e.xid < h.horizon as "settled!"
           from h, lateral (
                select * from events where (xid, id) > ($1, $2) order by xid, id limit $3) e
          order by e.xid, e.id"#,
        after.xid,
        after.id,
        limit
    )
    .fetch_all(c)
    .await?;
    let more_above_horizon = rows.iter().any(|r| !r.settled);
    let events = rows
        .into_iter()
        .take_while(|r| r.settled)
        .map(|r| Event {
            at_cursor: Cursor { xid: r.xid, id: r.id },
            at: r.at,
            kind: r.kind,
            builder_id: r.builder_id,
            build_id: r.build_id,
            data: r.data,
        })
        .collect();
    Ok(Page { events, more_above_horizon })
}

/// The oldest entry still kept, if any: a reader behind it has missed some.
pub async fn events_start(c: &mut PgConnection) -> Result<Option<Cursor>> {
    let row = sqlx::query!("select xid, id from events order by xid, id limit 1").fetch_optional(c).await?;
    Ok(row.map(|r| Cursor { xid: r.xid, id: r.id }))
}

/// Removes entries older than `days`, in small batches of their own
/// transactions; returns how many. Cursors do not hold them back.
pub async fn events_prune(db: &crate::Db, days: i32) -> Result<u64> {
    let mut removed = 0;
    loop {
        let n = sqlx::query!(
            "delete from events where (xid, id) in (
                 select xid, id from (select xid, id, at from events order by xid, id limit 5000) oldest
                  where at < tidemill_now() - $1 * interval '1 day')",
            days as f64
        )
        .execute(db.pool())
        .await?
        .rows_affected();
        removed += n;
        if n < 5000 {
            return Ok(removed);
        }
    }
}

/// A reader's place, its row locked until the transaction ends. None while another replica has it;
/// one that was never here begins at the end of the stream.
pub async fn reader_take(c: &mut PgConnection, name: &str) -> Result<Option<Cursor>> {
    sqlx::query!(
        "insert into event_readers (name, xid, id)
         select $1, tidemill_horizon(), 0 where not exists (select from event_readers where name = $1)
         on conflict do nothing",
        name
    )
    .execute(&mut *c)
    .await?;
    let row = sqlx::query!("select xid, id from event_readers where name = $1 for update skip locked", name)
        .fetch_optional(c)
        .await?;
    Ok(row.map(|r| Cursor { xid: r.xid, id: r.id }))
}

pub async fn reader_advance(c: &mut PgConnection, name: &str, to: Cursor) -> Result<()> {
    let done = sqlx::query!(
        "update event_readers set xid = $2, id = $3 where name = $1 and (xid, id) <= ($2, $3)",
        name,
        to.xid,
        to.id
    )
    .execute(c)
    .await?;
    crate::error::expect("readers advanced", 1, done.rows_affected())
}

/// Nobody needs it any more: one that comes back begins anew.
pub async fn reader_forget(c: &mut PgConnection, name: &str) -> Result<()> {
    sqlx::query!("delete from event_readers where name = $1", name).execute(c).await?;
    Ok(())
}
