//! Sessions: one life of a worker process.
//!
//! A worker's name has one open session. The same instance (the id kept in
//! the worker's folder) takes over its own older session at any time; another
//! instance is refused while the older one was seen within a lease term (F5).

use crate::beats::interval;
use crate::{Error, Result};
use sqlx::PgConnection;
use std::time::Duration;
use tidemill_model::wire::Hello;
use tidemill_model::{SessionId, WorkerId};

/// Opens a session; the older one of the same worker is fenced: its polls are
/// refused. Its builds keep their leases until the new life reports them or
/// they run out.
pub async fn session_open(
    c: &mut PgConnection,
    worker: WorkerId,
    hello: &Hello,
    protocol: u32,
    term: Duration,
) -> Result<SessionId> {
    // Serializes the hellos of one worker.
    sqlx::query!("select id from workers where id = $1 for update", worker.0).fetch_one(&mut *c).await?;
    let other = sqlx::query!(
        r#"select instance, seen_at > tidemill_now() - $2::interval as "alive!" from worker_sessions
          where worker_id = $1 and state = 'open'"#,
        worker.0,
        // It is written every 15 s only.
        interval(term.max(Duration::from_secs(40)))
    )
    .fetch_optional(&mut *c)
    .await?;
    if let Some(other) = other {
        if other.instance != hello.instance && other.alive {
            return Err(Error::Conflict(format!(
                "the worker name `{}` is in use by another live process; stop that one, or enrol this one under a name of its own",
                hello.name
            )));
        }
        sqlx::query!(
            "update worker_sessions set state = 'superseded' where worker_id = $1 and state = 'open'",
            worker.0
        )
        .execute(&mut *c)
        .await?;
    }
    let info = serde_json::to_value(&hello.info).unwrap_or_default();
    let id = sqlx::query_scalar!(
        r#"with made as (
             insert into worker_sessions (worker_id, instance, epoch, release, protocol, vocabulary, slots, info, free)
             select $1, $2, epoch, $3, $4, $5, $6, $7, $6 from cluster
             returning id
         ), told as (
             insert into events (kind, data) select 'workers.connected', jsonb_build_object('workerid', $1::bigint) from made
         )
         select id as "id!" from made"#,
        worker.0,
        crate::changes::clean(&hello.instance),
        crate::changes::clean(&hello.release),
        protocol as i32,
        hello.vocabulary as i32,
        hello.slots.clamp(1, 10_000) as i32,
        crate::changes::clean_json(&info),
    )
    .fetch_one(&mut *c)
    .await?;
    Ok(SessionId(id))
}

/// Closes a session at its worker's wish: people see at once that it is gone, and
/// its name is free. Builds that it holds keep their leases. False if it was no
/// longer open.
pub async fn session_close(c: &mut PgConnection, id: SessionId, worker: WorkerId) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"with gone as (
             update worker_sessions set state = 'closed', free = 0, seen_at = tidemill_now()
              where id = $1 and worker_id = $2 and state = 'open'
             returning worker_id
         ), told as (
             insert into events (kind, data)
             select 'workers.disconnected', jsonb_build_object('workerid', worker_id) from gone
         )
         select exists (select 1 from gone) as "x!""#,
        id.0,
        worker.0
    )
    .fetch_one(c)
    .await?)
}

/// A session as a replica remembers it.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: SessionId,
    pub worker: WorkerId,
    pub worker_name: String,
    /// `open`, or why it is refused.
    pub open: bool,
}

pub async fn session_get(c: &mut PgConnection, id: SessionId) -> Result<Option<Session>> {
    let row = sqlx::query!(
        r#"select s.id, s.worker_id, w.name, s.state = 'open' and s.epoch = cl.epoch as "open!"
             from worker_sessions s join workers w on w.id = s.worker_id, cluster cl
            where s.id = $1"#,
        id.0
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Session { id, worker: WorkerId(r.worker_id), worker_name: r.name, open: r.open }))
}

/// Notes that these sessions were heard, for people and for the rule of
/// [`session_open`]; one statement for all of a replica. Returns those that are
/// no longer open.
pub async fn sessions_seen(c: &mut PgConnection, seen: &[(SessionId, u32)]) -> Result<Vec<SessionId>> {
    let ids: Vec<i64> = seen.iter().map(|(id, _)| id.0).collect();
    let free: Vec<i32> = seen.iter().map(|(_, f)| *f as i32).collect();
    let closed = sqlx::query_scalar!(
        r#"with u as (select * from unnest($1::bigint[], $2::int[]) u(id, free)),
         locked as (
             select s.id, u.free, s.worker_id, s.missing_at from worker_sessions s join u on u.id = s.id
              where s.state = 'open' and s.epoch = (select epoch from cluster)
              order by s.id for update of s skip locked
         ), done as (
             update worker_sessions s set seen_at = tidemill_now(), free = l.free, missing_at = null
               from locked l where s.id = l.id
             returning s.id
         ), told as (
             insert into events (kind, data)
             select 'workers.connected', jsonb_build_object('workerid', worker_id) from locked where missing_at is not null
         )
         select u.id as "id!" from u
          where not exists (select 1 from worker_sessions s where s.id = u.id and s.state = 'open'
                               and s.epoch = (select epoch from cluster))
            and not exists (select 1 from done where done.id = u.id)"#,
        &ids,
        &free
    )
    .fetch_all(c)
    .await?;
    Ok(closed.into_iter().map(SessionId).collect())
}

/// Tells of each worker of which nothing was heard for its time, once until it is
/// heard again; whether it said goodbye or not, but only if there were masters to
/// hear it all that time. Returns their names.
pub async fn workers_missing(c: &mut PgConnection) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"with silent as materialized (
             select w.name, s.id, s.seen_at
               from (select resumed_at from beats order by id desc limit 1) b
              cross join workers w
               left join worker_definitions d on d.worker_name = w.name
              cross join lateral (select x.id, x.seen_at, x.missing_at from worker_sessions x
                                   where x.worker_id = w.id order by x.id desc limit 1) s
              where s.missing_at is null
                and greatest(s.seen_at, b.resumed_at) < tidemill_now() - coalesce(d.missing_after, interval '1 hour')
         ), gone as (
             update worker_sessions s set missing_at = tidemill_now()
               from silent k where s.id = k.id and s.missing_at is null and s.seen_at = k.seen_at
             returning k.name, s.worker_id, s.seen_at
         ), told as (
             insert into events (kind, data)
             select 'workers.missing', jsonb_build_object('workerid', worker_id,
                                                          'last_seen', floor(extract(epoch from seen_at))::bigint)
               from gone
         )
         select name as "name!" from gone order by name"#
    )
    .fetch_all(c)
    .await?)
}

/// Whether the worker of this session has opened a newer one.
pub async fn newer_session_exists(c: &mut PgConnection, id: SessionId) -> Result<bool> {
    Ok(sqlx::query_scalar!(
        r#"select exists (
             select 1 from worker_sessions old join worker_sessions new on new.worker_id = old.worker_id and new.id > old.id
              where old.id = $1) as "x!""#,
        id.0
    )
    .fetch_one(c)
    .await?)
}
