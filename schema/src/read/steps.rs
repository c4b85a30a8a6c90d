//! Steps as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, json, text, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;
use std::collections::BTreeMap;
use tidemill_model::Results;

pub static STEPS: Resource = Resource {
    name: "steps",
    table: "steps",
    alias: "s",
    fields: &[
        int("stepid", "s.id", "Unique over all builds."),
        int("number", "s.number", "The order in which the steps of a build started, from 0."),
        text("name", "s.name", "As the factory names it."),
        int("buildid", "s.build_id", "The build."),
        time!("started_at", "s.started_at", "When it started."),
        time!(
            "locks_acquired_at",
            "case when not exists (select from lock_waiters x where x.build_id = s.build_id and x.step = s.number)
                  then coalesce(s.started_at + s.lock_wait,
                                (select max(x.since) from lock_holds x where x.build_id = s.build_id and x.step = s.number),
                                s.started_at) end",
            "When it had its locks, or started without any; null while it waits for them."
        ),
        int(
            "locks_waited_ms",
            "floor(extract(epoch from coalesce(s.lock_wait,
                (select max(x.since) from lock_holds x where x.build_id = s.build_id and x.step = s.number) - s.started_at,
                (select tidemill_now() - s.started_at from lock_waiters x
                  where x.build_id = s.build_id and x.step = s.number))) * 1000)::bigint",
            "How much of its time it waited for its locks; null without locks.",
        ),
        time!("complete_at", "s.complete_at", "When it ended; null while it runs."),
        flag("complete", "(s.complete_at is not null)", "Whether it has ended."),
        int("results", "s.results", "As of builds."),
        text("state_string", "s.state_string", "One line for people."),
        flag("hidden", "s.hidden", "Whether a page hides it."),
        json("urls", "s.urls", "Links that the step set: name and url."),
        int(
            "duration_ms",
            "floor(extract(epoch from s.complete_at - s.started_at) * 1000)::bigint",
            "How long it took; null while it runs.",
        ),
        json(
            "statistics",
            "(select coalesce(json_object_agg(x.name, x.value order by x.name), '{}'::json) from step_statistics x
               where x.build_id = s.build_id and x.step = s.number)",
            "Numbers that the step counted: name and value.",
        ),
        json("progress", "s.progress", "How far it has come: metric and value; a hint."),
        time!(
            "estimated_complete_at",
            "case when s.complete_at is null then s.started_at + step_time_expected(s.build_id, s.name) end",
            "When it would end if it took as long as usual; null if it has ended or was never run with success."
        ),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    pub stepid: i64,
    pub number: i64,
    pub name: String,
    pub started_at: i64,
    pub results: Option<Results>,
    pub state_string: String,
    pub hidden: bool,
    pub urls: Vec<Link>,
    pub duration_ms: Option<i64>,
    pub locks_waited_ms: Option<i64>,
    pub statistics: BTreeMap<String, f64>,
    pub progress: BTreeMap<String, f64>,
    pub estimated_complete_at: Option<i64>,
}

/// A link that a step set. What it points to is the author's word.
#[derive(Clone, Debug, Deserialize)]
pub struct Link {
    pub name: String,
    pub url: String,
}

pub async fn list(c: &mut PgConnection, scope: &[Scope], query: &Query) -> Result<Vec<Step>> {
    list::typed(&list::list(c, &STEPS, scope, query).await?.rows)
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("s.id = ", id)
}

pub fn of_build(build: i64) -> Scope {
    Scope::new("s.build_id = ", build)
}

pub fn numbered(number: i64) -> Scope {
    Scope::new("s.number = ", number)
}
