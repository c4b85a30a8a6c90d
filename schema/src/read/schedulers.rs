//! Schedulers as clients see them.

use super::list::Scope;
use super::resource::{Resource, flag, int, json, text, time};

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
    ],
};

pub fn by_id(id: i64) -> Scope {
    Scope::new("d.id = ", id)
}
