//! Config revisions: stored once for each content, active one at a time.
//!
//! Activating turns the definition into rows of builders, schedulers and
//! change sources in the same transaction. Rows keep their ids by name; what
//! the revision no longer names becomes inactive and keeps its history. A
//! scheduler that is new starts at the horizon of now: it sees every change
//! that commits after its activation, and none before.

use crate::{Error, Result};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::revision::Files;
use tidemill_model::{Properties, RevisionId};

/// What a definition asks for, in columns. The master makes it of
/// `lang::definition`, which this crate does not know.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub builders: Vec<WantedBuilder>,
    /// Name and definition.
    pub schedulers: Vec<(String, Value)>,
    /// Name and definition.
    pub change_sources: Vec<(String, Value)>,
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
    pub steps: Vec<String>,
}

/// A stored revision.
#[derive(Clone, Debug)]
pub struct Revision {
    pub id: RevisionId,
    pub hash: String,
    pub files: Files,
    pub vocabulary: i32,
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
    // The update that changes nothing makes the row come back also when it was there.
    let id = sqlx::query_scalar!(
        "insert into config_revisions (hash, files, definition, vocabulary, comment, created_by)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (hash) do update set definition = excluded.definition, vocabulary = excluded.vocabulary
         returning id",
        hash,
        files,
        definition,
        vocabulary,
        comment,
        by
    )
    .fetch_one(&mut *c)
    .await?;
    Ok(RevisionId(id))
}

/// Makes a revision the active one, with its rows. True if it was not already.
pub async fn revision_activate(c: &mut PgConnection, id: RevisionId, wanted: &Wanted) -> Result<bool> {
    // Held to the end: schedule loops, which share it, decide before or after, never between.
    let old = sqlx::query_scalar!("select revision_id from active_revision for update").fetch_optional(&mut *c).await?;
    if old == Some(id.0) {
        return Ok(false);
    }
    builders_reconcile(c, &wanted.builders).await?;
    schedulers_reconcile(c, &wanted.schedulers).await?;
    change_sources_reconcile(c, &wanted.change_sources).await?;
    sqlx::query!(
        "insert into active_revision (revision_id) values ($1)
         on conflict (one) do update set revision_id = excluded.revision_id, activated_at = tidemill_now()",
        id.0
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!(
        "insert into events (kind, data) values ('config.activated', jsonb_build_object('revision', $1::bigint))",
        id.0
    )
    .execute(&mut *c)
    .await?;
    Ok(true)
}

async fn builders_reconcile(c: &mut PgConnection, wanted: &[WantedBuilder]) -> Result<()> {
    let names: Vec<String> = wanted.iter().map(|b| b.name.clone()).collect();
    for b in wanted {
        let json = |p: &Properties| serde_json::to_value(p).unwrap_or_default();
        let id = sqlx::query_scalar!(
            r#"insert into builders as b (name, tags, description, project, any_worker, properties,
                                          default_properties, max_attempts, steps)
               values ($1, $2, $3, $4, $5, $6, $7, coalesce($8, 5), $9)
               on conflict (name) do update
                  set active = true, tags = excluded.tags, description = excluded.description,
                      project = excluded.project, any_worker = excluded.any_worker,
                      properties = excluded.properties, default_properties = excluded.default_properties,
                      max_attempts = excluded.max_attempts, steps = excluded.steps
               returning id"#,
            b.name,
            &b.tags,
            b.description,
            b.project,
            b.any_worker,
            json(&b.properties),
            json(&b.default_properties),
            b.max_attempts,
            &b.steps
        )
        .fetch_one(&mut *c)
        .await?;
        sqlx::query!(
            "with gone as (delete from builder_workers where builder_id = $1 and worker_name <> all($2))
             insert into builder_workers (builder_id, worker_name)
             select $1, w from unnest($2::text[]) w on conflict do nothing",
            id,
            &b.workernames
        )
        .execute(&mut *c)
        .await?;
        sqlx::query!("insert into lanes (builder_id, priority) values ($1, 0) on conflict do nothing", id)
            .execute(&mut *c)
            .await?;
    }
    sqlx::query!("update builders set active = false where active and name <> all($1)", &names)
        .execute(&mut *c)
        .await?;
    Ok(())
}

async fn schedulers_reconcile(c: &mut PgConnection, wanted: &[(String, Value)]) -> Result<()> {
    let names: Vec<String> = wanted.iter().map(|(n, _)| n.clone()).collect();
    let definitions: Vec<Value> = wanted.iter().map(|(_, d)| d.clone()).collect();
    // One that comes back after being inactive starts at now too, as a new one does.
    sqlx::query!(
        "insert into schedulers as s (name, definition, cursor_xid, cursor_id)
         select n, d, tidemill_horizon(), 0 from unnest($1::text[], $2::jsonb[]) u(n, d)
         on conflict (name) do update
            set definition = excluded.definition, active = true,
                cursor_xid = case when s.active then s.cursor_xid else excluded.cursor_xid end,
                cursor_id = case when s.active then s.cursor_id else excluded.cursor_id end,
                state = case when s.active then s.state else '{}' end,
                next_at = case when s.active then s.next_at end",
        &names,
        &definitions
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!("update schedulers set active = false where active and name <> all($1)", &names)
        .execute(&mut *c)
        .await?;
    Ok(())
}

async fn change_sources_reconcile(c: &mut PgConnection, wanted: &[(String, Value)]) -> Result<()> {
    let names: Vec<String> = wanted.iter().map(|(n, _)| n.clone()).collect();
    let definitions: Vec<Value> = wanted.iter().map(|(_, d)| d.clone()).collect();
    // One whose definition did not change is left running (C-32).
    sqlx::query!(
        "insert into change_sources as s (name, definition)
         select n, d from unnest($1::text[], $2::jsonb[]) u(n, d)
         on conflict (name) do update
            set definition = excluded.definition, active = true, next_at = tidemill_now(), error = null, errors = 0,
                -- A poll that runs now asked by the old definition: what it finds is not stored.
                holder = null, held_until = null,
                -- Another repository begins anew (D-38).
                cursor = case when jsonb_path_query_first(s.definition, '$.**.repourl')
                                   = jsonb_path_query_first(excluded.definition, '$.**.repourl') then s.cursor end
          where s.definition <> excluded.definition or not s.active",
        &names,
        &definitions
    )
    .execute(&mut *c)
    .await?;
    sqlx::query!(
        "update change_sources set active = false, holder = null, held_until = null
          where active and name <> all($1)",
        &names
    )
    .execute(&mut *c)
    .await?;
    Ok(())
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

/// The id of the active revision.
pub async fn revision_active_id(c: &mut PgConnection) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!("select revision_id from active_revision").fetch_optional(c).await?)
}
