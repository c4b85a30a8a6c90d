//! What control needs to know before it acts: which sources a forced build
//! takes, and what a build was made of.

use crate::Result;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::{BuildId, ChangeId, Properties, SourceStamp};

/// The source stamps of a builder's newest buildset that is trusted, so that
/// nobody forces a build of an outsider's repository without naming it; empty if
/// there is none.
pub async fn latest_stamps(c: &mut PgConnection, builder: i64) -> Result<Vec<SourceStamp>> {
    let rows = sqlx::query!(
        "select ss.codebase, ss.repository, ss.project, ss.branch, ss.revision
           from (select n.buildset_id
                   from (select q.id, q.buildset_id from build_requests q
                          where q.builder_id = $1 order by q.id desc limit 200) n
                  where buildset_trusted(n.buildset_id) order by n.id desc limit 1) r
           join buildset_sourcestamps x on x.buildset_id = r.buildset_id
           join sourcestamps ss on ss.id = x.sourcestamp_id
          order by ss.codebase",
        builder
    )
    .fetch_all(c)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| SourceStamp {
            codebase: r.codebase,
            repository: r.repository,
            project: r.project,
            branch: r.branch,
            revision: r.revision,
            // What is forced is the branch, not what somebody tried on it.
            patch: None,
        })
        .collect())
}

/// Definitions of the active change sources, as the project file gave them.
pub async fn source_definitions(c: &mut PgConnection) -> Result<Vec<Value>> {
    Ok(sqlx::query_scalar!("select definition from change_sources where active order by id").fetch_all(c).await?)
}

/// What a build was made of: enough to make it again.
#[derive(Clone, Debug)]
pub struct Origin {
    pub builder: String,
    pub sourcestamps: Vec<SourceStamp>,
    pub properties: Properties,
    pub changes: Vec<ChangeId>,
    /// The parent of its buildset, and how that calls it.
    pub parent: Option<(BuildId, Option<String>)>,
    /// The build itself, or the first of the chain of rebuilds that it is in.
    pub first: BuildId,
}

pub async fn build_origin(c: &mut PgConnection, build: BuildId) -> Result<Option<Origin>> {
    let row = sqlx::query!(
        r#"select u.name, s.parent_build_id, s.parent_relationship, s.rebuilt_build_id,
                  s.properties as "properties: Json<Properties>",
                  buildset_stamps(s.id) as "stamps!: Json<Vec<SourceStamp>>",
                  array(select x.change_id from buildset_changes x where x.buildset_id = s.id order by 1) as "changes!"
             from builds b
             join build_requests r on r.id = b.request_id
             join builders u on u.id = r.builder_id
             join buildsets s on s.id = r.buildset_id
            where b.id = $1"#,
        build.0
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Origin {
        builder: r.name,
        sourcestamps: r.stamps.0,
        properties: r.properties.0,
        changes: r.changes.into_iter().map(ChangeId).collect(),
        parent: r.parent_build_id.map(|parent| (BuildId(parent), r.parent_relationship)),
        first: r.rebuilt_build_id.map_or(build, BuildId),
    }))
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    Complete,
    /// A worker has it: its build.
    Claimed(BuildId),
    /// It became part of another.
    Collapsed,
    Waiting,
}

pub async fn request_state(c: &mut PgConnection, request: i64) -> Result<Option<RequestState>> {
    let row = sqlx::query!(
        r#"select r.complete_at is not null as "complete!", r.collapsed_into is not null as "collapsed!",
                  (select b.id from builds b where b.request_id = r.id and b.state <> 'finished'
                    order by b.id desc limit 1) as build
             from build_requests r where r.id = $1"#,
        request
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| match (r.complete, r.build) {
        (true, _) => RequestState::Complete,
        (false, Some(build)) => RequestState::Claimed(BuildId(build)),
        (false, None) if r.collapsed => RequestState::Collapsed,
        (false, None) => RequestState::Waiting,
    }))
}

/// A scheduler that people set off, as the active revision defines it.
#[derive(Clone, Debug)]
pub struct ForceScheduler {
    pub name: String,
    pub enabled: bool,
    pub definition: Value,
}

/// All of them, by name.
pub async fn force_schedulers(c: &mut PgConnection) -> Result<Vec<ForceScheduler>> {
    Ok(sqlx::query_as!(
        ForceScheduler,
        "select name, enabled, definition from schedulers
          where active and definition #> '{kind,force}' is not null order by name"
    )
    .fetch_all(c)
    .await?)
}

/// The build of a builder with this number.
pub async fn build_numbered(c: &mut PgConnection, builder: &str, number: i64) -> Result<Option<BuildId>> {
    let id = sqlx::query_scalar!(
        "select b.id from builders u join builds b on b.builder_id = u.id and b.number = $2 where u.name = $1",
        crate::changes::clean(builder),
        number
    )
    .fetch_optional(c)
    .await?;
    Ok(id.map(BuildId))
}
