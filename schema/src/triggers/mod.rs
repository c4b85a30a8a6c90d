//! Triggers: builds that a running build starts.
//!
//! What a trigger makes commits with its row, under the lock of the build's
//! lease. Its key makes it once: two copies of one call, at two replicas, wait
//! for each other at the lease, and the second finds what the first made. A call
//! under a lease that is gone makes nothing.
//!
//! A build that waits asks by [`trigger_watch`]; what nobody waits for any more
//! [`children_let_go`] cancels.

mod let_go;
mod prune;
mod remember;
mod watch;

pub use let_go::{Forsaken, LetGo, children_let_go, triggers_forsaken};
pub use prune::triggers_prune;
pub use remember::{Held, scheduler_remember, schedulers_hold};
pub use watch::{pending_blocked, trigger_watch};

use crate::{Result, error};
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::wire::Fired;
use tidemill_model::{BuildId, ChangeId, SourceStamp};

/// Which trigger of which build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub build: BuildId,
    pub step: i32,
    pub nth: i32,
}

/// What builds inherit from the one that starts them.
#[derive(Clone, Debug)]
pub struct Parent {
    /// The changes that led to it, each with its codebase.
    pub changes: Vec<(ChangeId, String)>,
    /// Its sources.
    pub sourcestamps: Vec<SourceStamp>,
    /// The highest of its request and of those that became part of it (D-36).
    pub priority: i32,
    /// How many builds stand above it, each triggered by the next.
    pub depth: i32,
}

/// The facts of a build whose lease stands; none if that is gone. Depth is
/// counted up to `depth_max`.
pub async fn trigger_parent(
    c: &mut PgConnection,
    build: BuildId,
    token: &str,
    depth_max: i32,
) -> Result<Option<Parent>> {
    let row = sqlx::query!(
        r#"select build_depth(b.id, $3) as "depth!",
                  buildset_stamps(r.buildset_id) as "stamps!: Json<Vec<SourceStamp>>",
                  (select max(q.priority) from build_requests q
                    where q.id = r.id or q.collapsed_into = r.id) as "priority!",
                  array(select x.change_id from buildset_changes x where x.buildset_id = r.buildset_id
                         order by x.change_id) as "changes!",
                  array(select h.codebase from buildset_changes x join changes h on h.id = x.change_id
                         where x.buildset_id = r.buildset_id order by x.change_id) as "codebases!"
             from leases l
             join builds b on b.id = l.build_id
             join build_requests r on r.id = b.request_id
            where l.build_id = $1 and l.token = $2"#,
        build.0,
        token.replace('\0', ""),
        depth_max
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Parent {
        changes: r.changes.into_iter().map(ChangeId).zip(r.codebases).collect(),
        sourcestamps: r.stamps.0,
        priority: r.priority,
        depth: r.depth,
    }))
}

/// What a call finds under the lock of its build's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Locked {
    LeaseLost,
    /// It was stored before, and made this.
    Known(Vec<Fired>),
    New,
}

/// Locks the lease to the end of the transaction, and looks whether the call was stored before.
pub async fn trigger_lock(c: &mut PgConnection, key: Key, token: &str) -> Result<Locked> {
    let lease = sqlx::query_scalar!(
        "select build_id from leases where build_id = $1 and token = $2 for update",
        key.build.0,
        token.replace('\0', "")
    )
    .fetch_optional(&mut *c)
    .await?;
    if lease.is_none() {
        return Ok(Locked::LeaseLost);
    }
    Ok(trigger_known(c, key).await?.map_or(Locked::New, Locked::Known))
}

/// What the trigger made, if it is stored.
pub async fn trigger_known(c: &mut PgConnection, key: Key) -> Result<Option<Vec<Fired>>> {
    let rows = sqlx::query!(
        r#"select s.scheduler as "scheduler?", s.unimportant as "unimportant?", s.buildset_id as "buildset?"
             from triggers t left join trigger_buildsets s on s.trigger_id = t.id
            where t.build_id = $1 and t.step = $2 and t.nth = $3 order by s.position"#,
        key.build.0,
        key.step,
        key.nth
    )
    .fetch_all(c)
    .await?;
    let known = !rows.is_empty();
    let fired = rows.into_iter().filter_map(|r| {
        Some(Fired { scheduler: r.scheduler?, unimportant: r.unimportant.unwrap_or(false), buildset: r.buildset })
    });
    Ok(known.then(|| fired.collect()))
}

/// Stores a trigger that [`trigger_lock`] found to be new, after its buildsets.
pub async fn trigger_insert(c: &mut PgConnection, key: Key, waits: bool, made: &[Fired]) -> Result<()> {
    let schedulers: Vec<String> = made.iter().map(|m| m.scheduler.clone()).collect();
    let unimportant: Vec<bool> = made.iter().map(|m| m.unimportant).collect();
    let buildsets: Vec<Option<i64>> = made.iter().map(|m| m.buildset).collect();
    let stored = sqlx::query_scalar!(
        r#"with made as (
             insert into triggers (build_id, step, nth, state, after_stop)
             select b.id, $2, $3, case when $4::boolean then 'waiting' else 'over' end, b.stop_reason is not null
               from builds b where b.id = $1
             returning id
         ), sets as (
             insert into trigger_buildsets (trigger_id, position, scheduler, buildset_id, unimportant)
             select m.id, u.ord::int, u.scheduler, u.buildset, u.unimportant
               from made m, unnest($5::text[], $6::boolean[], $7::bigint[])
                    with ordinality u(scheduler, unimportant, buildset, ord)
             returning 1
         )
         select count(*) as "n!" from sets"#,
        key.build.0,
        key.step,
        key.nth,
        waits,
        &schedulers,
        &unimportant,
        &buildsets as &[Option<i64>]
    )
    .fetch_one(c)
    .await?;
    error::expect("buildsets of a trigger", made.len() as u64, stored as u64)
}

/// Those of these schedulers that are switched off.
pub async fn schedulers_disabled(c: &mut PgConnection, names: &[String]) -> Result<Vec<String>> {
    let rows =
        sqlx::query_scalar!("select name from schedulers where name = any($1) and not enabled order by 1", names);
    Ok(rows.fetch_all(c).await?)
}
