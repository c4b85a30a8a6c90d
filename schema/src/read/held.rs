//! Changes of outsiders that wait for an approval, as clients see them.

use super::list::{self, Scope};
use super::query::Query;
use super::resource::{Resource, int, text, time};
use crate::Result;
use serde::Deserialize;
use sqlx::PgConnection;

pub static HELD_CHANGES: Resource = Resource {
    name: "heldchanges",
    table: "held_changes",
    alias: "w",
    fields: &[
        int("heldchangeid", "w.id", "In the order of arrival."),
        text("state", "w.state", "waiting, approved, refused or superseded."),
        text("dialect", "w.dialect", "The hook that announced it."),
        text("pull", "w.pull", "The pull request: repository and number."),
        text("repository", "w.repository", "As of the change."),
        text("branch", "w.branch", "As of the change."),
        text("revision", "w.revision", "What an approval is for, and nothing else."),
        text("author", "w.change ->> 'author'", "As the source says; proves nothing."),
        text("comments", "w.change ->> 'comments'", "What it is about, in its author's words."),
        text("revlink", "w.change ->> 'revlink'", "A page about it."),
        text("why", "w.why", "Why it waits."),
        time!("held_at", "w.held_at", "When it came in."),
        time!("decided_at", "w.decided_at", "When it was approved, refused or superseded; null while it waits."),
        text("decided_by", "w.decided_by", "Who approved or refused it."),
        int("changeid", "w.change_id", "The change that the approval made."),
    ],
};

#[derive(Clone, Debug, Deserialize)]
pub struct HeldChange {
    pub heldchangeid: i64,
    pub pull: String,
    pub revision: String,
    pub author: Option<String>,
    pub comments: Option<String>,
    pub revlink: Option<String>,
    pub why: String,
    pub held_at: i64,
}

/// Those that wait, oldest first.
pub async fn waiting(c: &mut PgConnection, limit: i64) -> Result<Vec<HeldChange>> {
    let query = Query { limit, ..Query::default() };
    list::typed(&list::list(c, &HELD_CHANGES, &[Scope::new("w.state = 'waiting' and w.id > ", 0)], &query).await?.rows)
}

pub fn by_id(id: i64) -> Scope {
    Scope::new("w.id = ", id)
}
