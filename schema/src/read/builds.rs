//! Builds as clients see them.

use super::list::{self, Scope};
use super::query::{Filter, Op, Query, Values};
use super::resource::{Resource, flag_open, int, properties, text, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidemill_model::{Property, Results};

pub static BUILDS: Resource = Resource {
    name: "builds",
    table: "builds",
    alias: "b",
    fields: &[
        int("buildid", "b.id", "Unique over all builders."),
        int("number", "b.number", "Rises within a builder; may have gaps."),
        int("builderid", "b.builder_id", "The builder."),
        int("buildrequestid", "b.request_id", "The request that it works on."),
        int("workerid", "b.worker_id", "The worker."),
        int("masterid", "null::bigint", "Always null: no replica owns a build."),
        time!("started_at", "b.started_at", "When a worker claimed it."),
        time!("complete_at", "b.complete_at", "When it ended; null while it runs."),
        flag_open(
            "complete",
            "(b.complete_at is not null)",
            "b.id in (select build_id from leases)",
            "Whether it has ended.",
        ),
        int("results", "b.results", "0 success, 1 warnings, 2 failure, 3 skipped, 4 exception, 5 retry, 6 cancelled."),
        text(
            "state_string",
            "case when b.state_string <> '' then b.state_string
                  when b.state = 'claimed' then 'starting' when b.state = 'running' then 'building'
                  when b.results = 0 then 'build successful' else 'finished' end",
            "One line for people.",
        ),
        properties("properties", PROPERTIES, "Those that the parameter `property` asks for."),
        text("buildername", "(select x.name from builders x where x.id = b.builder_id)", "The builder's name."),
        text("workername", "(select x.name from workers x where x.id = b.worker_id)", "The worker's name."),
        int("attempt", "b.attempt", "The first build of a request is 1."),
        int("buildsetid", "(select x.buildset_id from build_requests x where x.id = b.request_id)", "The buildset."),
        text(
            "reason",
            "(select s.reason from build_requests x join buildsets s on s.id = x.buildset_id where x.id = b.request_id)",
            "Why it was asked for.",
        ),
        text("stop_reason", "b.stop_reason", "Why somebody asked for it to be stopped; null if nobody did."),
        int(
            "duration_ms",
            "floor(extract(epoch from b.complete_at - b.started_at) * 1000)::bigint",
            "How long it took; null while it runs.",
        ),
        time!(
            "estimated_complete_at",
            "case when b.complete_at is null then b.started_at + build_time_expected(b.builder_id, b.number) end",
            "When it would end if it took as long as the builder's last good builds; null if it has ended or there are none."
        ),
    ],
};

/// What it started with, and over that what its steps set.
const PROPERTIES: &str = "(select coalesce(json_object_agg(p.name, p.pair order by p.name), '{}'::json)
    from (select k.key as name, k.value as pair from jsonb_each(build_started_with(b.id)) k
           where not exists (select 1 from build_properties o where o.build_id = b.id and o.name = k.key)
          union all
          select o.name, jsonb_build_array(o.value, o.source) from build_properties o where o.build_id = b.id) p,
         (select $P::text[] as names) w
   where '*' = any(w.names) or p.name = any(w.names))";

#[derive(Clone, Debug, Deserialize)]
pub struct Build {
    pub buildid: i64,
    pub number: i64,
    pub builderid: i64,
    pub buildername: String,
    pub buildrequestid: i64,
    pub buildsetid: i64,
    pub workername: String,
    pub started_at: i64,
    pub complete_at: Option<i64>,
    pub complete: bool,
    pub results: Option<Results>,
    pub state_string: String,
    pub attempt: i64,
    pub reason: String,
    pub stop_reason: Option<String>,
    pub duration_ms: Option<i64>,
    pub estimated_complete_at: Option<i64>,
    #[serde(default)]
    pub properties: BTreeMap<String, Property>,
}

pub async fn list(c: &mut PgConnection, scope: &[Scope], query: &Query) -> Result<Vec<Build>> {
    list::typed(&list::list(c, &BUILDS, scope, query).await?.rows)
}

pub async fn one(c: &mut PgConnection, scope: &[Scope], query: &Query) -> Result<Option<Build>> {
    list::one(c, &BUILDS, scope, query).await?.map(|r| list::typed_one(&r)).transpose()
}

/// Those that are not over, newest first.
pub async fn running(c: &mut PgConnection, scope: &[Scope], limit: i64) -> Result<Vec<Build>> {
    let complete = BUILDS.field("complete").expect("it is in the table above");
    let open = Filter { field: complete, op: Op::Eq, values: Values::Bools(vec![false]) };
    list(c, scope, &Query { filters: vec![open], limit, ..Query::newest(&BUILDS) }).await
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("b.id = ", id)
}

pub fn of_builder(builder: i64) -> Scope {
    Scope::new("b.builder_id = ", builder)
}

pub fn numbered(number: i64) -> Scope {
    Scope::new("b.number = ", number)
}

/// Those of smaller numbers: the next page of a list by falling number.
pub fn before_number(number: i64) -> Scope {
    Scope::new("b.number < ", number)
}

pub fn of_request(request: i64) -> Scope {
    Scope::new("b.request_id = ", request)
}

/// The builds of all requests that a change led to.
pub fn of_change(change: i64) -> Scope {
    Scope::within(
        "b.request_id in (select r.id from buildset_changes x join build_requests r on r.buildset_id = x.buildset_id
                           where x.change_id = ",
        change,
        ")",
    )
}

/// The builds that a build triggered.
pub fn triggered_by(build: i64) -> Scope {
    Scope::within(
        "b.request_id in (select r.id from buildsets s join build_requests r on r.buildset_id = s.id
                           where s.parent_build_id = ",
        build,
        ")",
    )
}

pub fn of_worker(worker: i64) -> Scope {
    Scope::new("b.worker_id = ", worker)
}
