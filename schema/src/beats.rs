//! Beats: proof that leases could be renewed.
//!
//! Every replica adds a beat each [`BEAT`]; a gap of more than two marks an
//! outage of the database or of all replicas, and [`quiet_since_outage`] holds
//! until one full term after beats resumed: no lease is lost because nobody
//! could hear its worker.

use crate::Result;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use std::time::Duration;
use tidemill_model::MasterId;

/// Time between two beats of a replica.
pub const BEAT: Duration = Duration::from_secs(2);

/// A new replica.
pub async fn master_insert(c: &mut PgConnection, name: &str, url: &str) -> Result<MasterId> {
    let id = sqlx::query_scalar!(
        "insert into masters (name, release, url) values ($1, $2, $3) returning id",
        name,
        crate::migrate::RELEASE,
        url
    )
    .fetch_one(c)
    .await?;
    Ok(MasterId(id))
}

pub async fn master_stopped(c: &mut PgConnection, id: MasterId) -> Result<()> {
    sqlx::query!("update masters set stopped_at = tidemill_now() where id = $1", id.0).execute(c).await?;
    Ok(())
}

/// What the forms of our pages carry, see [`cluster`](crate::migrate).
pub async fn form_key(c: &mut PgConnection) -> Result<String> {
    Ok(sqlx::query_scalar!("select form_key from cluster").fetch_one(c).await?)
}

/// The key of links in mails.
pub async fn link_key(c: &mut PgConnection) -> Result<String> {
    Ok(sqlx::query_scalar!("select link_key from cluster").fetch_one(c).await?)
}

/// Adds a beat; now and then removes those older than an hour.
pub async fn beat(c: &mut PgConnection, master: MasterId) -> Result<()> {
    let gap = interval(BEAT * 2 + BEAT / 2);
    let id = sqlx::query_scalar!(
        "insert into beats (master_id, at, resumed_at)
         select $1, t.now, case when p.at is null or t.now - p.at > $2 then t.now else p.resumed_at end
           from (select tidemill_now() as now) t
           left join lateral (select at, resumed_at from beats order by id desc limit 1) p on true
         returning id",
        master.0,
        gap
    )
    .fetch_one(&mut *c)
    .await?;
    if id % 256 == 0 {
        sqlx::query!("delete from beats where at < tidemill_now() - interval '1 hour'").execute(&mut *c).await?;
    }
    Ok(())
}

/// Whether leases may be taken away now: beats have come without a gap for at
/// least a term, and still do.
pub async fn may_reap(c: &mut PgConnection, term: Duration) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select coalesce((
             select b.resumed_at + $1 <= t.now and t.now - b.at <= $2
               from (select tidemill_now() as now) t, lateral (select at, resumed_at from beats order by id desc limit 1) b
           ), false) as "x!""#,
        interval(term),
        interval(BEAT * 2 + BEAT / 2)
    )
    .fetch_one(c)
    .await?)
}

pub(crate) fn interval(d: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: d.as_micros().min(i64::MAX as u128) as i64 }
}
