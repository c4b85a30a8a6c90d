//! Schedulers that only remember that they were triggered: what they remember is
//! in their state.

use crate::changes::clean_json;
use crate::{Result, error};
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

/// A scheduler that is to remember something, its row locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct Held {
    pub id: i64,
    pub name: String,
    pub state: Value,
    pub enabled_at: Option<OffsetDateTime>,
}

/// Locks these schedulers, and says the time that is to be used.
pub async fn schedulers_hold(c: &mut PgConnection, names: &[String]) -> Result<(Vec<Held>, OffsetDateTime)> {
    let rows = sqlx::query!(
        "select id, name, state, enabled_at from schedulers where name = any($1) and active order by id for update",
        names
    )
    .fetch_all(&mut *c)
    .await?;
    let now = sqlx::query_scalar!(r#"select tidemill_now() as "x!""#).fetch_one(c).await?;
    let held = rows.into_iter().map(|r| Held { id: r.id, name: r.name, state: r.state, enabled_at: r.enabled_at });
    Ok((held.collect(), now))
}

/// Stores what a held one remembers now, and when it is to fire.
pub async fn scheduler_remember(
    c: &mut PgConnection,
    id: i64,
    state: &Value,
    next_at: Option<OffsetDateTime>,
    summary: &str,
) -> Result<()> {
    let done = sqlx::query!(
        "update schedulers set state = $2, next_at = $3, summary = $4 where id = $1",
        id,
        clean_json(state),
        next_at,
        summary
    )
    .execute(c)
    .await?;
    error::expect("schedulers that remember", 1, done.rows_affected())
}
