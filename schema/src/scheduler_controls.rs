//! What people do to schedulers: enable, disable, run now. Both last: they are
//! columns of the row, and neither a restart nor another revision changes them.

use crate::Result;
use crate::changes::clean;
use serde_json::Value;
use sqlx::PgConnection;

/// A scheduler whose row is locked, as someone sees it who is to change it.
#[derive(Clone, Debug)]
pub struct Controlled {
    pub name: String,
    pub active: bool,
    pub enabled: bool,
    pub definition: Value,
    pub state: Value,
}

/// Locks a scheduler's row, waiting for a pass that decides right now.
pub async fn scheduler_lock(c: &mut PgConnection, id: i64) -> Result<Option<Controlled>> {
    let row =
        sqlx::query!("select name, active, enabled, definition, state from schedulers where id = $1 for update", id)
            .fetch_optional(c)
            .await?;
    Ok(row.map(|r| Controlled {
        name: r.name,
        active: r.active,
        enabled: r.enabled,
        definition: r.definition,
        state: r.state,
    }))
}

/// Enables or disables. True if it was not so already. One that is enabled begins
/// at the horizon of now: what came while it was disabled is not its own, also
/// where nobody had passed it by yet.
pub async fn scheduler_enable(c: &mut PgConnection, id: i64, enabled: bool, by: &str) -> Result<bool> {
    let changed = sqlx::query_scalar!(
        r#"with done as (
             update schedulers
                set enabled = $2, enabled_at = case when $2 then tidemill_now() else enabled_at end,
                    cursor_xid = case when $2 then greatest(cursor_xid, h.x) else cursor_xid end,
                    cursor_id = case when $2 and cursor_xid < h.x then 0 else cursor_id end,
                    heard_xid = case when $2 then greatest(heard_xid, h.x) else heard_xid end,
                    heard_id = case when $2 and heard_xid < h.x then 0 else heard_id end,
                    -- What rested is looked at again; what was asked for rests with it.
                    next_at = tidemill_now(),
                    run_asked_at = case when $2 then run_asked_at end, run_asked_by = case when $2 then run_asked_by end
               from (select tidemill_horizon() as x) h
              where id = $1 and enabled <> $2
             returning id
         ), told as (
             insert into events (kind, data)
             select 'schedulers.updated', jsonb_build_object('schedulerid', id, 'enabled', $2::bool, 'by', $3::text)
               from done
         )
         select count(*) as "n!" from done"#,
        id,
        enabled,
        clean(by)
    )
    .fetch_one(c)
    .await?;
    Ok(changed == 1)
}

/// Asks it to run now; once more before it did changes nothing.
pub async fn scheduler_ask(c: &mut PgConnection, id: i64, by: &str) -> Result<()> {
    sqlx::query!(
        "with done as (
             update schedulers set run_asked_at = tidemill_now(), run_asked_by = $2
              where id = $1 and run_asked_at is null
             returning id
         )
         insert into events (kind, data)
         select 'schedulers.updated', jsonb_build_object('schedulerid', id, 'run', true, 'by', $2::text) from done",
        id,
        clean(by)
    )
    .execute(c)
    .await?;
    Ok(())
}
