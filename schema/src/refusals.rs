//! What functions of the project said no to: for people who ask why a request
//! waits, and for requests that need not be asked about for a while.
//!
//! Functions are asked over and over about the same requests. Rows are written
//! only where the answer is another than before, all of a round by one
//! statement; those of requests that are gone are removed by housekeeping. A
//! request with a time leaves the queue until then, as after a lost build: so
//! every replica leaves it alone, and it stands in nobody's way.

use crate::Result;
use crate::changes::clean;
use sqlx::PgConnection;
use std::collections::HashMap;
use tidemill_model::RequestId;

/// A function said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub builder: i64,
    /// None: the builder as a whole.
    pub request: Option<RequestId>,
    pub policy: &'static str,
    /// Why; empty if it did not say.
    pub said: String,
    /// Not to be asked about before so many seconds have passed.
    pub wait_seconds: Option<u32>,
}

impl Refusal {
    /// Nothing of this builder is to start.
    pub fn of_builder(builder: i64, policy: &'static str) -> Refusal {
        Refusal { builder, request: None, policy, said: String::new(), wait_seconds: None }
    }

    fn key(&self) -> (i64, i64) {
        (self.builder, self.request.map_or(0, |r| r.0))
    }
}

/// Notes what was refused in a round. `looked`: builders that were asked about; `allowed`:
/// requests that were not refused. What was noted of those before is gone.
pub async fn refusals_store(
    c: &mut PgConnection,
    refused: &[Refusal],
    looked: &[i64],
    allowed: &[RequestId],
) -> Result<()> {
    let mut builders: Vec<i64> = refused.iter().map(|r| r.builder).chain(looked.iter().copied()).collect();
    builders.sort_unstable();
    builders.dedup();
    if builders.is_empty() {
        return Ok(());
    }
    let resting: Vec<&Refusal> = refused.iter().filter(|r| r.request.is_some() && r.wait_seconds.is_some()).collect();
    if !resting.is_empty() {
        requests_rest(c, &resting).await?;
    }
    // The last word of a round counts.
    let wanted: HashMap<(i64, i64), &Refusal> =
        refused.iter().filter(|r| r.request.is_none() || r.wait_seconds.is_none()).map(|r| (r.key(), r)).collect();
    let rows = sqlx::query!(
        r#"select builder_id, request_id, policy, said, since > tidemill_now() - interval '10 seconds' as "fresh!"
             from policy_refusals where builder_id = any($1)"#,
        &builders
    )
    .fetch_all(&mut *c)
    .await?;
    let mut stale = (vec![], vec![]);
    let mut known = HashMap::new();
    for row in rows {
        let key = (row.builder_id, row.request_id);
        let over = row.request_id == 0 || allowed.iter().any(|r| r.0 == row.request_id);
        if over && !wanted.contains_key(&key) {
            stale.0.push(key.0);
            stale.1.push(key.1);
        }
        known.insert(key, row);
    }
    let news: Vec<&&Refusal> = wanted
        .iter()
        .filter(|(key, refusal)| match known.get(key) {
            None => true,
            // Replicas ask about different workers: their words take turns slowly.
            Some(row) if row.policy == refusal.policy => row.said != clean(&refusal.said) && !row.fresh,
            Some(_) => true,
        })
        .map(|(_, refusal)| refusal)
        .collect();
    if stale.0.is_empty() && news.is_empty() {
        return Ok(());
    }
    let builders: Vec<i64> = news.iter().map(|r| r.builder).collect();
    let requests: Vec<i64> = news.iter().map(|r| r.key().1).collect();
    let policies: Vec<String> = news.iter().map(|r| r.policy.to_owned()).collect();
    let said: Vec<String> = news.iter().map(|r| clean(&r.said)).collect();
    sqlx::query!(
        "with gone as (
             delete from policy_refusals f using unnest($1::bigint[], $2::bigint[]) u(builder, request)
              where f.builder_id = u.builder and f.request_id = u.request
         )
         insert into policy_refusals as f (builder_id, request_id, policy, said)
         select * from unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[]) u(builder, request, policy, said)
          order by u.builder, u.request
         on conflict (builder_id, request_id) do update
            set policy = excluded.policy, said = excluded.said, since = tidemill_now()",
        &stale.0,
        &stale.1,
        &builders,
        &requests,
        &policies,
        &said
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Takes requests out of the queue until they may be asked about again. One that somebody has
/// just taken stays taken.
async fn requests_rest(c: &mut PgConnection, resting: &[&Refusal]) -> Result<()> {
    let requests: Vec<i64> = resting.iter().map(|r| r.key().1).collect();
    let seconds: Vec<f64> = resting.iter().map(|r| f64::from(r.wait_seconds.unwrap_or_default())).collect();
    let said: Vec<String> = resting.iter().map(|r| clean(&r.said)).collect();
    sqlx::query!(
        "with u as materialized (
             select u.*, q.here
               from unnest($1::bigint[], $2::float8[], $3::text[]) u(id, seconds, said)
              cross join lateral (
                    select k.ctid as here from request_queue k where k.request_id = u.id for update skip locked) q
         ), gone as (
             delete from request_queue where ctid = any(array(select here from u))
             returning request_id, lane, attempt
         ), unsaid as (
             delete from policy_refusals where request_id = any($1) and request_id <> 0
         )
         insert into request_waits (request_id, lane, attempt, why, until, said)
         select g.request_id, g.lane, g.attempt, 'refused', tidemill_now() + u.seconds * interval '1 second', u.said
           from gone g join u on u.id = g.request_id",
        &requests,
        &seconds,
        &said
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Removes what was said of requests that do not wait in the queue any more.
pub async fn refusals_prune(c: &mut PgConnection) -> Result<u64> {
    let done = sqlx::query!(
        "delete from policy_refusals f
          where case when f.request_id = 0
                then not exists (select from lanes l join request_queue q on q.lane = l.id where l.builder_id = f.builder_id)
                else not exists (select from request_queue q where q.request_id = f.request_id) end"
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}
