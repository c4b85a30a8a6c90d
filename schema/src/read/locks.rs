//! Locks as clients see them: who holds them, who waits and in which order.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, json, text};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;
use std::collections::BTreeMap;

pub static LOCKS: Resource = Resource {
    name: "locks",
    table: "locks",
    alias: "k",
    fields: &[
        int("lockid", "k.id", "Lasts as long as the name."),
        text("name", "k.name", "Unique."),
        text("kind", "k.kind", "`master`: one for the cluster; `worker`: one on each worker."),
        int("capacity", "k.capacity", "How much of it there is, on each worker if it is one of workers."),
        json("capacities", "k.capacities", "Of a worker lock: workers where it is another: name and capacity."),
        flag("active", "k.active", "Whether the active revision defines it."),
        json(
            "holders",
            "(select coalesce(json_agg(json_build_object('buildid', h.build_id, 'number', b.number, 'builderid', b.builder_id,
                        'buildername', u.name, 'step', nullif(h.step, 0), 'mode', h.mode, 'units', h.units,
                        'workername', w.name, 'since', floor(extract(epoch from h.since))::bigint)
                        order by h.since, h.build_id), '[]'::json)
                from (select * from lock_holds x where x.lock_id = k.id order by x.since limit 1000) h
                join builds b on b.id = h.build_id
                join builders u on u.id = b.builder_id
                left join workers w on w.id = h.worker_id)",
            "The builds, or steps of them, that hold something of it, the first 1,000.",
        ),
        json(
            "waiters",
            "(select coalesce(json_agg(json_build_object('ticket', w.ticket, 'buildrequestid', w.request_id,
                        'buildid', w.build_id, 'number', b.number, 'step', w.step,
                        'builderid', u.id, 'buildername', u.name,
                        'since', floor(extract(epoch from w.since))::bigint) order by w.ticket), '[]'::json)
                from (select * from lock_waits x where x.lock_id = k.id order by x.ticket limit 1000) t
                join lock_waiters w on w.ticket = t.ticket
                left join builds b on b.id = w.build_id
                left join builders u on u.id = coalesce(w.builder_id, b.builder_id))",
            "Who waits, in the order of the line, the first 1,000: builders (for the foremost of their requests), \
             requests, steps of builds.",
        ),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Lock {
    pub lockid: i64,
    pub name: String,
    pub kind: String,
    pub capacity: i64,
    pub capacities: BTreeMap<String, i64>,
    pub active: bool,
    pub holders: Vec<Holder>,
    pub waiters: Vec<Waiter>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Holder {
    pub number: i64,
    pub buildername: String,
    pub step: Option<i64>,
    pub mode: String,
    pub units: i64,
    pub workername: Option<String>,
    pub since: i64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Waiter {
    pub buildrequestid: Option<i64>,
    pub number: Option<i64>,
    pub step: Option<i64>,
    /// None for a builder whose row is gone.
    pub buildername: Option<String>,
    pub since: i64,
}

pub async fn list(c: &mut PgConnection, query: &Query) -> Result<Vec<Lock>> {
    list::typed(&list::list(c, &LOCKS, &[], query).await?.rows)
}

/// The id behind an id or a name.
pub async fn resolve(c: &mut PgConnection, named: &str) -> Result<Option<i64>> {
    let id: Option<i64> = named.parse().ok();
    Ok(sqlx::query_scalar!(
        "select id from locks where id = $1 or name = $2 order by (id = $1) desc nulls last limit 1",
        id,
        crate::changes::clean(named)
    )
    .fetch_optional(c)
    .await?)
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("k.id = ", id)
}
