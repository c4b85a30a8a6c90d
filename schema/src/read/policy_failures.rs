//! Failures of the project's functions as clients see them: without the
//! traceback, which quotes the project file.

use super::list::Scope;
use super::resource::{Resource, flag, int, text, time};

pub static POLICY_FAILURES: Resource = Resource {
    name: "policyfailures",
    table: "policy_failures",
    alias: "f",
    fields: &[
        int("policyfailureid", "f.id", "In the order in which functions first failed."),
        int("revisionid", "f.revision_id", "The config revision whose function it is."),
        flag("active", ACTIVE, "Whether that is the active one."),
        text("subject", "f.subject", "What the function belongs to: project, builder, scheduler, change source."),
        text("name", "f.name", "Which one; empty for the project."),
        text("policy", "f.policy", "Name of the function's argument or key, such as nextBuild."),
        text("error", "split_part(f.error, E'\\n', 1)", "What the last failure said, without its traceback."),
        int("failures", "f.failures", "How often it was reported: each replica reports it every few seconds at most."),
        time!("first_at", "f.first_at", "When it was first reported."),
        time!("last_at", "f.last_at", "When it was last reported."),
    ],
};

const ACTIVE: &str = "(f.revision_id = (select a.revision_id from active_revision a))";

/// Of the active revision, for one builder: its own, those of schedulers that
/// name it, and those of the project and of change sources, which concern each.
pub fn of_builder(builder: i64) -> Scope {
    Scope::within(
        "f.id in (select k.id from active_revision a join policy_failures k on k.revision_id = a.revision_id,
                         builders x
                   where (k.subject in ('project', 'change source') or k.subject = 'builder' and k.name = x.name
                          or k.subject = 'scheduler' and exists (
                             select 1 from schedulers s
                              where s.name = k.name and jsonb_exists(s.definition -> 'builder_names', x.name)))
                     and x.id = ",
        builder,
        ")",
    )
}
