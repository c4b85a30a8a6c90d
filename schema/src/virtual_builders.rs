//! Virtual builders: builders that exist because a request asked its build to
//! appear under them (BU-16). The properties `virtual_builder_name`,
//! `virtual_builder_description`, `virtual_builder_project` and
//! `virtual_builder_tags` of a buildset say so.
//!
//! Such a builder has builds, numbers and pages of its own. Nothing is asked of
//! it and nothing is claimed for it: requests, steps, workers and locks are
//! those of the builder that the request is of. A revision that defines a
//! builder of the same name makes a real one of it, and what asks for it as a
//! virtual one then appears under its own builder.

use crate::Result;
use crate::changes::clean;
use serde_json::Value;
use sqlx::PgConnection;
use tidemill_model::{BuilderId, Properties};

/// Longest name, in characters, as of builders that a project defines.
const NAME_MAX: usize = 200;
const TEXT_MAX: usize = 10_000;
const TAGS_MAX: usize = 50;
/// What tells people that no configuration defines it, as in Buildbot.
const TAG: &str = "_virtual_";

/// The virtual builder that these properties ask for, made or brought up to date; none if they
/// ask for none, or by the name of a builder that is not virtual. `like`: a builder whose
/// requests appear there.
pub(crate) async fn virtual_builder(
    c: &mut PgConnection,
    properties: &Properties,
    like: BuilderId,
) -> Result<Option<i64>> {
    let text = |name: &str, most: usize| {
        let value = properties.get(name).and_then(Value::as_str)?;
        Some(clean(value).chars().take(most).collect::<String>())
    };
    let name = text("virtual_builder_name", NAME_MAX * 2).and_then(|asked| virtual_name(&asked));
    let Some(name) = name else { return Ok(None) };
    // What a request does not say stays what an earlier one said.
    let description = text("virtual_builder_description", TEXT_MAX);
    let project = text("virtual_builder_project", NAME_MAX);
    let tags = properties.get("virtual_builder_tags").map(tags);
    let plain = &[TAG.to_owned()][..];
    // Twice, for one that another transaction makes in between.
    for _ in 0..2 {
        let known = sqlx::query!(
            r#"select id, virtual, (description, project, tags)
                      <> (coalesce($2, description), coalesce($3, project), coalesce($4::text[], tags)) as "differs!"
                 from builders where name = $1"#,
            name,
            description,
            project,
            tags.as_deref()
        )
        .fetch_optional(&mut *c)
        .await?;
        match known {
            Some(row) if !row.r#virtual => {
                tracing::warn!(builder = name, "no virtual builder: the project has a builder of that name");
                return Ok(None);
            }
            Some(row) if row.differs => {
                sqlx::query!(
                    "update builders
                        set description = coalesce($2, description), project = coalesce($3, project),
                            tags = coalesce($4, tags)
                      where id = $1 and virtual",
                    row.id,
                    description,
                    project,
                    tags.as_deref()
                )
                .execute(c)
                .await?;
                return Ok(Some(row.id));
            }
            Some(row) => return Ok(Some(row.id)),
            None => {
                let made = sqlx::query_scalar!(
                    "insert into builders (name, description, project, tags, virtual, settings_id)
                     select $1, $2, $3, $4, true, b.settings_id from builders b where b.id = $5
                     on conflict (name) do nothing returning id",
                    name,
                    description.as_deref().unwrap_or_default(),
                    project.as_deref().unwrap_or_default(),
                    tags.as_deref().unwrap_or(plain),
                    like.0
                )
                .fetch_optional(&mut *c)
                .await?;
                if made.is_some() {
                    return Ok(made);
                }
            }
        }
    }
    Ok(None)
}

/// A name that a builder can have: it stands in addresses.
fn virtual_name(asked: &str) -> Option<String> {
    let reserved = |c: char| c.is_control() || matches!(c, '/' | '\\' | '*' | '?');
    let name: String = asked.chars().map(|c| if reserved(c) { '-' } else { c }).collect();
    let name: String = name.trim().trim_start_matches('_').chars().take(NAME_MAX).collect();
    let name = name.trim();
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

fn tags(value: &Value) -> Vec<String> {
    let given: Vec<&str> = match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::String(one) => vec![one.as_str()],
        _ => vec![],
    };
    let mut tags: Vec<String> =
        given.iter().take(TAGS_MAX).map(|t| clean(t).chars().take(NAME_MAX).collect()).collect();
    tags.retain(|t| !t.is_empty() && t != TAG);
    tags.push(TAG.to_owned());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_stand_in_a_name_becomes_a_hyphen() {
        assert_eq!(virtual_name(" owner/repo ").as_deref(), Some("owner-repo"));
        assert_eq!(virtual_name("a\u{0}\n*").as_deref(), Some("a---"));
        assert_eq!(virtual_name("__x").as_deref(), Some("x"));
        assert_eq!(virtual_name(&"é".repeat(500)).map(|n| n.chars().count()), Some(NAME_MAX));
        for none in ["", "  ", "_", "..", " . "] {
            assert_eq!(virtual_name(none), None, "{none:?}");
        }
    }

    #[test]
    fn tags_are_texts_and_say_that_it_is_virtual() {
        assert_eq!(tags(&Value::Null), [TAG]);
        assert_eq!(tags(&serde_json::json!(["a", 7, "", "_virtual_"])), ["a", TAG]);
        assert_eq!(tags(&"one".into()), ["one", TAG]);
    }
}
