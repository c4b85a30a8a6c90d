//! What functions of the project say of a change: the arguments of a poller's
//! `ctx.addChange`, and the dicts that a hook's function returns.

use crate::values::convert::{optional_text, properties, text, texts};
use crate::values::tree::Tree;
use tidemill_model::NewChange;
use time::OffsetDateTime;

/// What they may say.
pub(super) const FIELDS: [&str; 14] = [
    "author",
    "who",
    "committer",
    "files",
    "comments",
    "revision",
    "branch",
    "repository",
    "project",
    "codebase",
    "category",
    "revlink",
    "when",
    "properties",
];

/// The change that these fields say, over what is so without them. `of` is what
/// they are called in an error.
pub(super) fn change(mut new: NewChange, fields: Vec<(String, Tree)>, of: &str) -> Result<NewChange, String> {
    for (name, tree) in fields {
        let wrong = || format!("`{name}` of {of} cannot be {}", tree.describe());
        let plain = || text(&tree).ok_or_else(wrong);
        let maybe = || optional_text(&tree).ok_or_else(wrong);
        match name.as_str() {
            "author" | "who" => new.author = plain()?,
            "committer" => new.committer = maybe()?,
            "files" => new.files = texts(&tree).ok_or_else(wrong)?,
            "comments" => new.comments = plain()?,
            "revision" => {
                new.revision = match &tree {
                    Tree::Int(i) => Some(i.to_string()),
                    _ => maybe()?,
                }
            }
            "branch" => new.branch = maybe()?,
            "repository" => new.repository = plain()?,
            "project" => new.project = plain()?,
            "codebase" => new.codebase = plain()?,
            "category" => new.category = maybe()?,
            "revlink" => new.revlink = maybe()?,
            "when" => {
                let seconds = match &tree {
                    Tree::Int(i) => *i as f64,
                    Tree::Float(f) => *f,
                    Tree::None => continue,
                    _ => return Err(wrong()),
                };
                let time = OffsetDateTime::from_unix_timestamp(seconds as i64);
                new.when = Some(time.map_err(|_| wrong())?);
            }
            _ => {
                for (key, value) in properties(&tree).ok_or_else(wrong)? {
                    new.properties.set(key, value, "Change");
                }
            }
        }
    }
    Ok(new)
}
