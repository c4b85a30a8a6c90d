//! Pollers' rows: due ones are taken under a lease, so that a poll (seconds of
//! network) holds no lock, and its changes and cursor are committed together
//! only while the lease still stands.

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
}

/// Takes one source that is due, for at most `term`; one that a function of the
/// project polls only if `custom` says that this replica can run another.
pub async fn change_source_take(
    c: &mut PgConnection,
    master: MasterId,
    term: Duration,
    custom: bool,
) -> Result<Option<Due>> {
    let row = sqlx::query!(
        r#"update change_sources s set holder = $1, held_until = tidemill_now() + $2::interval, poll_now = false
          where id = (select id from change_sources
                       where active and next_at <= tidemill_now()
                         and (held_until is null or held_until <= tidemill_now())
                         and ($3 or definition #> '{kind,custom}' is null)
                       order by next_at limit 1 for update skip locked)
         returning id, name, definition, cursor, errors,
                   (extract(epoch from tidemill_now()) * 1000000)::bigint as "now_us!""#,
        master.0,
        interval(term),
        custom
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
    }))
}

/// How long until the next source is due that [`change_source_take`] would
/// give; none without such a source.
pub async fn change_sources_wait(c: &mut PgConnection, custom: bool) -> Result<Option<f64>> {
    Ok(sqlx::query_scalar!(
        "select extract(epoch from min(greatest(next_at, coalesce(held_until, next_at))) - tidemill_now())::float8
           from change_sources where active and ($1 or definition #> '{kind,custom}' is null)",
        custom
    )
    .fetch_one(c)
    .await?)
}

/// Commits what a poll found: changes, cursor, and the time of the next poll.
/// An error if the lease went to another replica meanwhile: nothing is stored.
pub async fn change_source_polled(
    c: &mut PgConnection,
    source: ChangeSourceId,
    master: MasterId,
    changes: &[NewChange],
    cursor: &Value,
    next: Duration,
) -> Result<()> {
    let held = sqlx::query!(
        "update change_sources
            set cursor = $3, holder = null, held_until = null,
                next_at = case when poll_now then tidemill_now() else tidemill_now() + $4::interval end,
                polled_at = tidemill_now(), error = null, errors = 0
          where id = $1 and holder = $2 and held_until > tidemill_now()",
        source.0,
        master.0,
        clean_json(cursor),
        interval(next)
    )
    .execute(&mut *c)
    .await?;
    if held.rows_affected() == 0 {
        return Err(Error::Conflict("the poll took longer than its lease; another replica polls again".into()));
    }
    changes_insert(c, changes, Some(source)).await?;
    Ok(())
}

/// Records that a poll failed, and when to try again.
pub async fn change_source_failed(
    c: &mut PgConnection,
    source: ChangeSourceId,
    master: MasterId,
    error: &str,
    next: Duration,
) -> Result<()> {
    sqlx::query!(
        "update change_sources
            set next_at = tidemill_now() + $3::interval, holder = null, held_until = null,
                polled_at = tidemill_now(), error = $4, errors = errors + 1
          where id = $1 and holder = $2",
        source.0,
        master.0,
        interval(next),
        crate::changes::clean(error)
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Gives a source back without having polled: another replica may take it at once.
pub async fn change_source_release(c: &mut PgConnection, source: ChangeSourceId, master: MasterId) -> Result<()> {
    sqlx::query!(
        "update change_sources set holder = null, held_until = null where id = $1 and holder = $2",
        source.0,
        master.0
    )
    .execute(c)
    .await?;
    Ok(())
}
