//! Master replicas as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, text, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;

pub static MASTERS: Resource = Resource {
    name: "masters",
    table: "masters",
    alias: "m",
    fields: &[
        int("masterid", "m.id", "One for each start of a replica."),
        text("name", "m.name", "Of the replica."),
        flag(
            "active",
            "(m.stopped_at is null and exists (select 1 from beats x where x.master_id = m.id
                                                  and x.at > tidemill_now() - interval '10 seconds'))",
            "Whether it beats.",
        ),
        time!(
            "last_active",
            "(select max(x.at) from beats x where x.master_id = m.id)",
            "Its last beat, kept for an hour."
        ),
        time!("started_at", "m.started_at", "When it started."),
        time!("stopped_at", "m.stopped_at", "When it ended in order; null for one that was killed."),
        text("release", "m.release", "Which release it is."),
        text("url", "m.url", "Its address."),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Master {
    pub masterid: i64,
    pub name: String,
    pub active: bool,
    pub last_active: Option<i64>,
    pub started_at: i64,
    pub release: String,
}

/// The newest few.
pub async fn newest(c: &mut PgConnection, limit: i64) -> Result<Vec<Master>> {
    let query = Query { limit, ..Query::newest(&MASTERS) };
    list::typed(&list::list(c, &MASTERS, &[], &query).await?.rows)
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("m.id = ", id)
}
