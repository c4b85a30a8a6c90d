//! Changes: the one entry point that stores them, and the cursor that reads them.

use crate::sourcestamps::sourcestamps_intern;
use crate::{Error, Result};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::{Change, ChangeId, ChangeSourceId, NewChange, Properties};
use time::OffsetDateTime;

/// A position in a table read by (xid, id).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub xid: i64,
    pub id: i64,
}

/// Most parents of a commit that are kept: the most that git merges at once, by far.
const PARENTS_MAX: usize = 100;

/// Stores changes in this transaction, in order; with their `changes.new`
/// events. A NUL byte, which Postgres text cannot hold, becomes U+FFFD.
pub async fn changes_insert(
    c: &mut PgConnection,
    changes: &[NewChange],
    source: Option<ChangeSourceId>,
) -> Result<Vec<ChangeId>> {
    let mut ids = Vec::with_capacity(changes.len());
    for change in changes {
        ids.push(insert(c, change, source, None).await?);
    }
    Ok(ids)
}

/// Stores one change once for each key: the same key again gives the same id,
/// with another content it is a conflict.
pub async fn change_insert_once(c: &mut PgConnection, change: &NewChange, key: &str) -> Result<ChangeId> {
    let key = clean(key);
    // Two at once with one key: the second waits here, then finds the first's row.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 1))", key).execute(&mut *c).await?;
    let old = sqlx::query!("select id, branch, revision, comments from changes where idempotency_key = $1", key)
        .fetch_optional(&mut *c)
        .await?;
    match old {
        None => insert(c, change, None, Some(&key)).await,
        Some(old)
            if old.branch == clean_option(&change.branch)
                && old.revision == clean_option(&change.revision)
                && old.comments == clean(&change.comments) =>
        {
            Ok(ChangeId(old.id))
        }
        Some(old) => {
            Err(Error::Conflict(format!("the idempotency key was used before for another change (id {})", old.id)))
        }
    }
}

async fn insert(
    c: &mut PgConnection,
    change: &NewChange,
    source: Option<ChangeSourceId>,
    key: Option<&str>,
) -> Result<ChangeId> {
    let change = cleaned(change);
    let stamp = sourcestamps_intern(c, &[change.sourcestamp()]).await?[0];
    let properties = serde_json::to_value(&change.properties).unwrap_or_default();
    let id = sqlx::query_scalar!(
        r#"with made as (
             insert into changes (author, committer, comments, files, branch, revision, repository, project, codebase,
                                  category, revlink, when_at, properties, sourcestamp_id, change_source_id, idempotency_key,
                                  outsider, parents, parent_ids)
             select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                    case when cardinality(known.ids) > 0 then known.ids
                         else array_remove(array[change_before($9, $7, $8, $5)], null) end
               from (select array(select p.id from unnest($18::text[]) u(revision)
                                   cross join lateral (select change_of_commit($9, $7, u.revision) as id) p
                                   where p.id is not null) as ids) known
             returning id
         ), told as (
             insert into events (kind, data) select 'changes.new', jsonb_build_object('changeid', id) from made
         )
         select id as "id!" from made"#,
        change.author,
        change.committer,
        change.comments,
        &change.files,
        change.branch,
        change.revision,
        change.repository,
        change.project,
        change.codebase,
        change.category,
        change.revlink,
        change.when,
        properties,
        stamp.0,
        source.map(|s| s.0),
        key,
        change.outsider,
        &change.parents,
    )
    .fetch_one(&mut *c)
    .await?;
    Ok(ChangeId(id))
}

/// Changes by id.
pub async fn changes_get(c: &mut PgConnection, ids: &[i64]) -> Result<Vec<Change>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as!(
        Row,
        r#"select xid, id, received_at, author, committer, comments, files, branch, revision, repository, project,
                  codebase, category, revlink, when_at, outsider, properties as "properties: Json<Properties>", parents
             from changes where id = any($1)"#,
        ids
    )
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(|r| r.change().1).collect())
}

