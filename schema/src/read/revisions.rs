//! Config revisions as clients see them; their files are asked for one by one.

use super::list::Scope;
use super::resource::{Resource, flag, int, text, time};

pub static REVISIONS: Resource = Resource {
    name: "revisions",
    table: "config_revisions",
    alias: "v",
    fields: &[
        int("revisionid", "v.id", "In the order of their first application."),
        text("hash", "v.hash", "SHA-256 of the files: the same content is the same revision."),
        flag(
            "active",
            "exists (select 1 from active_revision a where a.revision_id = v.id)",
            "Whether it is the active one.",
        ),
        text("comment", "v.comment", "What was said when it was first applied."),
        text("created_by", "v.created_by", "Who first applied it."),
        time!("created_at", "v.created_at", "When it was first applied."),
        time!(
            "activated_at",
            "(select max(x.activated_at) from activations x where x.revision_id = v.id)",
            "When it last became the active one; null for one that never was."
        ),
        text(
            "activated_by",
            "(select x.activated_by from activations x where x.revision_id = v.id order by x.id desc limit 1)",
            "Who did that.",
        ),
        int(
            "activations",
            "(select count(*) from activations x where x.revision_id = v.id)",
            "How often it became the active one.",
        ),
        int("vocabulary", "v.vocabulary", "Level of the vocabulary that a worker must have."),
    ],
};

pub fn by_id(id: i64) -> Scope {
    Scope::new("v.id = ", id)
}
