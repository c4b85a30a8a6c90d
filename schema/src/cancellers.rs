//! What cancellers read and do. They hear of new buildsets and finished builds
//! from the event stream, by a cursor that is one row for all replicas: what was
//! done and the new place commit together, so nothing is missed whoever is
//! killed, and nothing is done twice. Acting twice would do no harm either:
//! only what is still open is ended.

use crate::Result;
use crate::builds::{builds_stop, leases_lock};
use crate::request_control::{Selection, builds_running};
use crate::requests::{buildsets_lock, requests_end};
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::{BuildId, RequestId, Results, SourceStamp};

/// Their place in the event stream.
pub const READER: &str = "cancellers";

/// A request that a change led to, for the first time.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub request: RequestId,
    pub buildset: i64,
    pub builder_id: i64,
    pub builder: String,
    /// The newest of its changes.
    pub change: i64,
    pub sourcestamps: Vec<SourceStamp>,
}

/// Requests of these buildsets, of those that changes led to; a rebuild is of an old change.
pub async fn newcomers(c: &mut PgConnection, buildsets: &[i64]) -> Result<Vec<Newcomer>> {
    let rows = sqlx::query!(
        r#"select r.id, s.id as buildset, r.builder_id, b.name, h.change as "change!",
                  buildset_stamps(s.id) as "stamps!: Json<Vec<SourceStamp>>"
             from unnest($1::bigint[]) u(id)
             join buildsets s on s.id = u.id and s.rebuilt_build_id is null
            cross join lateral (select max(x.change_id) as change from buildset_changes x where x.buildset_id = s.id) h
             join build_requests r on r.buildset_id = s.id
             join builders b on b.id = r.builder_id
            where h.change is not null
            order by r.id"#,
        buildsets
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Newcomer {
            request: RequestId(r.id),
            buildset: r.buildset,
            builder_id: r.builder_id,
            builder: r.name,
            change: r.change,
            sourcestamps: r.stamps.0,
        })
        .collect())
}

/// An open request, and a source of it.
#[derive(Clone, Debug)]
pub struct Open {
    pub request: RequestId,
    pub buildset: i64,
    /// The newest change that led to it.
    pub change: Option<i64>,
    pub sourcestamp: SourceStamp,
}

/// Open requests of a builder that build the same codebase, repository and project
/// as this source, and have a branch: the newest few thousand. Reads all that wait
/// for the builder: once for many newcomers.
pub async fn open_of(c: &mut PgConnection, builder: i64, stamp: &SourceStamp) -> Result<Vec<Open>> {
    let rows = sqlx::query!(
        r#"with open as (
             select q.request_id as id, q.buildset_id from lanes l join request_queue q on q.lane = l.id
              where l.builder_id = $1
             union all
             select r.id, r.buildset_id from request_waits w join build_requests r on r.id = w.request_id
              where r.builder_id = $1
             union all
             select r.id, r.buildset_id from leases k join builds b on b.id = k.build_id
               join build_requests r on r.id = b.request_id
              where r.builder_id = $1
         )
         select o.id as "id!", o.buildset_id as "buildset!", s.branch, s.revision,
                (select max(h.change_id) from buildset_changes h where h.buildset_id = o.buildset_id) as change
           from open o
           join buildset_sourcestamps x on x.buildset_id = o.buildset_id
           join sourcestamps s on s.id = x.sourcestamp_id
          where s.codebase = $2 and s.repository = $3 and s.project = $4 and s.branch is not null
          order by o.id desc limit 5000"#,
        builder,
        stamp.codebase,
        stamp.repository,
        stamp.project
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Open {
            request: RequestId(r.id),
            buildset: r.buildset,
            change: r.change,
            sourcestamp: SourceStamp { branch: r.branch, revision: r.revision, ..stamp.clone() },
        })
        .collect())
}

/// A build that failed.
#[derive(Clone, Debug)]
pub struct FailedBuild {
    pub builder: String,
    pub number: i64,
    pub request: RequestId,
    pub buildset: i64,
    pub sourcestamps: Vec<SourceStamp>,
}

/// Those of these builds that failed.
pub async fn builds_failed(c: &mut PgConnection, builds: &[i64]) -> Result<Vec<FailedBuild>> {
    let rows = sqlx::query!(
        r#"select u.name, b.number, b.request_id, r.buildset_id,
                  buildset_stamps(r.buildset_id) as "stamps!: Json<Vec<SourceStamp>>"
             from builds b
             join build_requests r on r.id = b.request_id
             join builders u on u.id = r.builder_id
            where b.id = any($1) and b.results = $2
            order by b.id"#,
        builds,
        Results::Failure.code()
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| FailedBuild {
            builder: r.name,
            number: r.number,
            request: RequestId(r.request_id),
            buildset: r.buildset_id,
            sourcestamps: r.stamps.0,
        })
        .collect())
}

/// Open requests of a buildset, with the names of their builders.
pub async fn siblings_open(c: &mut PgConnection, buildset: i64) -> Result<Vec<(RequestId, String)>> {
    let rows = sqlx::query!(
        "select r.id, b.name from build_requests r join builders b on b.id = r.builder_id
          where r.buildset_id = $1 and r.complete_at is null order by r.id",
        buildset
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| (RequestId(r.id), r.name)).collect())
}

/// Requests that end for one reason.
#[derive(Clone, Debug)]
pub struct Ending {
    pub requests: Vec<RequestId>,
    pub reason: String,
}

/// Ends requests, whether they wait or are being built. Returns the builds that are asked to stop.
///
/// The last act of its transaction: from here on it holds what running builds wait for. All of it
/// is locked first, leases and then buildsets, each in the order of ids, as by all who finish builds.
pub async fn requests_end_all(c: &mut PgConnection, endings: &[Ending]) -> Result<Vec<BuildId>> {
    let of =
        |requests: &[RequestId]| Selection { requests: requests.iter().map(|r| r.0).collect(), ..Selection::default() };
    let all: Vec<RequestId> = endings.iter().flat_map(|e| e.requests.iter().copied()).collect();
    let running = builds_running(c, &of(&all)).await?;
    leases_lock(c, &running).await?;
    let mut stopped = Vec::new();
    for ending in endings {
        let builds = builds_running(c, &of(&ending.requests)).await?;
        stopped.extend(builds_stop(c, &builds, &ending.reason, Results::Cancelled).await?);
    }
    buildsets_lock(c, &all).await?;
    for ending in endings {
        requests_end(c, &ending.requests, Results::Cancelled, &ending.reason).await?;
        // What a worker claimed between the two; rare enough to risk a deadlock, which is tried again.
        let late = builds_running(c, &of(&ending.requests)).await?;
        stopped.extend(builds_stop(c, &late, &ending.reason, Results::Cancelled).await?);
    }
    Ok(stopped)
}
