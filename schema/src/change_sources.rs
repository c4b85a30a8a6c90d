//! Pollers' rows: due ones are taken under a lease, so that a poll (seconds of
//! network) holds no lock, and its changes and cursor are committed together
//! only while no other poll has begun.
//!
//! The lease is short and renewed while the poll runs ([`change_source_hold`]):
//! when its replica dies, another takes the source within a term. A long poll
//! stores what it found in pages ([`change_source_page`]), so that whoever goes
//! on begins there.

use crate::beats::interval;
use crate::changes::{changes_insert, clean_json};
use crate::{Error, Result};
use serde_json::Value;
use sqlx::PgConnection;
use std::time::Duration;
use tidemill_model::{ChangeSourceId, MasterId, NewChange};

#[derive(Clone, Debug)]
pub struct Due {
    pub id: ChangeSourceId,
    pub name: String,
    pub definition: Value,
    /// None before the first poll.
    pub cursor: Option<Value>,
    /// Failures in a row.
    pub errors: i32,
    /// When it was taken, microseconds since 1970.
    pub now_us: i64,
    /// Number of this poll of the source.
    pub hold: i64,
}

/// What a replica has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Polls by functions of the project.
    pub custom: bool,
    /// All others.
    pub others: bool,
    /// Of either, those that failed when they were polled last.
    pub failing: bool,
}

/// Takes one source that is due and that there is room for, for `term`.
pub async fn change_source_take(
    c: &mut PgConnection,
    master: MasterId,
    term: Duration,
    room: Room,
) -> Result<Option<Due>> {
    let row = sqlx::query!(
        r#"update change_sources s
              set holder = $1, held_until = tidemill_now() + $2::interval, hold = hold + 1, poll_now = false
          where id = (select id from change_sources
                       where active and next_at <= tidemill_now()
                         and (held_until is null or held_until <= tidemill_now())
                         and case when definition #> '{kind,custom}' is null then $4::bool else $3::bool end
                         and (errors = 0 or $5::bool)
                       order by next_at limit 1 for update skip locked)
         returning id, name, definition, cursor, errors, hold,
                   (extract(epoch from tidemill_now()) * 1000000)::bigint as "now_us!""#,
        master.0,
        interval(term),
        room.custom,
        room.others,
        room.failing
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Due {
        id: ChangeSourceId(r.id),
        name: r.name,
        definition: r.definition,
        cursor: r.cursor,
        errors: r.errors,
        now_us: r.now_us,
        hold: r.hold,
    }))
}

/// How long until the next source is due that [`change_source_take`] would
/// give; none without such a source.
pub async fn change_sources_wait(c: &mut PgConnection, room: Room) -> Result<Option<f64>> {
    Ok(sqlx::query_scalar!(
        "select extract(epoch from min(greatest(next_at, coalesce(held_until, next_at))) - tidemill_now())::float8
           from change_sources
          where active and next_at is not null
            and case when definition #> '{kind,custom}' is null then $2::bool else $1::bool end
            and (errors = 0 or $3::bool)",
        room.custom,
        room.others,
        room.failing
    )
    .fetch_one(c)
    .await?)
}

/// Renews the lease of a poll that runs. False if it is no longer the source's:
/// nothing that it finds will be stored.
pub async fn change_source_hold(c: &mut PgConnection, due: &Due, term: Duration) -> Result<bool> {
    let held = sqlx::query!(
        "update change_sources set held_until = greatest(held_until, tidemill_now() + $3::interval)
          where id = $1 and hold = $2 and held_until is not null",
        due.id.0,
        due.hold,
        interval(term)
    )
    .execute(c)
    .await?;
    Ok(held.rows_affected() == 1)
}

/// Commits a part of what a poll found: these changes, and the cursor behind
/// them. The poll goes on, for at least another term.
pub async fn change_source_page(
    c: &mut PgConnection,
    due: &Due,
    changes: &[NewChange],
    cursor: &Value,
    term: Duration,
) -> Result<()> {
    let held = sqlx::query!(
        "update change_sources
            set cursor = $3, held_until = greatest(held_until, tidemill_now() + $4::interval)
          where id = $1 and hold = $2 and held_until is not null",
        due.id.0,
        due.hold,
        clean_json(cursor),
        interval(term)
    )
    .execute(&mut *c)
    .await?;
    still_held(held.rows_affected())?;
    changes_insert(c, changes, Some(due.id)).await?;
    Ok(())
}

