//! Workers that stay away: an event for each absence, whoever looks.

use crate::Result;
use crate::beats::interval;
use serde_json::Value;
use sqlx::PgConnection;
use std::time::Duration;

/// A worker that is to be missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub name: String,
    pub missing_after: Duration,
    /// Who is told, beside whom reporters tell.
    pub notify: Vec<String>,
}

/// The workers that the revision which is being activated wants to miss, and no others.
pub async fn watches_set(c: &mut PgConnection, watched: &[Watched]) -> Result<()> {
    let names: Vec<String> = watched.iter().map(|w| w.name.clone()).collect();
    let after: Vec<_> = watched.iter().map(|w| interval(w.missing_after)).collect();
    let notify: Vec<Value> = watched.iter().map(|w| serde_json::json!(w.notify)).collect();
    sqlx::query!("delete from worker_watches where worker_name <> all($1)", &names).execute(&mut *c).await?;
    sqlx::query!(
        "insert into worker_watches as d (worker_name, missing_after, notify)
         select u.name, u.after, array(select jsonb_array_elements_text(u.notify))
           from unnest($1::text[], $2::interval[], $3::jsonb[]) u(name, after, notify)
         on conflict (worker_name) do update set missing_after = excluded.missing_after, notify = excluded.notify
            where (d.missing_after, d.notify) is distinct from (excluded.missing_after, excluded.notify)",
        &names,
        &after,
        &notify
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Says so of each worker that nobody has seen for longer than it may stay away, once for each
/// absence. A time without any master counts for nobody. Returns how many.
pub async fn workers_miss(c: &mut PgConnection) -> Result<u64> {
    Ok(sqlx::query!(
        "with away as (
             select d.worker_name, w.id as worker, d.notify, x.seen_at
               from worker_watches d
               join workers w on w.name = d.worker_name
              cross join lateral (
                    select max(s.seen_at) as seen_at from worker_sessions s
                     where s.id = (select k.id from worker_sessions k where k.worker_id = w.id order by k.id desc limit 1)) x
              where greatest(x.seen_at, w.enrolled_at,
                             (select t.resumed_at from beats t order by t.id desc limit 1))
                    < tidemill_now() - d.missing_after
                and (d.told_at is null or d.told_at < x.seen_at)
                for no key update of d skip locked
         ), told as (
             update worker_watches d set told_at = tidemill_now()
               from away a where d.worker_name = a.worker_name
             returning a.worker, a.notify, a.seen_at
         )
         insert into events (kind, data)
         select 'workers.missing', jsonb_build_object('workerid', worker, 'notify', notify,
                                                      'seen_at', floor(extract(epoch from seen_at))::bigint)
           from told"
    )
    .execute(c)
    .await?
    .rows_affected())
}
