//! Tokens of people and programs.

use crate::{Db, Result};
use sqlx::PgConnection;
use tidemill_service::token;

/// What a token is good for, besides reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Control,
    /// Trying changes on the builders of Try schedulers.
    Try,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Scope::Control => "control",
            Scope::Try => "try",
        }
    }
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    /// May control, which holds every other right.
    pub controls: bool,
    /// May try changes.
    pub tries: bool,
}

/// Makes a token for a person or program, or replaces the one of that name. It
/// is good for everything.
pub async fn user_token_create(db: &Db, name: &str) -> Result<String> {
    user_token_create_for(db, name, Scope::Control).await
}

/// The same, good for this only.
pub async fn user_token_create_for(db: &Db, name: &str, scope: Scope) -> Result<String> {
    let secret = token::generate(token::Kind::User);
    sqlx::query!(
        "insert into user_tokens (name, hash, scopes) values ($1, $2, array[$3])
         on conflict (name) do update
            set hash = excluded.hash, scopes = excluded.scopes, created_at = tidemill_now()",
        name,
        token::hash(&secret),
        scope.name()
    )
    .execute(db.pool())
    .await?;
    Ok(secret)
}

/// Whose token this is, if it is valid now and good for anything.
pub async fn user_by_token(c: &mut PgConnection, secret: &str) -> Result<Option<User>> {
    let row = sqlx::query!(
        "select name, scopes from user_tokens
          where hash = $1 and (expires_at is null or expires_at > tidemill_now())",
        token::hash(secret)
    )
    .fetch_optional(c)
    .await?;
    Ok(row.and_then(|r| {
        let has = |scope: Scope| r.scopes.iter().any(|s| s == scope.name());
        let controls = has(Scope::Control);
        let tries = controls || has(Scope::Try);
        tries.then_some(User { name: r.name, controls, tries })
    }))
}

/// Whether anybody has a token: then loopback alone is no longer enough for control.
pub async fn users_exist(c: &mut PgConnection) -> Result<bool> {
    Ok(sqlx::query_scalar!(r#"select exists (select 1 from user_tokens) as "x!""#).fetch_one(c).await?)
}
