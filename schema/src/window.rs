//! What policies look at: a bounded window of pending requests, in the order in
//! which they would be claimed, and the workers that could take them. Nothing
//! is locked: who decides by it claims exactly what it decided, and decides
//! again for what has gone meanwhile.

use crate::Result;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::BTreeMap;
use tidemill_model::{BuilderId, Properties, RequestId, SessionId, SourceStamp, WorkerId};

/// A pending request, where it stands in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    pub lane: i64,
    pub ticket: i64,
    pub builder: BuilderId,
    pub priority: i32,
    pub request: RequestId,
    pub attempt: i32,
}

/// A part of a lane to look at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub lane: i64,
    /// The ticket to look from.
    pub low: i64,
    /// So many requests.
    pub limit: i64,
}

/// The first requests of each of these lanes; by lane, then by place. One index
/// range a lane, whatever the depth.
pub async fn queue_windows(c: &mut PgConnection, looks: &[Look]) -> Result<Vec<Queued>> {
    let ids: Vec<i64> = looks.iter().map(|l| l.lane).collect();
    let lows: Vec<i64> = looks.iter().map(|l| l.low).collect();
    let limits: Vec<i64> = looks.iter().map(|l| l.limit).collect();
    let rows = sqlx::query!(
        r#"select l.lane as "lane!", q.ticket, n.builder_id, n.priority, q.request_id, q.attempt
             from unnest($1::bigint[], $2::bigint[], $3::bigint[]) l(lane, low, most)
             join lanes n on n.id = l.lane
             join builders b on b.id = n.builder_id and b.active and not b.paused
            cross join lateral (
                  select k.ticket, k.request_id, k.attempt from request_queue k
                   where k.lane = l.lane and k.ticket >= l.low order by k.ticket limit l.most) q
            order by l.lane, q.ticket"#,
        &ids,
        &lows,
        &limits
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Queued {
            lane: r.lane,
            ticket: r.ticket,
            builder: BuilderId(r.builder_id),
            priority: r.priority,
            request: RequestId(r.request_id),
            attempt: r.attempt,
        })
        .collect())
}

/// The newest pending requests of a builder, newest first: what a rule that
/// compares in pairs compares a new one with.
pub async fn pending_newest(c: &mut PgConnection, builder: BuilderId, limit: i64) -> Result<Vec<RequestId>> {
    let ids = sqlx::query_scalar!(
        r#"select q.request_id as "id!" from lanes n
            cross join lateral (
                  select k.request_id from request_queue k where k.lane = n.id order by k.ticket desc limit $2) q
            where n.builder_id = $1 order by q.request_id desc limit $2"#,
        builder.0,
        limit
    )
    .fetch_all(c)
    .await?;
    Ok(ids.into_iter().map(RequestId).collect())
}

/// What is known of a request; it never changes while it is pending.
#[derive(Clone, Debug)]
pub struct RequestFacts {
    pub request: RequestId,
    pub buildset: i64,
    pub builder: String,
    pub priority: i32,
    /// Microseconds since 1970.
    pub submitted_at_us: i64,
    pub waited_for: bool,
    pub reason: String,
    pub properties: Properties,
    pub sourcestamps: Vec<SourceStamp>,
    /// Id and codebase of at most 200 of its buildset's changes, the newest.
    pub changes: Vec<(i64, String)>,
    /// It repeats a build: its revisions are meant exactly.
    pub rebuild: bool,
}

pub async fn requests_facts(c: &mut PgConnection, ids: &[RequestId]) -> Result<Vec<RequestFacts>> {
    let ids: Vec<i64> = ids.iter().map(|r| r.0).collect();
    let rows = sqlx::query!(
        r#"select r.id, r.buildset_id, b.name, r.priority, r.waited_for, s.reason,
                  (extract(epoch from r.submitted_at) * 1000000)::bigint as "at!",
                  s.properties as "properties: Json<Properties>", s.rebuilt_build_id is not null as "rebuild!",
                  buildset_stamps(s.id) as "stamps!: Json<Vec<SourceStamp>>",
                  (select coalesce(jsonb_agg(jsonb_build_array(h.id, h.codebase) order by h.id), '[]')
                     from (select x.change_id from buildset_changes x
                            where x.buildset_id = s.id order by x.change_id desc limit 200) x
                     join changes h on h.id = x.change_id) as "changes!: Json<Vec<(i64, String)>>"
             from unnest($1::bigint[]) u(id)
            cross join lateral (select k.* from build_requests k where k.id = u.id offset 0) r
             join buildsets s on s.id = r.buildset_id
             join builders b on b.id = r.builder_id"#,
        &ids
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| RequestFacts {
            request: RequestId(r.id),
            buildset: r.buildset_id,
            builder: r.name,
            priority: r.priority,
            submitted_at_us: r.at,
            waited_for: r.waited_for,
            reason: r.reason,
            properties: r.properties.0,
            sourcestamps: r.stamps.0,
            changes: r.changes.0,
            rebuild: r.rebuild,
        })
        .collect())
}

/// A session whose worker may be given a build now.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub session: SessionId,
    pub worker: WorkerId,
    pub name: String,
    pub slots: u32,
    /// Builds that it has.
    pub building: u32,
    /// What the worker says about its host.
    pub info: BTreeMap<String, serde_json::Value>,
}

/// Sessions that could build what the active revision asks: open, not paused,
/// of its vocabulary, with a free slot; those of `here`, whose polls wait in
/// this replica, and those heard in the last half minute by any.
pub async fn candidates(c: &mut PgConnection, here: &[SessionId]) -> Result<Vec<Candidate>> {
    let here: Vec<i64> = here.iter().map(|s| s.0).collect();
    let rows = sqlx::query!(
        r#"with busy as materialized (select l.session_id, count(*) as n from leases l group by l.session_id)
           select s.id, s.worker_id, w.name, s.slots, coalesce(k.n, 0) as "building!",
                  s.info as "info: Json<BTreeMap<String, serde_json::Value>>"
             from worker_sessions s
             join workers w on w.id = s.worker_id and not w.paused
             left join busy k on k.session_id = s.id
            where s.state = 'open'
              and s.vocabulary >= (select c.vocabulary from active_revision a join config_revisions c on c.id = a.revision_id)
              and (s.id = any($1) or s.seen_at > tidemill_now() - interval '30 seconds')
              and s.slots > coalesce(k.n, 0)
            order by w.name"#,
        &here
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Candidate {
            session: SessionId(r.id),
            worker: WorkerId(r.worker_id),
            name: r.name,
            slots: r.slots as u32,
            building: r.building as u32,
            info: r.info.0,
        })
        .collect())
}

/// How many builds of each builder run.
pub async fn builders_building(c: &mut PgConnection) -> Result<BTreeMap<BuilderId, u64>> {
    let rows = sqlx::query!(r#"select l.builder_id, count(*) as "n!" from leases l group by l.builder_id"#)
        .fetch_all(c)
        .await?;
    Ok(rows.into_iter().map(|r| (BuilderId(r.builder_id), r.n as u64)).collect())
}
