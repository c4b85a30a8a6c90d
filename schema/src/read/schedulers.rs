//! Schedulers as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, flag, int, json, text, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;

pub static SCHEDULERS: Resource = Resource {
    name: "schedulers",
    table: "schedulers",
    alias: "d",
    fields: &[
        int("schedulerid", "d.id", "Lasts as long as the name."),
        text("name", "d.name", "Unique."),
        flag("enabled", "d.enabled", "Whether it may decide."),
        json("master", "null::json", "Always null: any replica runs it."),
        flag("active", "d.active", "Whether the active revision defines it."),
        json("builders", "coalesce(d.definition -> 'builder_names', '[]'::jsonb)", "Names of its builders."),
        time!("next_at", "d.next_at", "When its timer is due; null without one."),
        text("kind", KIND, "Of which kind it is, as the project file names it."),
        text("summary", "d.summary", "What it is doing, in words, as of its last look."),
        time!("run_asked_at", "d.run_asked_at", "When somebody asked it to run, while that is not done."),
        time!(
            "behind_since",
            "(select h.received_at from changes h
               where d.active and d.watches and (h.xid, h.id) > (d.cursor_xid, d.cursor_id)
               order by h.xid, h.id limit 1)",
            "When the oldest change came that it has not looked at; null if it has looked at all."
        ),
        int("failures", "d.failures", "How often in a row one of its functions failed."),
        time!("retry_at", "d.retry_at", "When it is asked again after that; its cursor stays until then."),
        text(
            "failure",
            FAILURE,
            "What the last failure of its functions under the active revision said, without its traceback.",
        ),
    ],
};

/// A kind is a text, or an object of one key.
const KIND: &str = "(case coalesce(jsonb_path_query_first(d.definition, '$.kind.keyvalue().key', '{}', true) #>> '{}',
                                   d.definition ->> 'kind')
                     when 'single_branch' then 'SingleBranchScheduler' when 'any_branch' then 'AnyBranchScheduler'
                     when 'dependent' then 'Dependent' when 'periodic' then 'Periodic' when 'nightly' then 'Nightly'
                     when 'nightly_triggerable' then 'NightlyTriggerable' when 'triggerable' then 'Triggerable'
                     when 'force' then 'ForceScheduler' when 'custom' then 'Custom'
                     else d.definition #>> '{kind,declared,kind}' end)";
const FAILURE: &str = "(select f.policy || ': ' || split_part(f.error, E'\\n', 1)
                          from policy_failures f join active_revision a on a.revision_id = f.revision_id
                         where f.subject = 'scheduler' and f.name = d.name order by f.last_at desc limit 1)";

/// A scheduler as a page works with it.
#[derive(Clone, Debug, Deserialize)]
pub struct SchedulerRow {
    pub schedulerid: i64,
    pub name: String,
    pub enabled: bool,
    pub builders: Vec<String>,
    pub next_at: Option<i64>,
    pub kind: Option<String>,
    pub summary: String,
    pub run_asked_at: Option<i64>,
    pub behind_since: Option<i64>,
    pub failures: i64,
    pub retry_at: Option<i64>,
    pub failure: Option<String>,
}

pub async fn list(c: &mut PgConnection, query: &Query) -> Result<Vec<SchedulerRow>> {
    list::typed(&list::some(c, &SCHEDULERS, &[active()], query).await?)
}

/// Those that the active revision defines.
fn active() -> Scope {
    Scope::new("d.active and d.id > ", 0)
}

/// The scheduler of a name or an id.
pub async fn resolve(c: &mut PgConnection, named: &str) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!(
        "select id from schedulers where name = $1 or id::text = $1 order by name = $1 desc limit 1",
        named
    )
    .fetch_optional(c)
    .await?)
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("d.id = ", id)
}