/// What a reader got, and whether committed rows above the horizon wait: then
/// it is to look again soon.
pub struct Page {
    pub changes: Vec<(Cursor, Change)>,
    pub more_above_horizon: bool,
}

/// The changes after `after` that no late commit can precede, oldest first.
pub async fn changes_after(c: &mut PgConnection, after: Cursor, limit: i64) -> Result<Page> {
    // The horizon is read first: a change committed between the two statements is then left for later.
    let horizon = sqlx::query_scalar!(r#"select tidemill_horizon() as "x!""#).fetch_one(&mut *c).await?;
    let rows = sqlx::query_as!(
        Row,
        r#"select xid, id, received_at, author, committer, comments, files, branch, revision, repository, project,
                  codebase, category, revlink, when_at, outsider, properties as "properties: Json<Properties>", parents
             from changes
            where (xid, id) > ($1, $2) and xid < $3
            order by xid, id limit $4"#,
        after.xid,
        after.id,
        horizon,
        limit
    )
    .fetch_all(&mut *c)
    .await?;
    let more_above_horizon =
        sqlx::query_scalar!(r#"select exists (select 1 from changes where xid >= $1) as "x!""#, horizon)
            .fetch_one(&mut *c)
            .await?;
    let changes = rows.into_iter().map(Row::change).collect();
    Ok(Page { changes, more_above_horizon })
}

struct Row {
    xid: i64,
    id: i64,
    received_at: OffsetDateTime,
    author: String,
    committer: Option<String>,
    comments: String,
    files: Vec<String>,
    branch: Option<String>,
    revision: Option<String>,
    repository: String,
    project: String,
    codebase: String,
    category: Option<String>,
    revlink: Option<String>,
    when_at: Option<OffsetDateTime>,
    properties: Json<Properties>,
    parents: Vec<String>,
    outsider: Option<String>,
}

impl Row {
    fn change(self) -> (Cursor, Change) {
        let new = NewChange {
            author: self.author,
            committer: self.committer,
            comments: self.comments,
            files: self.files,
            branch: self.branch,
            revision: self.revision,
            repository: self.repository,
            project: self.project,
            codebase: self.codebase,
            category: self.category,
            revlink: self.revlink,
            when: self.when_at,
            properties: self.properties.0,
            parents: self.parents,
            outsider: self.outsider,
        };
        (Cursor { xid: self.xid, id: self.id }, Change { id: ChangeId(self.id), received_at: self.received_at, new })
    }
}

/// Text that a column can hold.
pub(crate) fn clean(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

pub(crate) fn clean_option(text: &Option<String>) -> Option<String> {
    text.as_deref().map(clean)
}

/// JSON that a jsonb column can hold: NUL in any string or key becomes U+FFFD.
pub(crate) fn clean_json(value: &Value) -> Value {
    match value {
        Value::String(s) => Value::String(clean(s)),
        Value::Array(a) => Value::Array(a.iter().map(clean_json).collect()),
        Value::Object(o) => Value::Object(o.iter().map(|(k, v)| (clean(k), clean_json(v))).collect()),
        other => other.clone(),
    }
}

pub(crate) fn cleaned(change: &NewChange) -> NewChange {
    let properties = serde_json::to_value(&change.properties).unwrap_or_default();
    NewChange {
        author: clean(&change.author),
        committer: clean_option(&change.committer),
        comments: clean(&change.comments),
        files: change.files.iter().map(|f| clean(f)).collect(),
        branch: clean_option(&change.branch),
        revision: clean_option(&change.revision),
        repository: clean(&change.repository),
        project: clean(&change.project),
        codebase: clean(&change.codebase),
        category: clean_option(&change.category),
        revlink: clean_option(&change.revlink),
        // What a commit says of its time may be before all that a timestamp can hold.
        when: change.when.filter(|w| w.year() > 0),
        properties: serde_json::from_value(clean_json(&properties)).unwrap_or_default(),
        parents: change.parents.iter().take(PARENTS_MAX).map(|p| clean(p)).collect(),
        outsider: clean_option(&change.outsider),
    }
}
