//! Enrolled workers and their tokens.

use crate::{Db, Error, Result};
use sqlx::PgConnection;
use tidemill_model::WorkerId;
use tidemill_service::token;

/// Enrols a worker, or gives an enrolled one a new token (the old one stops to
/// work at once). The token is in nobody's hands but the caller's.
pub async fn worker_enrol(db: &Db, name: &str) -> Result<String> {
    check_name(name)?;
    let secret = token::generate(token::Kind::Worker);
    let hash = token::hash(&secret);
    sqlx::query!(
        "insert into workers (name, token_hash) values ($1, $2)
         on conflict (name) do update set token_hash = excluded.token_hash",
        name,
        hash
    )
    .execute(db.pool())
    .await?;
    Ok(secret)
}

/// Whose token this is.
pub async fn worker_by_token(c: &mut PgConnection, secret: &str) -> Result<Option<(WorkerId, String)>> {
    let row = sqlx::query!("select id, name from workers where token_hash = $1", token::hash(secret))
        .fetch_optional(c)
        .await?;
    Ok(row.map(|r| (WorkerId(r.id), r.name)))
}

/// Which of these token hashes are still a worker's.
pub async fn tokens_good(c: &mut PgConnection, hashes: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    Ok(sqlx::query_scalar!(r#"select token_hash as "hash!" from workers where token_hash = any($1)"#, hashes)
        .fetch_all(c)
        .await?)
}

fn check_name(name: &str) -> Result<()> {
    let good = !name.is_empty()
        && name.len() <= 100
        && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
        && !name.starts_with(['-', '.']);
    if good {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "`{}` cannot be a worker's name: use letters, digits, `-`, `_` and `.`, at most 100, not beginning with `-` or `.`",
        name.escape_debug()
    )))
}
