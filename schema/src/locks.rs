//! Locks: what is held, and who waits for it. The rows, the judgement and its
//! guarantees stand in migrations/0003_locks.sql; builds take theirs with the claim.

use crate::{Error, Result};
use sqlx::PgConnection;
use tidemill_model::LockAccess;
use tidemill_model::wire::Held;

/// What a step hears that asks for its locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It has them, all of them.
    Granted,
    /// It stands in line; in words, what for.
    Waits(String),
    LeaseLost,
    /// It cannot have them, ever.
    Refused(String),
}

/// A step asks for its locks under its build's lease. Asked again it keeps its
/// place, or what it got. Belongs into a transaction. What it got is given back
/// with the step's end, its build's, or the lease's.
pub async fn step_locks_ask(c: &mut PgConnection, held: &Held, step: u32, locks: &[LockAccess]) -> Result<Asked> {
    // As all who write for a build: so the step cannot end meanwhile.
    let lease = sqlx::query!(
        "select build_id from leases where build_id = $1 and token = $2 for update",
        held.build,
        held.token.replace('\0', "")
    )
    .fetch_optional(&mut *c)
    .await?;
    if lease.is_none() {
        return Ok(Asked::LeaseLost);
    }
    let step = i32::try_from(step).unwrap_or(0);
    let ended = sqlx::query_scalar!(
        r#"select complete_at is not null as "x!" from steps where build_id = $1 and number = $2"#,
        held.build,
        step
    )
    .fetch_optional(&mut *c)
    .await?;
    if step < 1 || ended == Some(true) {
        return Ok(Asked::Refused(format!("step {step} is not one that runs")));
    }
    let names: Vec<String> = locks.iter().map(|l| l.lock.replace('\0', "")).collect();
    // D-11: it would wait for its own build.
    let bad = sqlx::query!(
        r#"select n as "name!", h.build_id is not null as "own!"
             from unnest($1::text[]) n left join locks l on l.name = n
             left join lock_holds h on h.lock_id = l.id and h.build_id = $2 and h.step <> $3
            where l.id is null or h.build_id is not null limit 1"#,
        &names,
        held.build,
        step
    )
    .fetch_optional(&mut *c)
    .await?;
    match bad {
        Some(bad) if bad.own => {
            return Ok(Asked::Refused(format!(
                "the build holds the lock `{}` itself, so its step would wait for it for ever: take it in one place",
                bad.name
            )));
        }
        Some(bad) => {
            let message = format!("the lock `{}` is not in any configuration that was active", bad.name);
            return Ok(Asked::Refused(message));
        }
        None => {}
    }
    let accesses = serde_json::to_value(locks).map_err(|e| Error::Inconsistent(e.to_string()))?;
    let got = sqlx::query_scalar!(r#"select lock_ask($1, $2, $3) as "x!""#, held.build, step, accesses)
        .fetch_one(&mut *c)
        .await?;
    if got {
        return Ok(Asked::Granted);
    }
    let says = sqlx::query_scalar!(
        "select lock_waiter_says(ticket) from lock_waiters where build_id = $1 and step = $2",
        held.build,
        step
    )
    .fetch_one(c)
    .await?;
    Ok(Asked::Waits(says.unwrap_or_else(|| "a lock".into())))
}

/// Steps that ended give back what they hold and leave the line. Returns the
/// locks of which something was given back.
pub(crate) async fn steps_unlock(c: &mut PgConnection, steps: &[(i64, i32)]) -> Result<Vec<i64>> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let (builds, numbers): (Vec<i64>, Vec<i32>) = steps.iter().copied().unzip();
    sqlx::query!(
        "delete from lock_waiters w using unnest($1::bigint[], $2::int[]) u(build_id, step)
          where w.build_id = u.build_id and w.step = u.step",
        &builds,
        &numbers
    )
    .execute(&mut *c)
    .await?;
    Ok(sqlx::query_scalar!(
        "delete from lock_holds h using unnest($1::bigint[], $2::int[]) u(build_id, step)
          where h.build_id = u.build_id and h.step = u.step returning h.lock_id",
        &builds,
        &numbers
    )
    .fetch_all(c)
    .await?)
}

/// Whose turn it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Lanes of builders that may get their locks now.
    pub lanes: Vec<i64>,
    /// Builds with a step that may.
    pub builds: Vec<i64>,
}

/// Who could have these locks now, for a wake: after the commit that gave
/// something of them back, in a transaction of its own. A hint: whoever waits
/// also looks by itself now and then.
pub async fn locks_turns(c: &mut PgConnection, locks: &[i64]) -> Result<Turns> {
    let rows = sqlx::query!(r#"select lane, build_id from lock_turns($1)"#, locks).fetch_all(c).await?;
    let mut turns = Turns::default();
    for row in rows {
        turns.lanes.extend(row.lane);
        turns.builds.extend(row.build_id);
    }
    Ok(turns)
}

/// Builders that are not to be picked now, each with its request where only that is not.
pub async fn locks_blocked(c: &mut PgConnection, builders: &[i64]) -> Result<Vec<(i64, Option<i64>)>> {
    let rows = sqlx::query!(r#"select builder_id as "builder!", request_id from lock_blocked($1)"#, builders)
        .fetch_all(c)
        .await?;
    Ok(rows.into_iter().map(|r| (r.builder, r.request_id)).collect())
}
