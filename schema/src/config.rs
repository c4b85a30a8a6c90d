//! Config revisions: stored once for each content, active one at a time.
//!
//! Activating turns the definition into rows of builders, schedulers and
//! change sources in the same transaction ([`rows`]). Rows keep their ids by
//! name; what the revision no longer names becomes inactive and keeps its
//! history. Each activation leaves a row in `activations`, so that going back
//! is seen as what it was. Activations go one after the other, whoever asks.

mod locks;
mod projects;
mod rows;

use crate::{Error, Result};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use std::collections::BTreeMap;
use tidemill_model::LockAccess;
use tidemill_model::revision::Files;
use tidemill_model::{Properties, RevisionId};
use time::OffsetDateTime;

/// What a definition asks for, in columns. The master makes it of
/// `lang::definition`, which this crate does not know.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub builders: Vec<WantedBuilder>,
    /// Labels by the name of the worker.
    pub worker_labels: Vec<(String, tidemill_model::requires::Labels)>,
    pub schedulers: Vec<WantedScheduler>,
    /// Name and definition.
    pub change_sources: Vec<(String, Value)>,
    pub locks: Vec<WantedLock>,
    /// Workers of which the database must know something.
    pub workers: Vec<WantedWorker>,
    pub projects: Vec<WantedProject>,
    /// Shares by the name of the project; where there is none, claims know nothing of fairness.
    pub shares: Vec<(String, f64)>,
}

#[derive(Clone, Debug)]
pub struct WantedProject {
    pub name: String,
    pub description: String,
    /// False: in reports only roles see it that were granted it.
    pub public: bool,
}

#[derive(Clone, Debug)]
pub struct WantedLock {
    pub name: String,
    /// One on each worker, instead of one for the cluster.
    pub of_workers: bool,
    pub capacity: u32,
    /// Of a worker lock: other capacities for some workers.
    pub capacities: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, Default)]
pub struct WantedWorker {
    pub name: String,
    /// Locks that each of its builds holds.
    pub locks: Vec<LockAccess>,
    pub max_builds: Option<u32>,
    /// After how long without a word of it its absence is told; none: an hour.
    pub missing_after: Option<std::time::Duration>,
    /// It takes no build of what outsiders announced.
    pub trusted_only: bool,
}

#[derive(Clone, Debug, Default)]
pub struct WantedBuilder {
    pub name: String,
    pub tags: Vec<String>,
    pub description: String,
    pub project: String,
    pub any_worker: bool,
    pub workernames: Vec<String>,
    pub properties: Properties,
    pub default_properties: Properties,
    pub max_attempts: Option<i32>,
    /// Only workers whose labels fit.
    pub requires: Option<String>,
    /// None: its requests wait for a worker for ever.
    pub expires_after: Option<std::time::Duration>,
    pub steps: Vec<String>,
    /// Locks that each of its builds holds.
    pub locks: Vec<LockAccess>,
    /// They come from a function of the build.
    pub lock_rule: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct WantedScheduler {
    pub name: String,
    pub definition: Value,
    /// Whether it looks at changes.
    pub watches: bool,
    /// Whether it hears of buildsets of other schedulers.
    pub hears: bool,
    /// Whether its rule is asked once, now, if it is new or changed: to set its timer.
    pub looks: bool,
    /// What it does, in words, until that look.
    pub summary: String,
}

/// A stored revision.
#[derive(Clone, Debug)]
pub struct Revision {
    pub id: RevisionId,
    pub hash: String,
    pub files: Files,
    pub vocabulary: i32,
}

/// Who activates a revision, and why.
#[derive(Clone, Copy, Debug, Default)]
pub struct By<'a> {
    pub name: &'a str,
    pub comment: &'a str,
}

/// Stores the files (the same content is the same revision). Text only: whether
/// they are good is known before this is called.
pub async fn revision_insert(
    c: &mut PgConnection,
    files: &Files,
    definition: &Value,
    vocabulary: i32,
    comment: &str,
    by: &str,
) -> Result<RevisionId> {
    let hash = files.hash();
    let files = serde_json::to_value(files).unwrap_or_default();
    // Another release may see more in the same files; without that the row stays as it is. That of
    // the active revision stays anyway: what workers need for it changes with an activation only.
    let written = sqlx::query_scalar!(
        "insert into config_revisions as r (hash, files, definition, vocabulary, comment, created_by)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (hash) do update set definition = excluded.definition, vocabulary = excluded.vocabulary
            where (r.definition, r.vocabulary) is distinct from (excluded.definition, excluded.vocabulary)
              and not exists (select from active_revision a where a.revision_id = r.id)
         returning id",
        hash,
        files,
        definition,
        vocabulary,
        comment,
        by
    )
    .fetch_optional(&mut *c)
    .await?;
    let id = match written {
        Some(id) => id,
        None => sqlx::query_scalar!("select id from config_revisions where hash = $1", hash).fetch_one(c).await?,
    };
    Ok(RevisionId(id))
}

