//! GitPoller (CS-04 to CS-07, D-38): new commits of the watched branches, or tags.
//!
//! The cursor is a map from branch to the last seen commit. The first poll only
//! records heads. Later a branch's new commits are those on its first-parent
//! line that no recorded head reaches, oldest first: a commit that arrives on
//! two branches is a change once, of the branch that was known before, and a
//! merge is one change. A branch that appears with known commits only gives
//! nothing, unless `buildPushesWithNoCommits` asks for it. A force-pushed branch
//! gives its new commits; a deleted one is forgotten, unless none is left.
//!
//! What stands in a ref of pull requests may be anybody's: such changes are an
//! outsider's, and their builds get no secrets (A14).
//!
//! Some git processes a poll, however many branches there are. What is found
//! comes in pages, each with the cursor behind it.
//!
//! The copy under the cache folder may be lost at any time, and several replicas
//! may share it. Names and text of the repository are data: arguments are
//! vectors, refs are full, and no URL or ref can become an option or another
//! protocol (A11).

mod access;
mod copy;
mod refs;

use super::{Found, PollError, World};
use access::Access;
use copy::Copy;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use tidemill_lang::definition::GitPollerDef;

/// Changes of one page.
const PAGE: usize = 500;

/// Branch to the last commit seen. Heads of branches have their short names, all
/// other refs their full ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Heads(pub BTreeMap<String, String>);

/// Asks the repository. `cursor` is none at the first poll. Neither a change
/// nor an error shows the password that the URL or the definition may hold.
pub async fn poll(def: &GitPollerDef, cursor: Option<Heads>, world: &World<'_>) -> Result<Found, PollError> {
    let access = Access::new(def, world).await?;
    ask(def, cursor, world, &access, PAGE).await.map_err(|e| e.without(access.secret()))
}

/// The same in pages of another size.
#[doc(hidden)]
pub async fn poll_in_pages(
    def: &GitPollerDef,
    cursor: Option<Heads>,
    world: &World<'_>,
    page: usize,
) -> Result<Found, PollError> {
    let access = Access::new(def, world).await?;
    ask(def, cursor, world, &access, page).await.map_err(|e| e.without(access.secret()))
}

async fn ask(
    def: &GitPollerDef,
    cursor: Option<Heads>,
    world: &World<'_>,
    access: &Access,
    page: usize,
) -> Result<Found, PollError> {
    let heads = refs::heads(def, access, world).await?;
    let found = |changes, heads: Heads, more| {
        let cursor = serde_json::to_value(heads).unwrap_or_default();
        Found { changes, cursor, more, note: None }
    };
    let Some(known) = cursor else { return Ok(found(vec![], heads, false)) };
    if heads.0.is_empty() {
        // Forgetting all would make everything new when it comes back.
        return Ok(found(vec![], known, false));
    }
    // What was known before first: a commit on an old and on a new branch is the old one's.
    let mut moved: Vec<(&String, &String)> =
        heads.0.iter().filter(|(branch, head)| known.0.get(*branch) != Some(head)).collect();
    moved.sort_by_key(|(branch, _)| (!known.0.contains_key(*branch), *branch));
    if moved.is_empty() {
        return Ok(found(vec![], heads, false));
    }
    let copy = Copy::open(world.cache, def).await?;
    let mut fetched: Vec<&str> = moved.iter().map(|(branch, _)| branch.as_str()).collect();
    if !copy.missing(&known).await?.is_empty() {
        // A head that a fresh copy lacks would exclude nothing, and its whole history were new.
        fetched = heads.0.keys().map(String::as_str).collect();
    }
    copy.fetch(access, &fetched).await?;
    let missing = copy.missing(&known).await?;
    let tips: Vec<&str> = moved.iter().map(|(_, head)| head.as_str()).collect();
    let parents = copy.new_commits(&tips, &known).await?;

    let mut wanted: Vec<(&str, String)> = Vec::new();
    let mut behind = Heads(heads.0.keys().filter_map(|b| Some((b.clone(), known.0.get(b)?.clone()))).collect());
    let mut taken: HashSet<&str> = HashSet::new();
    let mut more = false;
    for (branch, head) in moved {
        let mut line = match known.0.get(branch) {
            // Force-pushed, and the old head is not in this copy: where the new
            // commits begin cannot be known, so the newest stands for them.
            Some(old) if missing.contains(old.as_str()) => vec![head.as_str()],
            _ => line(head, &parents, &taken),
        };
        if line.is_empty() && def.build_pushes_with_no_commits {
            line.push(head);
        }
        taken.extend(line.iter().copied());
        let room = page - wanted.len();
        more = line.len() > room;
        wanted.extend(line.iter().take(room).map(|commit| (branch.as_str(), (*commit).to_owned())));
        match line.get(room.wrapping_sub(1)).filter(|_| more) {
            Some(last) => behind.0.insert(branch.clone(), (*last).to_owned()),
            None if more => None,
            None => behind.0.insert(branch.clone(), head.clone()),
        };
        if more {
            break;
        }
    }
    let mut changes = copy.describe(def, &wanted).await?;
    super::mark_proposals(&mut changes);
    Ok(found(changes, behind, more))
}

/// The new commits on the first-parent line of `head`, oldest first.
fn line<'p>(head: &str, parents: &'p HashMap<String, Option<String>>, taken: &HashSet<&str>) -> Vec<&'p str> {
    let mut line = Vec::new();
    let mut at = Some(head);
    while let Some((commit, parent)) = at.and_then(|c| parents.get_key_value(c)) {
        if taken.contains(commit.as_str()) {
            break;
        }
        line.push(commit.as_str());
        at = parent.as_deref();
    }
    line.reverse();
    line
}
