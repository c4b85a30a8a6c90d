//! Locks and workers of a definition, as rows.
//!
//! A lock keeps its row by name, whatever becomes of it, so what holds it is
//! never lost. A new capacity counts from the activation on: what is held above
//! it is given back in its time. A lock that the revision no longer names stays
//! what it was for steps of builds that began with an older revision.

use super::{WantedLock, WantedWorker};
use crate::Result;
use serde_json::Value;
use sqlx::PgConnection;
use tidemill_model::LockAccess;

/// Null where there are none, which is what a claim looks at.
pub fn accesses(locks: &[LockAccess]) -> Option<Value> {
    (!locks.is_empty()).then(|| serde_json::to_value(locks).unwrap_or_default())
}

pub async fn locks(c: &mut PgConnection, wanted: &[WantedLock]) -> Result<()> {
    let names: Vec<String> = wanted.iter().map(|l| l.name.clone()).collect();
    let kinds: Vec<String> = wanted.iter().map(|l| if l.of_workers { "worker" } else { "master" }.to_owned()).collect();
    let capacities: Vec<i32> = wanted.iter().map(|l| i32::try_from(l.capacity).unwrap_or(i32::MAX)).collect();
    let of: Vec<Value> = wanted
        .iter()
        .map(|l| {
            let bounded = l.capacities.iter().map(|(w, n)| (w.clone(), Value::from((*n).min(i32::MAX as u32))));
            Value::Object(bounded.collect())
        })
        .collect();
    sqlx::query!(
        "with w as (select * from unnest($1::text[], $2::text[], $3::int[], $4::jsonb[]) u(name, kind, capacity, capacities)
         ), changed as (
             update locks l set active = true, kind = w.kind, capacity = w.capacity, capacities = w.capacities
               from w where l.name = w.name
                and (l.active, l.kind, l.capacity, l.capacities) is distinct from (true, w.kind, w.capacity, w.capacities)
         )
         insert into locks (name, kind, capacity, capacities)
         select * from w where not exists (select from locks l where l.name = w.name)",
        &names,
        &kinds,
        &capacities,
        &of
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!("update locks set active = false where active and name <> all($1)", &names).execute(c).await?;
    Ok(())
}

pub async fn workers(c: &mut PgConnection, wanted: &[WantedWorker]) -> Result<()> {
    let wanted: Vec<_> = wanted
        .iter()
        .filter(|w| !w.locks.is_empty() || w.max_builds.is_some() || w.missing_after.is_some() || w.trusted_only)
        .collect();
    let names: Vec<String> = wanted.iter().map(|w| w.name.clone()).collect();
    let locks: Vec<Option<Value>> = wanted.iter().map(|w| accesses(&w.locks)).collect();
    let most: Vec<Option<i32>> =
        wanted.iter().map(|w| w.max_builds.map(|n| i32::try_from(n).unwrap_or(i32::MAX))).collect();
    let missing: Vec<Option<i64>> =
        wanted.iter().map(|w| w.missing_after.map(|d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))).collect();
    let trusted_only: Vec<bool> = wanted.iter().map(|w| w.trusted_only).collect();
    sqlx::query!("delete from worker_definitions where worker_name <> all($1)", &names).execute(&mut *c).await?;
    sqlx::query!(
        "insert into worker_definitions as d (worker_name, locks, max_builds, missing_after, trusted_only)
         select u.worker_name, u.locks, u.max_builds, u.missing_us * interval '1 microsecond', u.trusted_only
           from unnest($1::text[], $2::jsonb[], $3::int[], $4::bigint[], $5::bool[])
                u(worker_name, locks, max_builds, missing_us, trusted_only)
         on conflict (worker_name) do update
            set locks = excluded.locks, max_builds = excluded.max_builds, missing_after = excluded.missing_after,
                trusted_only = excluded.trusted_only
          where (d.locks, d.max_builds, d.missing_after, d.trusted_only)
                is distinct from (excluded.locks, excluded.max_builds, excluded.missing_after, excluded.trusted_only)",
        &names,
        &locks as &[Option<Value>],
        &most as &[Option<i32>],
        &missing as &[Option<i64>],
        &trusted_only
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Builders that want other locks now, or none, do not stand in line for the former ones.
pub async fn waiters(c: &mut PgConnection) -> Result<()> {
    sqlx::query!(
        "delete from lock_waiters w using builders b
          where b.id = w.builder_id
            and (not b.active or b.lock_rule <> (w.request_id is not null)
                 or (w.request_id is null and coalesce(b.locks, '[]') <> w.accesses))"
    )
    .execute(c)
    .await?;
    Ok(())
}
