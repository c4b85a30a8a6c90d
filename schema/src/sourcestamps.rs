//! Source stamps: equal ones are one row.

use crate::Result;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tidemill_model::{SourceStamp, SourceStampId};

/// The ids of these stamps, made where missing; in the order given. Their
/// patches are stored already ([`crate::patches`]).
pub async fn sourcestamps_intern(c: &mut PgConnection, stamps: &[SourceStamp]) -> Result<Vec<SourceStampId>> {
    let hashes: Vec<Vec<u8>> = stamps.iter().map(hash).collect();
    let column = |f: fn(&SourceStamp) -> &str| stamps.iter().map(|s| f(s).to_owned()).collect::<Vec<_>>();
    let (codebases, repositories, projects) =
        (column(|s| &s.codebase), column(|s| &s.repository), column(|s| &s.project));
    let branches: Vec<Option<String>> = stamps.iter().map(|s| s.branch.clone()).collect();
    let revisions: Vec<Option<String>> = stamps.iter().map(|s| s.revision.clone()).collect();
    let patches: Vec<Option<i64>> = stamps.iter().map(|s| s.patch.as_ref().map(|p| p.id)).collect();
    // Sorted, so that two writers of the same stamps wait in one order.
    sqlx::query!(
        "insert into sourcestamps (hash, codebase, repository, project, branch, revision, patch_id)
         select distinct on (hash) *
           from unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
             as s(hash, codebase, repository, project, branch, revision, patch_id)
         order by hash
         on conflict (hash) do nothing",
        &hashes,
        &codebases,
        &repositories,
        &projects,
        &branches as &[Option<String>],
        &revisions as &[Option<String>],
        &patches as &[Option<i64>],
    )
    .execute(&mut *c)
    .await?;
    let ids = sqlx::query_scalar!(
        "select s.id from unnest($1::bytea[]) with ordinality as h(hash, ord) join sourcestamps s using (hash) order by ord",
        &hashes
    )
    .fetch_all(&mut *c)
    .await?;
    crate::error::expect("sourcestamps", stamps.len() as u64, ids.len() as u64)?;
    Ok(ids.into_iter().map(SourceStampId).collect())
}

/// SHA-256 over the fields, each with its length before it and none marked apart from empty.
pub(crate) fn hash(s: &SourceStamp) -> Vec<u8> {
    let mut sha = Sha256::new();
    let fields = [Some(&s.codebase), Some(&s.repository), Some(&s.project), s.branch.as_ref(), s.revision.as_ref()];
    let patch = s.patch.as_ref().map(|p| &p.hash);
    // Without a patch nothing of it goes in.
    for field in fields.into_iter().chain(patch.map(Some)) {
        match field {
            None => sha.update([0]),
            Some(text) => {
                sha.update([1]);
                sha.update((text.len() as u64).to_le_bytes());
                sha.update(text.as_bytes());
            }
        }
    }
    sha.finalize().to_vec()
}
