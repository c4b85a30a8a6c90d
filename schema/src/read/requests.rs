//! Build requests as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Field, Kind, Resource, flag, flag_open, int, properties, text, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;
use tidemill_model::Results;

/// What is open is queued, waits, or has a build under a lease.
macro_rules! open {
    () => {
        "r.id in (select q.request_id from request_queue q union all select q.request_id from request_waits q
                  union all select q.id from build_requests q where q.collapsed_into is not null and q.complete_at is null
                  union all select b.request_id from leases q join builds b on b.id = q.build_id)"
    };
}

/// Start of the newest build that works or worked on it, not of one that was lost.
macro_rules! claimed_at {
    () => {
        "(select b.started_at from builds b where b.request_id = r.id
             and (b.state <> 'finished' or r.complete_at is not null) order by b.id desc limit 1)"
    };
}

pub static REQUESTS: Resource = Resource {
    name: "buildrequests",
    table: "build_requests",
    alias: "r",
    fields: &[
        int("buildrequestid", "r.id", "The wish for one build of one builder."),
        int("buildsetid", "r.buildset_id", "The decision that it came from."),
        int("builderid", "r.builder_id", "The builder."),
        int("priority", "r.priority", "Higher goes first."),
        flag("claimed", concat!("(", claimed_at!(), " is not null)"), "Whether a worker has taken it."),
        Field {
            name: "claimed_at",
            kind: Kind::Time,
            sql: concat!("floor(extract(epoch from ", claimed_at!(), "))::bigint"),
            when_false: None,
            doc: "When its newest build started.",
        },
        int("claimed_by_masterid", "null::bigint", "Always null: no replica owns a build."),
        flag_open("complete", "(r.complete_at is not null)", open!(), "Whether it is over."),
        time!("complete_at", "r.complete_at", "When it was over."),
        int("results", "r.results", "As of builds; never 5 (retry). -1 in Buildbot, null here, while it is open."),
        time!("submitted_at", "r.submitted_at", "When it was asked for."),
        flag("waited_for", "r.waited_for", "Whether a build waits for it."),
        properties("properties", PROPERTIES, "Those of its buildset that the parameter `property` asks for."),
        text("buildername", "(select x.name from builders x where x.id = r.builder_id)", "The builder's name."),
        text("reason", "(select x.reason from buildsets x where x.id = r.buildset_id)", "Why it was asked for."),
        text(
            "waits_for",
            "request_waits_for(r.id)",
            "What an open request waits for; null if nothing.",
        ),
        text("workername", "r.worker_name", "The worker that was chosen for it; null: any that its builder names."),
        text("virtual_builder", "(select x.name from builders x where x.id = r.virtual_id)", "The virtual builder that its builds appear under."),
        text("complete_reason", "r.complete_reason", "Why it ended, where its builds do not tell."),
        int("collapsed_into", "r.collapsed_into", "The newer request that it became part of; its result is that one's."),
        int("attempt", "coalesce((select q.attempt from request_queue q where q.request_id = r.id limit 1),
                                 (select q.attempt from request_waits q where q.request_id = r.id),
                                 (select b.attempt from builds b where b.request_id = r.id order by b.id desc limit 1))",
            "Which attempt it is at; null if it never was in the queue."),
    ],
};

const PROPERTIES: &str = "(select coalesce(json_object_agg(p.key, p.value order by p.key), '{}'::json)
    from jsonb_each((select x.properties from buildsets x where x.id = r.buildset_id)) p,
         (select $P::text[] as names) w
   where '*' = any(w.names) or p.key = any(w.names))";

#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    pub buildrequestid: i64,
    pub builderid: i64,
    pub buildername: String,
    pub buildsetid: i64,
    pub priority: i64,
    pub claimed: bool,
    pub complete: bool,
    pub results: Option<Results>,
    pub submitted_at: i64,
    pub reason: String,
    pub waits_for: Option<String>,
    pub workername: Option<String>,
    pub virtual_builder: Option<String>,
    pub complete_reason: Option<String>,
    pub collapsed_into: Option<i64>,
    pub attempt: Option<i64>,
}

pub async fn list(c: &mut PgConnection, scope: &[Scope], query: &Query) -> Result<Vec<Request>> {
    list::typed(&list::list(c, &REQUESTS, scope, query).await?.rows)
}

pub async fn one(c: &mut PgConnection, scope: &[Scope]) -> Result<Option<Request>> {
    list::one(c, &REQUESTS, scope, &Query::default()).await?.map(|r| list::typed_one(&r)).transpose()
}

/// Those of a builder that wait, and those whose builds will appear under it, oldest first.
pub async fn waiting(c: &mut PgConnection, builder: i64, limit: i64) -> Result<Vec<Request>> {
    let scope = [Scope::within(
        // However deep the queue, only its head is read.
        "r.id in (with b(id) as (select ",
        builder,
        "::bigint), n as (select l.id from lanes l, b where l.builder_id = b.id or l.virtual_id = b.id)
             select h.request_id from n, lateral (
                    select q.request_id from request_queue q where q.lane = n.id order by q.ticket limit 1000) h
              union all select q.request_id from request_waits q join n on n.id = q.lane)",
    )];
    list(c, &scope, &Query { limit, ..Query::default() }).await
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("r.id = ", id)
}

pub fn of_builder(builder: i64) -> Scope {
    Scope::new("r.builder_id = ", builder)
}
