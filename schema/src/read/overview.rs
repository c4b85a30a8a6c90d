//! What only pages show: builders at a glance, and how much waits.

use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::Results;

/// Beyond this a lane's waiting requests are «at least».
pub const PENDING_MAX: i64 = 1000;

/// A builder and its newest builds.
#[derive(Clone, Debug)]
pub struct BuilderRow {
    pub name: String,
    pub description: String,
    pub tags: Vec<String>,
    pub active: bool,
    pub running: i64,
    /// At most [`PENDING_MAX`] of each priority are counted.
    pub pending: i64,
    /// Newest first.
    pub recent: Vec<Recent>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Recent {
    pub number: i64,
    pub results: Option<Results>,
    pub started_at: i64,
    pub complete_at: Option<i64>,
    pub state_string: String,
}

/// Which builders.
#[derive(Clone, Debug, Default)]
pub struct Which {
    pub tag: Option<String>,
    /// A part of the name, in any case.
    pub name: Option<String>,
    /// Also those that the active revision no longer defines.
    pub retired: bool,
    /// Names after this one: the next page.
    pub after: Option<String>,
    pub limit: i64,
}

pub async fn builders(c: &mut PgConnection, which: &Which) -> Result<Vec<BuilderRow>> {
    let rows = sqlx::query!(
        r#"with page as (
             select * from builders u
              where (u.active or $3)
                and ($1::text is null or $1 = any(u.tags))
                and ($2::text is null or position(lower($2) in lower(u.name)) > 0)
                and ($4::text is null or u.name > $4)
              order by u.name limit $5
         ), running as (
             select b.builder_id, count(*) as n from leases l join builds b on b.id = l.build_id group by b.builder_id
         ), waiting as (
             select n.builder_id, sum(q.n)::bigint as n
               from page p join lanes n on n.builder_id = p.id, lateral (
                    select count(*) as n from (select 1 from request_queue x where x.lane = n.id limit $6) x) q
              group by n.builder_id
         ), later as (
             select n.builder_id, count(*) as n from request_waits w join lanes n on n.id = w.lane group by n.builder_id
         )
         select u.name, u.description, u.tags, u.active,
                coalesce(running.n, 0) as "running!",
                coalesce(waiting.n, 0) + coalesce(later.n, 0) as "pending!",
                coalesce(recent.builds, '[]'::json) as "recent!: Json<Vec<Recent>>"
           from page u
           left join running on running.builder_id = u.id
           left join waiting on waiting.builder_id = u.id
           left join later on later.builder_id = u.id
           left join lateral (
                select json_agg(json_build_object(
                           'number', b.number, 'results', b.results, 'state_string', b.state_string,
                           'started_at', floor(extract(epoch from b.started_at))::bigint,
                           'complete_at', floor(extract(epoch from b.complete_at))::bigint) order by b.number desc) as builds
                  from (select * from builds x where x.builder_id = u.id order by x.number desc limit 12) b) recent on true
          order by u.name"#,
        which.tag.as_deref().map(crate::changes::clean),
        which.name.as_deref().map(crate::changes::clean),
        which.retired,
        which.after.as_deref().map(crate::changes::clean),
        which.limit,
        PENDING_MAX + 1
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| BuilderRow {
            name: r.name,
            description: r.description,
            tags: r.tags,
            active: r.active,
            running: r.running,
            pending: r.pending,
            recent: r.recent.0,
        })
        .collect())
}

/// All tags of active builders, most used first.
pub async fn tags(c: &mut PgConnection) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"select t as "t!" from builders, unnest(tags) t where active group by t order by count(*) desc, t limit 40"#
    )
    .fetch_all(c)
    .await?)
}

/// What happens now, in numbers.
#[derive(Clone, Debug)]
pub struct Now {
    pub running: i64,
    /// At most [`PENDING_MAX`] of each builder and priority are counted.
    pub pending: i64,
    pub workers: i64,
    /// A revision is active: there is something to build.
    pub configured: bool,
}

pub async fn now(c: &mut PgConnection) -> Result<Now> {
    let r = sqlx::query!(
        r#"select (select count(*) from leases) as "running!",
                  (select coalesce(sum(q.n), 0)::bigint from lanes n, lateral (
                       select count(*) as n from (select 1 from request_queue x where x.lane = n.id limit $1) x) q)
                  + (select count(*) from request_waits) as "pending!",
                  (select count(*) from worker_sessions
                    where state = 'open' and seen_at > tidemill_now() - interval '45 seconds') as "workers!",
                  exists (select 1 from active_revision) as "configured!""#,
        PENDING_MAX + 1
    )
    .fetch_one(c)
    .await?;
    Ok(Now { running: r.running, pending: r.pending, workers: r.workers, configured: r.configured })
}
