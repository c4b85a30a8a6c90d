//! Buildsets and source stamps as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, json, text, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidemill_model::{Patch, Property};

/// A source stamp `ss` as a JSON object, where it stands inside another resource.
macro_rules! stamp {
    () => {
        "json_build_object('ssid', ss.id, 'branch', ss.branch, 'revision', ss.revision, 'codebase', ss.codebase,
             'repository', ss.repository, 'project', ss.project, 'patch', patch_known(ss.patch_id),
             'created_at', floor(extract(epoch from ss.created_at))::bigint)"
    };
}
pub(crate) use stamp;

pub static BUILDSETS: Resource = Resource {
    name: "buildsets",
    table: "buildsets",
    alias: "s",
    fields: &[
        int("bsid", "s.id", "One scheduling decision."),
        text("reason", "s.reason", "Why it was decided."),
        text("external_idstring", "s.external_idstring", "An id that another system gave."),
        int("parent_buildid", "s.parent_build_id", "The build that asked for it."),
        text("parent_relationship", "s.parent_relationship", "How that build calls it."),
        time!("submitted_at", "s.submitted_at", "When it was decided."),
        flag("complete", "(s.complete_at is not null)", "Whether all its requests are over."),
        time!("complete_at", "s.complete_at", "When the last one was."),
        int("results", "s.results", "The worst of its requests."),
        int(
            "rebuilt_buildid",
            "s.rebuilt_build_id",
            "The build that a rebuild repeats; of a rebuild of a rebuild, the first.",
        ),
        json(
            "sourcestamps",
            concat!(
                "(select coalesce(json_agg(",
                stamp!(),
                " order by ss.codebase), '[]'::json)
                   from buildset_sourcestamps x join sourcestamps ss on ss.id = x.sourcestamp_id
                  where x.buildset_id = s.id)"
            ),
            "One for each codebase.",
        ),
        text("scheduler", "s.scheduler", "Name of the scheduler, or `force`, or `rebuild`."),
    ],
};

pub static SOURCESTAMPS: Resource = Resource {
    name: "sourcestamps",
    table: "sourcestamps",
    alias: "ss",
    fields: &[
        int("ssid", "ss.id", "Equal stamps are one."),
        text("branch", "ss.branch", "Null is the default branch."),
        text("revision", "ss.revision", "Null is the newest at build time."),
        text("codebase", "ss.codebase", "Empty where a project has only one."),
        text("repository", "ss.repository", "Most often a URL."),
        text("project", "ss.project", "Name of the project."),
        json(
            "patch",
            "patch_known(ss.patch_id)",
            "What is tried on top: `id`, `hash`, `level`, `subdir`, `author`, `comment`, `size`; the body is at `/patches/{id}/body`.",
        ),
        time!("created_at", "ss.created_at", "When it was first named."),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Stamp {
    pub ssid: i64,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub codebase: String,
    pub repository: String,
    pub project: String,
    pub patch: Option<Patch>,
}

/// The source stamps of a buildset.
pub async fn stamps(c: &mut PgConnection, buildset: i64) -> Result<Vec<Stamp>> {
    list::typed(&list::list(c, &SOURCESTAMPS, &[stamps_of(buildset)], &Query::default()).await?.rows)
}

/// The properties of a buildset; none if it is not there.
pub async fn properties(c: &mut PgConnection, buildset: i64) -> Result<Option<BTreeMap<String, Property>>> {
    let row = sqlx::query_scalar!(
        r#"select properties as "x: sqlx::types::Json<BTreeMap<String, Property>>" from buildsets where id = $1"#,
        buildset
    )
    .fetch_optional(c)
    .await?;
    Ok(row.map(|j| j.0))
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("s.id = ", id)
}

pub fn stamp_by_id(id: i64) -> Scope {
    Scope::new("ss.id = ", id)
}

pub fn stamps_of(buildset: i64) -> Scope {
    Scope::within(
        "ss.id in (select x.sourcestamp_id from buildset_sourcestamps x where x.buildset_id = ",
        buildset,
        ")",
    )
}

/// Its requests: builder and request, by builder.
pub async fn requests(c: &mut PgConnection, id: i64) -> Result<Vec<(i64, i64)>> {
    let rows =
        sqlx::query!("select builder_id, id from build_requests where buildset_id = $1 order by builder_id, id", id)
            .fetch_all(c)
            .await?;
    Ok(rows.into_iter().map(|r| (r.builder_id, r.id)).collect())
}
