//! The refs that a repository has, and which of them are watched.

use super::Heads;
use super::access::Access;
use crate::pollers::{PollError, World};
use std::collections::BTreeMap;
use tidemill_lang::definition::{Branches, GitPollerDef};

const HEADS: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";

/// The watched ones as the remote has them now: one question.
pub(super) async fn heads(def: &GitPollerDef, access: &Access, world: &World<'_>) -> Result<Heads, PollError> {
    let globs = |names: &[String]| names.iter().any(|n| n.contains(['*', '?', '[', '\\', '{']));
    let under = if def.only_tags { TAGS } else { HEADS };
    let patterns: Vec<String> = match &def.branches {
        Branches::Default => vec!["HEAD".into()],
        Branches::Named(names) if !globs(names) => names.iter().map(|n| full(n, under)).collect(),
        Branches::Named(_) | Branches::All => vec![format!("{under}*")],
        Branches::Function if def.only_tags => vec![format!("{TAGS}*")],
        Branches::Function => vec!["refs/*".into()],
    };
    let out = access.git(None, "ls-remote").args(["ls-remote", "--symref", "--"]).arg(access.url()).args(&patterns);
    let out = out.run().await?;
    let mut default = None;
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for line in out.lines() {
        if let Some(rest) = line.strip_prefix("ref: ") {
            default = rest.strip_suffix("\tHEAD").or(default);
        } else if let Some((id, name)) = line.split_once('\t') {
            if !is_object_id(id) {
                return Err(PollError::Output(format!(
                    "git ls-remote said something unexpected: {}",
                    line.chars().take(200).collect::<String>()
                )));
            }
            // The commit that an annotated tag is of comes after the tag itself.
            found.insert(name.strip_suffix("^{}").unwrap_or(name), id);
        }
    }
    if def.branches == Branches::Default
        && let (Some(name), Some(id)) = (default, found.remove("HEAD"))
    {
        found.insert(name, id);
    }
    found.retain(|name, _| name.starts_with("refs/"));
    let names: Vec<String> = found.keys().map(|n| (*n).to_owned()).collect();
    let wanted: Vec<bool> = match &def.branches {
        Branches::All => vec![true; names.len()],
        Branches::Default => names.iter().map(|n| Some(n.as_str()) == default).collect(),
        Branches::Named(wanted) => {
            let glob = |n: &String| globset::Glob::new(&full(n, under)).map(|g| g.compile_matcher());
            let matchers: Vec<_> =
                wanted.iter().map(glob).collect::<Result<_, _>>().map_err(|e| PollError::Refused(e.to_string()))?;
            names.iter().map(|n| matchers.iter().any(|m| m.is_match(n))).collect()
        }
        Branches::Function => match world.functions.branches_wanted(names.clone()).await? {
            Some(wanted) => wanted,
            None => {
                return Err(PollError::Refused("the active project has no function `branches` for this source".into()));
            }
        },
    };
    let watched = names.iter().zip(wanted).filter(|(_, wanted)| *wanted);
    Ok(Heads(watched.map(|(name, _)| (branch_of(name).to_owned(), found[name.as_str()].to_owned())).collect()))
}

/// The full name of a ref that may be given in short.
fn full(name: &str, under: &str) -> String {
    if name.starts_with("refs/") { name.to_owned() } else { format!("{under}{name}") }
}

/// A ref as changes name it: branches in short, if that is no other ref's full name.
fn branch_of(name: &str) -> &str {
    name.strip_prefix(HEADS).filter(|short| !short.starts_with("refs/")).unwrap_or(name)
}

/// The full name of a branch of a change.
pub(super) fn ref_of(branch: &str) -> String {
    full(branch, HEADS)
}

pub(super) fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_and_its_ref_name_each_other() {
        for (name, branch) in [
            ("refs/heads/main", "main"),
            ("refs/heads/a/b", "a/b"),
            ("refs/tags/v1", "refs/tags/v1"),
            ("refs/heads/refs/x", "refs/heads/refs/x"),
        ] {
            assert_eq!(branch_of(name), branch);
            assert_eq!(ref_of(branch), name);
        }
    }
}
