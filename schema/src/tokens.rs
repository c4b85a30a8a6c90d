//! Tokens of people and programs.

use crate::{Db, Result};
use sqlx::PgConnection;
use tidemill_service::token;

/// Makes a token for a person or program, or replaces the one of that name.
pub async fn user_token_create(db: &Db, name: &str) -> Result<String> {
    let secret = token::generate(token::Kind::User);
    sqlx::query!(
        "insert into user_tokens (name, hash) values ($1, $2)
         on conflict (name) do update set hash = excluded.hash, created_at = tidemill_now()",
        name,
        token::hash(&secret)
    )
    .execute(db.pool())
    .await?;
    Ok(secret)
}

/// Whose token this is, if it is valid now and allows control.
pub async fn user_by_token(c: &mut PgConnection, secret: &str) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        "select name from user_tokens
          where hash = $1 and 'control' = any(scopes) and (expires_at is null or expires_at > tidemill_now())",
        token::hash(secret)
    )
    .fetch_optional(c)
    .await?)
}

/// Whether anybody has a token: then loopback alone is no longer enough for control.
pub async fn users_exist(c: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar!(r#"select exists (select 1 from user_tokens) as "x!""#).fetch_one(c).await?)
}
