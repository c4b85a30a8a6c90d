//! Leases: who may write for a build.

use crate::beats::interval;
use crate::{Result, beats};
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tidemill_model::wire::{Held, Stop};
use tidemill_model::{BuildId, Results};

/// What became of the builds that workers said they hold.
#[derive(Clone, Debug, Default)]
pub struct Renewed {
    pub alive: HashSet<i64>,
    pub stop: HashMap<i64, Stop>,
}

/// Renews the leases of these builds in one statement. An expiry never moves
/// backwards. What is not in `alive` is lost: the token is old or the build is
/// final.
pub async fn leases_renew(c: &mut PgConnection, held: &[Held], term: Duration) -> Result<Renewed> {
    // In id order, so that two replicas wait for each other's locks in one order.
    let mut held: Vec<&Held> = held.iter().collect();
    held.sort_by_key(|h| h.build);
    let builds: Vec<i64> = held.iter().map(|h| h.build).collect();
    let tokens: Vec<String> = held.iter().map(|h| h.token.replace('\0', "")).collect();
    // Each key is looked up by itself: a plan that walks the table, chosen while
    // it was small, would walk over all dead rows while a snapshot is held. Not
    // written through its ctid: two replicas may renew one lease at once, and the
    // row that the first has moved is not in the second's snapshot.
    let rows = sqlx::query!(
        r#"with mine as materialized (
             select l.build_id from unnest($1::bigint[], $2::text[]) u(build_id, token)
              cross join lateral (
                   select k.build_id from leases k where k.build_id = u.build_id and k.token = u.token for update) l
         ), done as (
             update leases set expires_at = greatest(expires_at, tidemill_now() + $3::interval)
              where build_id = any(array(select build_id from mine))
             returning build_id
         )
         select b.id as "id!", b.stop_reason, b.stop_results
           from done d
          cross join lateral (select k.id, k.stop_reason, k.stop_results from builds k where k.id = d.build_id limit 1) b"#,
        &builds,
        &tokens,
        interval(term)
    )
    .fetch_all(c)
    .await?;
    let mut renewed = Renewed::default();
    for r in rows {
        renewed.alive.insert(r.id);
        if let (Some(reason), Some(code)) = (r.stop_reason, r.stop_results) {
            let results = Results::try_from(code).unwrap_or(Results::Cancelled);
            renewed.stop.insert(r.id, Stop { build: r.id, reason, results });
        }
    }
    Ok(renewed)
}

/// Whether this token still proves a lease of the build. Reading only: what is
/// given to a worker on this word may arrive after the lease was lost.
pub async fn lease_stands(c: &mut PgConnection, build: BuildId, token: &str) -> Result<bool> {
    let token = token.replace('\0', "");
    Ok(sqlx::query_scalar!(
        r#"select exists (select 1 from leases where build_id = $1 and token = $2) as "x!""#,
        build.0,
        token
    )
    .fetch_one(c)
    .await?)
}

/// A lease past its time.
#[derive(Clone, Debug)]
pub struct Expired {
    pub build: BuildId,
    /// The worker had reported something of it.
    pub taken_up: bool,
    /// Builds of its request so far, this one too.
    pub tries: i64,
    pub worker: String,
}

/// Takes expired leases, locked until the transaction ends, at most `limit`;
/// none while or shortly after leases could not be renewed.
pub async fn leases_expired(c: &mut PgConnection, term: Duration, limit: i64) -> Result<Vec<Expired>> {
    if !beats::may_reap(c, term).await? {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"select l.build_id, b.state = 'running' as "taken_up!", w.name,
                  (select count(*) from builds k where k.request_id = b.request_id) as "tries!"
             from leases l join builds b on b.id = l.build_id join workers w on w.id = b.worker_id
            where l.expires_at < tidemill_now()
            order by l.build_id limit $1 for update of l skip locked"#,
        limit
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Expired { build: BuildId(r.build_id), taken_up: r.taken_up, tries: r.tries, worker: r.name })
        .collect())
}

/// The lease of this build, if it is past its time and may be taken away; locked until the
/// transaction ends.
pub async fn lease_expired(c: &mut PgConnection, term: Duration, build: BuildId) -> Result<Option<Expired>> {
    if !beats::may_reap(c, term).await? {
        return Ok(None);
    }
    let row = sqlx::query!(
        r#"select b.state = 'running' as "taken_up!", w.name,
                  (select count(*) from builds k where k.request_id = b.request_id) as "tries!"
             from leases l join builds b on b.id = l.build_id join workers w on w.id = b.worker_id
            where l.build_id = $1 and l.expires_at < tidemill_now() for update of l skip locked"#,
        build.0
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Expired { build, taken_up: r.taken_up, tries: r.tries, worker: r.name }))
}
