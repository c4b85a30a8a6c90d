//! Workers as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, json, text, time};
use crate::Result;
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgConnection;

/// The open session of the worker, and whether it was heard of late: replicas
/// note that every 15 s.
macro_rules! session {
    ($column:literal) => {
        concat!("(select x.", $column, " from worker_sessions x where x.worker_id = w.id and x.state = 'open')")
    };
}
macro_rules! connected {
    () => {
        "exists (select 1 from worker_sessions x where x.worker_id = w.id and x.state = 'open'
                    and x.seen_at > tidemill_now() - interval '45 seconds')"
    };
}

pub static WORKERS: Resource = Resource {
    name: "workers",
    table: "workers",
    alias: "w",
    fields: &[
        int("workerid", "w.id", "Lasts as long as the name."),
        text("name", "w.name", "Unique."),
        json(
            "connected_to",
            "(select coalesce(json_agg(json_build_object('masterid', null, 'sessionid', x.id)), '[]'::json)
                from worker_sessions x where x.worker_id = w.id and x.state = 'open'
                 and x.seen_at > tidemill_now() - interval '45 seconds')",
            "One entry while it is connected, to the cluster and to no replica: its masterid is null.",
        ),
        json(
            "configured_on",
            "(select coalesce(json_agg(json_build_object('builderid', x.id, 'masterid', null) order by x.id), '[]'::json)
                from builders x where x.active and (x.any_worker or exists (
                     select 1 from builder_workers y where y.builder_id = x.id and y.worker_name = w.name)))",
            "The builders that it may build.",
        ),
        json("workerinfo", concat!("coalesce(", session!("info"), ", '{}'::jsonb)"), "What it says of its machine."),
        flag("paused", "w.paused", "Whether it gets no new builds."),
        flag("trusted_only", "worker_takes_trusted_only(w.name)", "Whether it takes no build of what outsiders announced."),
        text("pause_reason", "null::text", "Always null for now."),
        flag("graceful", "(w.id is null)", "Always false: a worker drains by itself."),
        flag("connected", connected!(), "Whether it was heard of within 45 s."),
        time!("last_seen", "(select max(x.seen_at) from worker_sessions x where x.worker_id = w.id)", "When it was last heard."),
        int("slots", session!("slots"), "How many builds it runs at once."),
        json(
            "building",
            "(select coalesce(json_agg(json_build_object('buildid', b.id, 'number', b.number, 'builderid', b.builder_id,
                        'buildername', u.name) order by b.id), '[]'::json)
                from leases x join builds b on b.id = x.build_id join builders u on u.id = b.builder_id
               where b.worker_id = w.id)",
            "The builds that it holds now.",
        ),
        text("release", session!("release"), "Which release it is."),
        time!("enrolled_at", "w.enrolled_at", "When it was added."),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    pub workerid: i64,
    pub name: String,
    pub paused: bool,
    pub trusted_only: bool,
    pub connected: bool,
    pub last_seen: Option<i64>,
    pub slots: Option<i64>,
    pub building: Vec<Building>,
    pub release: Option<String>,
    pub workerinfo: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Building {
    pub buildid: i64,
    pub number: i64,
    pub buildername: String,
}

pub async fn list(c: &mut PgConnection, scope: &[Scope], query: &Query) -> Result<Vec<Worker>> {
    list::typed(&list::list(c, &WORKERS, scope, query).await?.rows)
}

/// The id behind an id or a name.
pub async fn resolve(c: &mut PgConnection, named: &str) -> Result<Option<i64>> {
    let id: Option<i64> = named.parse().ok();
    Ok(sqlx::query_scalar!(
        "select id from workers where id = $1 or name = $2 order by (id = $1) desc nulls last limit 1",
        id,
        crate::changes::clean(named)
    )
    .fetch_optional(c)
    .await?)
}

/// The id behind a name, and nothing else.
pub async fn by_name(c: &mut PgConnection, name: &str) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!("select id from workers where name = $1", crate::changes::clean(name))
        .fetch_optional(c)
        .await?)
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("w.id = ", id)
}

/// An enrolled worker, and those of some builders that it may build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    pub worker: String,
    pub builders: Vec<String>,
}

/// The workers that may build for any of these builders, by name.
pub async fn workers_usable(c: &mut PgConnection, builders: &[String]) -> Result<Vec<Usable>> {
    Ok(sqlx::query_as!(
        Usable,
        r#"select w.name as worker, array_agg(b.name order by b.name) as "builders!"
             from workers w
             join builders b on b.name = any($1) and (b.any_worker or exists (
                  select from builder_workers x where x.builder_id = b.id and x.worker_name = w.name))
            group by w.name order by w.name"#,
        builders
    )
    .fetch_all(c)
    .await?)
}
