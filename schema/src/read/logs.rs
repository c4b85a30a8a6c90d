//! Logs as clients see them: what there is, not what is in them (see [`super::text`]).

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, text};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;

/// Totals of a finished log are in its row; of a growing one in its last chunk.
macro_rules! total {
    ($column:literal, $first:literal) => {
        concat!(
            "case when l.complete then l.",
            $column,
            " else coalesce((select k.",
            $first,
            " + k.",
            $column,
            " from log_chunks k where k.log_id = l.id order by k.first_byte desc limit 1), 0) end"
        )
    };
}

pub static LOGS: Resource = Resource {
    name: "logs",
    table: "logs",
    alias: "l",
    fields: &[
        int("logid", "l.id", "Unique over all builds."),
        text("name", "l.name", "As its step named it, such as stdio."),
        text("slug", "l.slug", "The name in a form for paths, unique within its step."),
        int("stepid", "(select s.id from steps s where s.build_id = l.build_id and s.number = l.step)", "The step."),
        flag("complete", "l.complete", "Whether it is closed."),
        int(
            "num_lines",
            total!("lines", "first_line"),
            "Ended lines so far; a last line without its end is not counted.",
        ),
        text("type", "l.kind", "s: output with channels, t: plain text, h: HTML."),
        int("buildid", "l.build_id", "The build."),
        int("number", "l.number", "Its number within the build."),
        int("step", "l.step", "The number of its step."),
        int(
            "num_bytes",
            total!("bytes", "first_byte"),
            "Bytes so far, over all channels, what a limit left out included.",
        ),
        flag("incomplete", "l.incomplete", "The build ended without all of it."),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct Log {
    pub logid: i64,
    pub name: String,
    pub slug: String,
    pub complete: bool,
    pub num_lines: i64,
    #[serde(rename = "type")]
    pub kind: String,
    pub buildid: i64,
    pub step: i64,
    pub num_bytes: i64,
    pub incomplete: bool,
}

pub async fn list(c: &mut PgConnection, scope: &[Scope], query: &Query) -> Result<Vec<Log>> {
    list::typed(&list::list(c, &LOGS, scope, query).await?.rows)
}

pub async fn one(c: &mut PgConnection, scope: &[Scope]) -> Result<Option<Log>> {
    list::one(c, &LOGS, scope, &Query::default()).await?.map(|r| list::typed_one(&r)).transpose()
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("l.id = ", id)
}

pub fn of_step(step: i64) -> Scope {
    Scope::within("(l.build_id, l.step) = (select x.build_id, x.number from steps x where x.id = ", step, ")")
}

pub fn of_build(build: i64) -> Scope {
    Scope::new("l.build_id = ", build)
}

pub fn of_step_numbered(number: i64) -> Scope {
    Scope::new("l.step = ", number)
}
