//! Collapsing: pending requests of one builder become one (D-39, D-40).
//!
//! It happens when a request is made, as the last act of that transaction, and
//! never at a claim. Those with the same key that are still pending are locked
//! with SKIP LOCKED; the newest of them stays in the queue, the others leave it
//! and point at it. One that a worker claims in the same moment is skipped by
//! one of the two, so it is built or collapsed and never both. A collapsed
//! request is complete when the one that it became part of is, with its result
//! (`requests_complete`).
//!
//! Makers of requests with the same key go one after the other, by an advisory
//! lock held to the commit: so two replicas do not leave two, whichever of the
//! two requests has the lower id.

use crate::{Result, error};
use sqlx::PgConnection;
use tidemill_model::{BuilderId, RequestId};

/// What requests of one builder have in common that may become one: the first
/// 128 bits of a hash of the rule and what the rule compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollapseKey(pub [u8; 16]);

/// By what a new request may become one with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollapseBy {
    Key(CollapseKey),
    /// A rule compares it with each of the others.
    Pairs,
}

impl CollapseBy {
    pub(crate) fn key(&self) -> Option<CollapseKey> {
        match self {
            CollapseBy::Key(key) => Some(*key),
            CollapseBy::Pairs => None,
        }
    }
}

/// A new request that a rule compares with others.
#[derive(Clone, Debug)]
pub struct Pairwise {
    pub request: RequestId,
    pub builder: BuilderId,
    pub name: String,
}

/// A request with a key that this transaction made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fresh {
    pub builder: BuilderId,
    pub key: CollapseKey,
}

/// Class of the advisory locks.
const LOCKS: i32 = 0x636f_6c6c;
/// Different ones: enough for makers not to meet, few enough for the lock table
/// of a transaction that makes thousands of requests.
const LOCK_COUNT: u8 = 64;

/// Holds back, to the commit, other makers of requests with these keys and, for
/// rules that compare in pairs, of these builders. Once a transaction, with all.
pub async fn collapse_lock(c: &mut PgConnection, made: &[Fresh], builders: &[BuilderId]) -> Result<()> {
    let keys = made.iter().map(|m| m.key.0[0] % LOCK_COUNT);
    let builders = builders.iter().map(|b| b.0.rem_euclid(i64::from(LOCK_COUNT)) as u8);
    let mut which: Vec<i32> = keys.chain(builders).map(i32::from).collect();
    // In ascending order, each once, so that no two transactions wait for each other.
    which.sort_unstable();
    which.dedup();
    if which.is_empty() {
        return Ok(());
    }
    sqlx::query!("select pg_advisory_xact_lock($1, n) from unnest($2::int[]) n", LOCKS, &which).execute(c).await?;
    Ok(())
}

