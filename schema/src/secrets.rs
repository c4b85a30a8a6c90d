//! Who asks for the value of a secret. Values are in no row.

use crate::Result;
use sqlx::PgConnection;
use sqlx::types::Json;
use tidemill_model::BuildId;
use tidemill_model::revision::Files;

/// A build whose worker asks.
#[derive(Clone, Debug)]
pub struct Asker {
    pub builder: String,
    /// The project's files of the build's revision, in which a secret is named.
    pub files: Files,
    /// Where the project says that secrets come from; null if it says nothing.
    pub providers: serde_json::Value,
    /// Whether what it builds may use secrets: not what strangers sent (A14).
    pub trusted: bool,
}

/// The build that this token holds the lease of; none if it holds none.
pub async fn secret_asker(c: &mut PgConnection, build: BuildId, token: &str) -> Result<Option<Asker>> {
    let token = token.replace('\0', "");
    let row = sqlx::query!(
        r#"select u.name, r.files as "files: Json<Files>", r.definition -> 'secrets_providers' as providers,
                  buildset_trusted(q.buildset_id) as "trusted!"
             from leases l
             join builds b on b.id = l.build_id
             join build_requests q on q.id = b.request_id
             join builders u on u.id = q.builder_id
             join config_revisions r on r.id = b.revision_id
            where l.build_id = $1 and l.token = $2"#,
        build.0,
        token
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|r| Asker {
        builder: r.name,
        files: r.files.0,
        providers: r.providers.unwrap_or_default(),
        trusted: r.trusted,
    }))
}
