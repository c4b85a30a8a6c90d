//! Patches: what somebody wants tried on top of a revision. Immutable, and equal
//! ones are one row.

use crate::changes::clean;
use crate::{Error, Result};
use sqlx::PgConnection;
use tidemill_model::{BuildId, NewPatch, Patch};

/// Stores a patch, once; gives what a source stamp says of it.
pub async fn patch_intern(c: &mut PgConnection, new: &NewPatch) -> Result<Patch> {
    let new = NewPatch {
        body: new.body.clone(),
        level: new.level,
        subdir: clean(&new.subdir),
        author: clean(&new.author),
        comment: clean(&new.comment),
    };
    let hash = new.hash();
    let key = hex::decode(&hash).map_err(|e| Error::Inconsistent(format!("the hash of a patch: {e}")))?;
    sqlx::query!(
        "insert into patches (hash, body, level, subdir, author, comment) values ($1, $2, $3, $4, $5, $6)
         on conflict (hash) do nothing",
        &key,
        &new.body,
        new.level as i32,
        new.subdir,
        new.author,
        new.comment
    )
    .execute(&mut *c)
    .await?;
    let id = sqlx::query_scalar!("select id from patches where hash = $1", &key).fetch_one(&mut *c).await?;
    let size = new.body.len() as u64;
    Ok(Patch { id, hash, level: new.level, subdir: new.subdir, author: new.author, comment: new.comment, size })
}

/// The body, for people.
pub async fn patch_body(c: &mut PgConnection, id: i64) -> Result<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar!("select body from patches where id = $1", id).fetch_optional(c).await?)
}

/// What a build's worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    Body(Vec<u8>),
    /// The build is none of the asker's any more.
    LeaseLost,
    /// No source stamp of the build has this patch.
    Unknown,
}

/// The body of a patch, for the worker that proves with the lease's token that
/// it holds a build of it.
pub async fn patch_of_build(c: &mut PgConnection, build: BuildId, token: &str, patch: i64) -> Result<Fetched> {
    if !crate::leases::lease_stands(c, build, token).await? {
        return Ok(Fetched::LeaseLost);
    }
    let body = sqlx::query_scalar!(
        "select p.body
           from builds b
           join build_requests r on r.id = b.request_id
           join buildset_sourcestamps x on x.buildset_id = r.buildset_id
           join sourcestamps s on s.id = x.sourcestamp_id
           join patches p on p.id = s.patch_id
          where b.id = $1 and p.id = $2",
        build.0,
        patch
    )
    .fetch_optional(c)
    .await?;
    Ok(body.map_or(Fetched::Unknown, Fetched::Body))
}