/// Merges pending requests with the same keys. `made` are those of this
/// transaction, which has called [`collapse_lock`]. Returns how many became
/// part of another.
pub async fn requests_collapse(c: &mut PgConnection, made: &[Fresh]) -> Result<u64> {
    let mut groups = made.to_vec();
    groups.sort_unstable();
    groups.dedup();
    if groups.is_empty() {
        return Ok(0);
    }
    let builders: Vec<i64> = groups.iter().map(|g| g.builder.0).collect();
    let keys: Vec<Vec<u8>> = groups.iter().map(|g| g.key.0.to_vec()).collect();
    // The newest hundred of a key are looked at; an older one can be pending only
    // if it came back from a lost worker, and then it is built by itself.
    let done = sqlx::query!(
        r#"with open as materialized (
             select g.builder, g.key, o.id
               from unnest($1::bigint[], $2::bytea[]) g(builder, key)
              cross join lateral (
                    select r.id, r.complete_at, r.collapsed_into, r.waited_for from build_requests r
                     where r.builder_id = g.builder and r.collapse_key = g.key
                     order by r.id desc limit 100) o
              where o.complete_at is null and o.collapsed_into is null and not o.waited_for
         ), queued as materialized (
             select o.*, q.here from open o
              cross join lateral (
                    select k.ctid as here from request_queue k where k.request_id = o.id for update skip locked) q
         ), waiting as materialized (
             select o.* from open o
              cross join lateral (
                    select from request_waits k where k.request_id = o.id for update skip locked) w
         ), pending as materialized (
             select p.id, max(p.id) over (partition by p.builder, p.key) as survivor
               from (select builder, key, id from queued union all select builder, key, id from waiting) p
         ), unqueued as (
             delete from request_queue where ctid = any(array(
                 select q.here from queued q join pending p on p.id = q.id where p.id <> p.survivor))
         ), unwaited as (
             delete from request_waits where request_id = any(array(
                 select w.id from waiting w join pending p on p.id = w.id where p.id <> p.survivor))
         ), merged as (
             update build_requests r set collapsed_into = p.survivor
               from pending p
              where r.id = any(array(select id from pending where id <> survivor)) and p.id = r.id
                and r.complete_at is null and r.collapsed_into is null
             returning r.id, r.builder_id, r.collapsed_into
         ), told as (
             insert into events (kind, builder_id, data)
             select 'buildrequests.collapsed', builder_id,
                    jsonb_build_object('buildrequestid', id, 'collapsed_into', collapsed_into) from merged
         )
         select (select count(*) from merged) as "merged!",
                (select count(*) from pending where id <> survivor) as "taken!""#,
        &builders,
        &keys
    )
    .fetch_one(c)
    .await?;
    error::expect("requests merged", done.taken as u64, done.merged as u64)?;
    Ok(done.merged as u64)
}

/// Merges these older requests into `survivor`, where a rule compares in pairs:
/// those of them that are still in the queue, and only if it is itself. The
/// caller read them after [`collapse_lock`].
pub async fn requests_collapse_into(c: &mut PgConnection, survivor: RequestId, older: &[RequestId]) -> Result<u64> {
    let ids: Vec<i64> = older.iter().map(|r| r.0).filter(|id| *id != survivor.0).collect();
    let done = sqlx::query!(
        r#"with survivor as materialized (
             select k.request_id as id from request_queue k where k.request_id = $1 for update skip locked
         ), alike as materialized (
             -- Those of other terms (for another worker, less trusted) stay what they are.
             select o.id from build_requests n, build_requests o
              where n.id = $1 and o.id = any($2) and o.trusted = n.trusted
                and o.worker_name is not distinct from n.worker_name
                and o.virtual_id is not distinct from n.virtual_id
         ), queued as materialized (
             select u.id, q.here from survivor s, alike u
              cross join lateral (
                    select k.ctid as here from request_queue k where k.request_id = u.id for update skip locked) q
         ), unqueued as (
             delete from request_queue where ctid = any(array(select here from queued))
         ), merged as (
             update build_requests r set collapsed_into = $1
              where r.id = any(array(select id from queued)) and r.complete_at is null
             returning r.id, r.builder_id
         ), told as (
             insert into events (kind, builder_id, data)
             select 'buildrequests.collapsed', builder_id,
                    jsonb_build_object('buildrequestid', id, 'collapsed_into', $1::bigint) from merged
         )
         select (select count(*) from merged) as "merged!", (select count(*) from queued) as "taken!""#,
        survivor.0,
        &ids
    )
    .fetch_one(c)
    .await?;
    error::expect("requests merged", done.taken as u64, done.merged as u64)?;
    Ok(done.merged as u64)
}

/// Those of these requests that are part of another and open. What became part
/// of them becomes part of that other, so that they can end alone. The caller
/// holds the locks of their buildsets, as whoever completes requests.
pub(crate) async fn requests_part(c: &mut PgConnection, ids: &[i64]) -> Result<Vec<RequestId>> {
    let found = sqlx::query!(
        r#"select r.id, r.collapsed_into as "into!" from build_requests r
            where r.id = any($1) and r.complete_at is null and r.collapsed_into is not null
            order by r.id for update"#,
        ids
    )
    .fetch_all(&mut *c)
    .await?;
    for part in &found {
        sqlx::query!("update build_requests set collapsed_into = $2 where collapsed_into = $1", part.id, part.into)
            .execute(&mut *c)
            .await?;
    }
    Ok(found.into_iter().map(|r| RequestId(r.id)).collect())
}