/// Commits what a poll found: changes, cursor, the time of the next poll, and a
/// note that is shown where an error would be.
/// An error if another poll began meanwhile, or the source was defined anew:
/// nothing is stored.
pub async fn change_source_polled(
    c: &mut PgConnection,
    due: &Due,
    changes: &[NewChange],
    cursor: &Value,
    next: Duration,
    note: Option<&str>,
) -> Result<()> {
    let held = sqlx::query!(
        "update change_sources
            set cursor = $3, holder = null, held_until = null,
                next_at = case when poll_now then tidemill_now() else tidemill_now() + $4::interval end,
                polled_at = tidemill_now(), good_at = tidemill_now(), error = $5, errors = 0
          where id = $1 and hold = $2 and held_until is not null",
        due.id.0,
        due.hold,
        clean_json(cursor),
        interval(next),
        note.map(crate::changes::clean)
    )
    .execute(&mut *c)
    .await?;
    still_held(held.rows_affected())?;
    changes_insert(c, changes, Some(due.id)).await?;
    Ok(())
}

fn still_held(rows: u64) -> Result<()> {
    match rows {
        0 => Err(Error::Conflict("the source was taken or defined anew meanwhile; it is polled again".into())),
        _ => Ok(()),
    }
}

/// Records that a poll failed, and when to try again.
pub async fn change_source_failed(c: &mut PgConnection, due: &Due, error: &str, next: Duration) -> Result<()> {
    sqlx::query!(
        "update change_sources
            set next_at = case when poll_now then tidemill_now() else tidemill_now() + $3::interval end,
                holder = null, held_until = null, polled_at = tidemill_now(), error = $4, errors = errors + 1
          where id = $1 and hold = $2 and held_until is not null",
        due.id.0,
        due.hold,
        interval(next),
        crate::changes::clean(error)
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Gives a source back without having polled: another replica may take it at once.
pub async fn change_source_release(c: &mut PgConnection, due: &Due) -> Result<()> {
    sqlx::query!(
        "update change_sources set holder = null, held_until = null where id = $1 and hold = $2",
        due.id.0,
        due.hold
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Leaves a source alone until it is defined anew: nothing polls it. `why` is
/// none for one that others push to.
pub async fn change_source_rest(c: &mut PgConnection, due: &Due, why: Option<&str>) -> Result<()> {
    sqlx::query!(
        "update change_sources set next_at = null, holder = null, held_until = null, error = $3, errors = 0
          where id = $1 and hold = $2",
        due.id.0,
        due.hold,
        why
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Which source is meant.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    Id(ChangeSourceId),
    Name(&'a str),
    /// Those that look at this repository, as hooks of a server name it.
    Repository(&'a str),
}

/// Asks for a poll now, or after the one that runs; back-off is forgotten.
/// Returns the names of those that will poll: none for what is not defined, or
/// is not polled. Wake [`crate::wake::Wake::Poll`] after the commit.
pub async fn change_source_poll_now(c: &mut PgConnection, which: Which<'_>) -> Result<Vec<String>> {
    let (id, name, repository) = match which {
        Which::Id(id) => (Some(id.0), None, None),
        Which::Name(name) => (None, Some(name), None),
        Which::Repository(repository) => (None, None, Some(repository)),
    };
    Ok(sqlx::query_scalar!(
        r"update change_sources set next_at = tidemill_now(), poll_now = held_until is not null
          where active and next_at is not null
            and (id = $1 or name = $2
                 -- Known by the address without user and password.
                 or regexp_replace(jsonb_path_query_first(definition, '$.**.repourl') #>> '{}',
                                   '^([a-z+]+://)[^/]*@', '\1') = $3)
         returning name",
        id,
        name,
        repository
    )
    .fetch_all(c)
    .await?)
}
