//! Custom pollers (C-30 to C-33).

use super::call::Asking;
use super::context::{Context, Role};
use super::host::PollHost;
use super::views::{PollInput, PollOutput};
use super::{Policies, unknown};
use crate::definition::{ChangeSourceKind, CustomPollerDef};
use crate::host::diagnostics::EvalError;
use crate::host::limits::Limits;
use crate::values::convert::{optional_text, properties, text, texts};
use crate::values::tree::Tree;
use crate::values::views;
use starlark::collections::SmallMap;
use std::cell::Cell;
use std::time::Duration;
use tidemill_model::NewChange;
use time::OffsetDateTime;

/// The call as a whole, with what it waits for; the lease of a poll's row is longer.
const TIME: Duration = Duration::from_secs(540);

/// Of functions that may reach outside.
pub(super) fn limits() -> Limits {
    Limits { ticks: 10_000_000, time: TIME, ..Limits::policy() }
}

impl Policies<'_> {
    /// Calls the poll of a `changes.PollingChangeSource`. Blocks as long as its
    /// host does, 9 minutes at most.
    pub fn poll(&self, source: &str, input: PollInput, host: &dyn PollHost) -> Result<PollOutput, EvalError> {
        let found = self.definition().change_sources.iter().find(|s| s.name == source);
        let (Some(function), Some(ChangeSourceKind::Custom(poller))) =
            (self.source(source).and_then(|s| s.poll.as_ref()), found.map(|s| &s.kind))
        else {
            return Err(unknown("custom poller", source));
        };
        let limits = limits();
        let asking = Asking { host, outside: Some(host), asked: Cell::new(0) };
        function.call_with(
            &limits,
            &asking,
            |eval| {
                let heap = eval.heap();
                let mut facts = SmallMap::new();
                facts.insert("now".to_owned(), heap.alloc(input.now_us as f64 / 1e6));
                facts.insert("name".to_owned(), heap.alloc(source));
                let attrs = serde_json::to_value(&poller.attrs).unwrap_or_default();
                facts.insert("attrs".to_owned(), views::attributes(&attrs, heap));
                vec![Context::alloc(&input.state, facts, Role::Poller, heap)]
            },
            |_, args| {
                let left = Context::left(args[0])?;
                let changes = left.made.into_iter().map(|args| change(args, poller)).collect::<Result<_, String>>()?;
                Ok(PollOutput { changes, state: left.state })
            },
        )
    }
}

/// A change from the arguments of `addChange`, with what the source sets on its changes.
pub(super) fn change(args: Vec<(String, Tree)>, poller: &CustomPollerDef) -> Result<NewChange, String> {
    let mut new = NewChange {
        project: poller.project.clone(),
        codebase: poller.codebase.clone(),
        category: poller.category.clone(),
        ..NewChange::default()
    };
    for (name, tree) in args {
        let wrong = || format!("`{name}` of addChange cannot be {}", tree.describe());
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
