//! Changes and their sources as clients see them.

use super::buildsets::stamp;
use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, json, text, texts, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;

pub static CHANGES: Resource = Resource {
    name: "changes",
    table: "changes",
    alias: "h",
    fields: &[
        int("changeid", "h.id", "In the order of arrival, nearly."),
        text("author", "h.author", "As the source says; proves nothing."),
        text("committer", "h.committer", "As the source says."),
        text("comments", "h.comments", "The commit message."),
        texts("files", "h.files", "Paths inside the repository."),
        text("branch", "h.branch", "Null is the default branch."),
        text("revision", "h.revision", "Of the version control system."),
        text("repository", "h.repository", "Most often a URL."),
        text("project", "h.project", "Name of the project."),
        text("codebase", "h.codebase", "Empty where a project has only one."),
        text("category", "h.category", "For filters of schedulers."),
        text("revlink", "h.revlink", "A page about the revision."),
        time!(
            "when_timestamp",
            "coalesce(h.when_at, h.received_at)",
            "When it was committed; of arrival where unknown."
        ),
        json("properties", "h.properties", "Name: [value, source]."),
        text(
            "outsider",
            "h.outsider",
            "Why its author is not trusted, and its builds get no secrets; null: it is trusted.",
        ),
        json(
            "parent_changeids",
            "to_json(h.parent_ids)",
            "What it was made from: of a commit its parents, else the change before it on the same branch.",
        ),
        json(
            "sourcestamp",
            concat!("(select ", stamp!(), " from sourcestamps ss where ss.id = h.sourcestamp_id)"),
            "What a build of just this change builds.",
        ),
        time!("received_at", "h.received_at", "When it came in."),
    ],
};

pub static CHANGE_SOURCES: Resource = Resource {
    name: "changesources",
    table: "change_sources",
    alias: "p",
    fields: &[
        int("changesourceid", "p.id", "Lasts as long as the name."),
        text("name", "p.name", "Unique."),
        json("master", "null::json", "Always null: any replica polls."),
        flag("active", "p.active", "Whether the active revision defines it."),
        text(
            "kind",
            "coalesce(p.definition #>> '{kind,declared,kind}', \
                      case when p.definition #> '{kind,git_poller}' is not null then 'GitPoller' \
                           when p.definition #> '{kind,custom}' is not null then 'PollingChangeSource' end)",
            "Its name in the project file, such as `GitPoller`.",
        ),
        time!("polled_at", "p.polled_at", "When it last polled, well or not."),
        time!("good_at", "p.good_at", "When it last polled without an error."),
        time!("next_at", "p.next_at", "When it polls next; null for one that is not polled."),
        flag("polling", "coalesce(p.held_until > tidemill_now(), false)", "Whether a replica polls it now."),
        text("holder", "(select m.name from masters m where m.id = p.holder)", "The replica that does."),
        text("error", "p.error", "Why the last poll failed, or what it could not read; null if all is well."),
        int("errors", "p.errors", "Failures in a row."),
        json(
            "seen",
            "case when p.definition #> '{kind,custom}' is null then p.cursor end",
            "What it has seen, in the poller's own shape; null before its first poll and of pollers of the project.",
        ),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Change {
    pub changeid: i64,
    pub author: String,
    pub comments: String,
    pub files: Vec<String>,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub repository: String,
    pub project: String,
    pub revlink: Option<String>,
    pub outsider: Option<String>,
    pub when_timestamp: i64,
    pub received_at: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ChangeSource {
    pub changesourceid: i64,
    pub name: String,
    pub active: bool,
    pub kind: Option<String>,
    pub polled_at: Option<i64>,
    pub good_at: Option<i64>,
    pub next_at: Option<i64>,
    pub polling: bool,
    pub error: Option<String>,
    pub errors: i64,
}

pub async fn list(c: &mut PgConnection, scope: &[Scope], query: &Query) -> Result<Vec<Change>> {
    list::typed(&list::list(c, &CHANGES, scope, query).await?.rows)
}

/// Those of the active revision, by name; so many at most.
pub async fn sources(c: &mut PgConnection, limit: i64) -> Result<Vec<ChangeSource>> {
    let active = [Scope::new("p.active and p.id > ", 0)];
    let found = list::some(c, &CHANGE_SOURCES, &active, &Query { limit, ..Query::default() }).await?;
    let mut found: Vec<ChangeSource> = list::typed(&found)?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("h.id = ", id)
}

/// Those of smaller ids: the next page of a list by falling id.
pub fn before(id: i64) -> Scope {
    Scope::new("h.id < ", id)
}

/// What a build brought since the last good one of its builder with the same
/// sources (D-50); the newest 1000.
pub fn since_success(build: i64) -> Scope {
    Scope::within("h.id = any((select build_changes(", build, ", 1000))::bigint[])")
}

/// The blame list of a build: what its buildset was decided for.
pub fn of_build(build: i64) -> Scope {
    Scope::within(
        "h.id in (select x.change_id from builds b join build_requests r on r.id = b.request_id
                    join buildset_changes x on x.buildset_id = r.buildset_id where b.id = ",
        build,
        ")",
    )
}

pub fn of_sourcestamp(stamp: i64) -> Scope {
    Scope::new("h.sourcestamp_id = ", stamp)
}

pub fn source_by_id(id: i64) -> Scope {
    Scope::new("p.id = ", id)
}
