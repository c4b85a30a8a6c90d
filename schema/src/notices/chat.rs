//! What people ask on IRC: builders, workers, builds, changes. A few rows each;
//! spans count up to now by the database's clock.

use crate::Result;
use crate::changes::clean;
use sqlx::PgConnection;
use std::time::Duration;
use tidemill_model::Results;

/// Most builders and workers of one answer.
const MANY: i64 = 500;
/// Waiting requests of a lane are counted up to this.
const WAITING_MAX: i64 = 1000;

#[derive(Clone, Debug)]
pub struct Builder {
    pub id: i64,
    pub name: String,
    /// No worker of it is connected.
    pub offline: bool,
    pub running: i64,
    pub waiting: i64,
}

/// Builders of the active configuration, by name: those with one of these tags, or all; or the one of this name.
pub async fn builders(c: &mut PgConnection, tags: &[String], name: Option<&str>) -> Result<Vec<Builder>> {
    Ok(sqlx::query_as!(
        Builder,
        r#"with meant as materialized (
             select u.* from builders u
              where u.active and (cardinality($1::text[]) = 0 or u.tags && $1) and ($2::text is null or u.name = $2)
              order by u.name limit $3
         ), here as materialized (
             select w.name from worker_sessions s join workers w on w.id = s.worker_id
              where s.state = 'open' and s.seen_at > tidemill_now() - interval '45 seconds'
         ), running as (
             select b.builder_id, count(*) as n from leases l join builds b on b.id = l.build_id group by b.builder_id
         ), waiting as (
             select n.builder_id, sum(q.n)::bigint as n
               from meant m join lanes n on n.builder_id = m.id, lateral (
                    select count(*) as n from (select from request_queue x where x.lane = n.id limit $4) x) q
              group by n.builder_id
         ), later as (
             select n.builder_id, count(*) as n from request_waits w join lanes n on n.id = w.lane group by n.builder_id
         )
         select m.id, m.name, coalesce(r.n, 0) as "running!", coalesce(q.n, 0) + coalesce(l.n, 0) as "waiting!",
                not exists (select from here h
                             where m.any_worker or exists (select from builder_workers y
                                                            where y.builder_id = m.id and y.worker_name = h.name))
                    as "offline!"
           from meant m
           left join running r on r.builder_id = m.id
           left join waiting q on q.builder_id = m.id
           left join later l on l.builder_id = m.id
          order by m.name"#,
        tags,
        name.map(clean),
        MANY,
        WAITING_MAX
    )
    .fetch_all(c)
    .await?)
}

#[derive(Clone, Debug)]
pub struct Worker {
    pub name: String,
    pub connected: bool,
    pub paused: bool,
}

pub async fn workers(c: &mut PgConnection) -> Result<Vec<Worker>> {
    Ok(sqlx::query_as!(
        Worker,
        r#"select w.name, w.paused,
                  exists (select from worker_sessions s
                           where s.worker_id = w.id and s.state = 'open'
                             and s.seen_at > tidemill_now() - interval '45 seconds') as "connected!"
             from workers w order by w.name limit $1"#,
        MANY
    )
    .fetch_all(c)
    .await?)
}

#[derive(Clone, Debug)]
pub struct Running {
    pub number: i64,
    pub since: Duration,
    /// What it does just now.
    pub step: Option<String>,
}

pub async fn running(c: &mut PgConnection, builder: i64) -> Result<Vec<Running>> {
    let rows = sqlx::query!(
        r#"select b.number, extract(epoch from tidemill_now() - b.started_at)::float8 as "since!",
                  (select s.name from steps s where s.build_id = b.id and s.complete_at is null
                    order by s.number desc limit 1) as step
             from leases l join builds b on b.id = l.build_id
            where b.builder_id = $1 order by b.number limit $2"#,
        builder,
        MANY
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| Running { number: r.number, since: span(r.since), step: r.step }).collect())
}

#[derive(Clone, Debug)]
pub struct Finished {
    pub number: i64,
    pub results: Results,
    pub ago: Duration,
    pub state: String,
}

/// The newest finished builds of a builder, newest first.
pub async fn last(c: &mut PgConnection, builder: i64, count: i64) -> Result<Vec<Finished>> {
    let rows = sqlx::query!(
        r#"select number, results as "results!", state_string,
                  extract(epoch from tidemill_now() - complete_at)::float8 as "ago!"
             from builds where builder_id = $1 and state = 'finished' order by number desc limit $2"#,
        builder,
        count
    )
    .fetch_all(c)
    .await?;
    let finished = rows.into_iter().filter_map(|r| {
        let results = Results::try_from(r.results).ok()?;
        Some(Finished { number: r.number, results, ago: span(r.ago), state: r.state_string })
    });
    Ok(finished.collect())
}

#[derive(Clone, Debug)]
pub struct Commit {
    pub revision: Option<String>,
    pub branch: Option<String>,
    pub author: String,
    pub comments: String,
    pub ago: Duration,
}

/// The newest changes, newest first: those of the builder's newest build, or of all that came in.
pub async fn commits(c: &mut PgConnection, builder: Option<i64>, count: i64) -> Result<Vec<Commit>> {
    let rows = sqlx::query!(
        r#"with newest as (
             select b.id from builds b where b.builder_id = $1 order by b.number desc limit 1
         ), meant as (
             select k.id from newest n cross join lateral unnest(build_changes(n.id, 200)) k(id)
              union all
             select x.id from (select h.id from changes h where $1::bigint is null order by h.id desc limit $2) x
         )
         select h.revision, h.branch, h.author, left(h.comments, 1000) as "comments!",
                extract(epoch from tidemill_now() - coalesce(h.when_at, h.received_at))::float8 as "ago!"
           from meant m join changes h on h.id = m.id order by h.id desc limit $2"#,
        builder,
        count
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Commit {
            revision: r.revision,
            branch: r.branch,
            author: r.author,
            comments: r.comments,
            ago: span(r.ago),
        })
        .collect())
}

/// Never negative: a commit may carry a time that is still to come.
fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}
