//! Builders as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, json, text, texts};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;

pub static BUILDERS: Resource = Resource {
    name: "builders",
    table: "builders",
    alias: "u",
    fields: &[
        int("builderid", "u.id", "Lasts as long as the name."),
        text("name", "u.name", "Unique."),
        text("description", "u.description", "For people."),
        text("description_format", "null::text", "Always null: descriptions are plain text."),
        text("description_html", "null::text", "Always null."),
        texts("tags", "u.tags", "For grouping."),
        json(
            "masterids",
            "case when u.active then (select coalesce(json_agg(m.id order by m.id), '[]'::json)
                                        from masters m where m.stopped_at is null
                                         and exists (select 1 from beats x where x.master_id = m.id
                                                        and x.at > tidemill_now() - interval '10 seconds'))
                  else '[]'::json end",
            "Every live replica, for a builder that the active revision defines.",
        ),
        int("projectid", "null::bigint", "Always null for now; see `project`."),
        text("project", "u.project", "Name of the project."),
        flag("active", "u.active", "Whether the active revision defines it."),
        flag(
            "virtual",
            "u.virtual",
            "Whether builds of others appear under it, because their requests asked for that.",
        ),
        flag("paused", "u.paused", "Whether its requests are kept in the queue for now."),
        texts("steps", "u.steps", "Names of the factory's steps."),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Builder {
    pub builderid: i64,
    pub name: String,
    pub description: String,
    pub tags: Vec<String>,
    pub project: String,
    pub active: bool,
    #[serde(rename = "virtual")]
    pub is_virtual: bool,
    pub paused: bool,
    pub steps: Vec<String>,
}

pub async fn one(c: &mut PgConnection, scope: &[Scope]) -> Result<Option<Builder>> {
    list::one(c, &BUILDERS, scope, &Query::default()).await?.map(|r| list::typed_one(&r)).transpose()
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("u.id = ", id)
}

/// The id behind what a path says: an id, or a name. Digits are an id where
/// there is such a one, else a name of digits.
pub async fn resolve(c: &mut PgConnection, named: &str) -> Result<Option<i64>> {
    let id: Option<i64> = named.parse().ok();
    Ok(sqlx::query_scalar!(
        "select id from builders where id = $1 or name = $2 order by (id = $1) desc nulls last limit 1",
        id,
        crate::changes::clean(named)
    )
    .fetch_optional(c)
    .await?)
}

/// The id behind a name, and nothing else: for pages, whose paths carry names.
pub async fn by_name(c: &mut PgConnection, name: &str) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!("select id from builders where name = $1", crate::changes::clean(name))
        .fetch_optional(c)
        .await?)
}

/// The name behind an id.
pub async fn name(c: &mut PgConnection, id: i64) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!("select name from builders where id = $1", id).fetch_optional(c).await?)
}