/// What this release sees in the files of a revision that it is about to activate.
pub async fn revision_redefine(
    c: &mut PgConnection,
    id: RevisionId,
    definition: &Value,
    vocabulary: i32,
) -> Result<()> {
    sqlx::query!(
        "update config_revisions set definition = $2, vocabulary = $3
          where id = $1 and (definition, vocabulary) is distinct from ($2, $3)",
        id.0,
        definition,
        vocabulary
    )
    .execute(c)
    .await?;
    Ok(())
}

/// Makes a revision the active one, with its rows. True if it was not already;
/// if it was, rows of which this release sees more than the one before are written.
pub async fn revision_activate(c: &mut PgConnection, id: RevisionId, wanted: &Wanted) -> Result<bool> {
    revision_activate_by(c, id, wanted, By::default()).await
}

/// The same, for the record of who did it.
pub async fn revision_activate_by(c: &mut PgConnection, id: RevisionId, wanted: &Wanted, by: By<'_>) -> Result<bool> {
    // Two first activations have no row to wait for each other.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('config.activate'))").execute(&mut *c).await?;
    // Held to the end: schedule loops, which share it, decide before or after, never between.
    let old = sqlx::query_scalar!("select revision_id from active_revision for update").fetch_optional(&mut *c).await?;
    crate::labels::worker_labels_store(c, &wanted.worker_labels).await?;
    rows::builders(c, &wanted.builders).await?;
    locks::locks(c, &wanted.locks).await?;
    locks::workers(c, &wanted.workers).await?;
    locks::waiters(c).await?;
    projects::projects(c, &wanted.projects).await?;
    rows::shares(c, &wanted.shares).await?;
    rows::schedulers(c, &wanted.schedulers).await?;
    rows::change_sources(c, &wanted.change_sources).await?;
    if old == Some(id.0) {
        return Ok(false);
    }
    sqlx::query!(
        "insert into active_revision (revision_id) values ($1)
         on conflict (one) do update set revision_id = excluded.revision_id, activated_at = tidemill_now()",
        id.0
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!(
        "insert into activations (revision_id, activated_by, comment) values ($1, $2, $3)",
        id.0,
        by.name,
        by.comment
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!(
        "insert into events (kind, data)
         values ('config.activated', jsonb_build_object('revision', $1::bigint, 'by', $2::text))",
        id.0,
        by.name
    )
    .execute(&mut *c)
    .await?;
    Ok(true)
}

/// The files of a revision, by hash.
pub async fn revision_by_hash(c: &mut PgConnection, hash: &str) -> Result<Option<Revision>> {
    let row = sqlx::query!(
        r#"select id, hash, files as "files: Json<Files>", vocabulary from config_revisions where hash = $1"#,
        hash
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Revision { id: RevisionId(r.id), hash: r.hash, files: r.files.0, vocabulary: r.vocabulary }))
}

/// A revision by its id.
pub async fn revision_by_id(c: &mut PgConnection, id: RevisionId) -> Result<Option<Revision>> {
    let row = sqlx::query!(
        r#"select id, hash, files as "files: Json<Files>", vocabulary from config_revisions where id = $1"#,
        id.0
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Revision { id: RevisionId(r.id), hash: r.hash, files: r.files.0, vocabulary: r.vocabulary }))
}

/// What evaluation gave when it was applied last, as in `lang::definition`.
pub async fn revision_definition(c: &mut PgConnection, id: RevisionId) -> Result<Option<Value>> {
    Ok(sqlx::query_scalar!("select definition from config_revisions where id = $1", id.0).fetch_optional(c).await?)
}

/// The active revision.
pub async fn revision_active(c: &mut PgConnection) -> Result<Option<Revision>> {
    let row = sqlx::query!(
        r#"select r.id, r.hash, r.files as "files: Json<Files>", r.vocabulary
             from active_revision a join config_revisions r on r.id = a.revision_id"#
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Revision { id: RevisionId(r.id), hash: r.hash, files: r.files.0, vocabulary: r.vocabulary }))
}

/// Locks the active revision against activation until the transaction ends;
/// its id, to decide again if it is not the one decided with.
pub async fn revision_share(c: &mut PgConnection) -> Result<RevisionId> {
    sqlx::query_scalar!("select revision_id from active_revision for share")
        .fetch_optional(c)
        .await?
        .map(RevisionId)
        .ok_or_else(|| Error::NotFound("no project configuration is active: run `tidemill reconfig`".into()))
}

/// Id and hash of the active revision. After a return to an older copy of the
/// database another revision may have the id.
pub async fn revision_active_key(c: &mut PgConnection) -> Result<Option<(i64, String)>> {
    let row =
        sqlx::query!("select r.id, r.hash from active_revision a join config_revisions r on r.id = a.revision_id")
            .fetch_optional(c)
            .await?;
    Ok(row.map(|r| (r.id, r.hash)))
}

/// An activation of a revision.
#[derive(Clone, Debug)]
pub struct Activation {
    pub at: OffsetDateTime,
    pub by: String,
}

/// The newest activation of a revision.
pub async fn activation(c: &mut PgConnection, id: RevisionId) -> Result<Option<Activation>> {
    let row = sqlx::query!(
        "select activated_at, activated_by from activations where revision_id = $1 order by id desc limit 1",
        id.0
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Activation { at: r.activated_at, by: r.activated_by }))
}
