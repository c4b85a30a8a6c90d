//! Custom pollers (C-30 to C-33).

use super::announce;
use super::call::Asking;
use super::context::{self, Context, Role};
use super::host::PollHost;
use super::views::{PollInput, PollOutput};
use super::{Policies, unknown};
use crate::definition::ChangeSourceKind;
use crate::host::diagnostics::EvalError;
use crate::host::limits::Limits;
use std::cell::Cell;
use std::time::Duration;
use tidemill_model::NewChange;

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
                let facts = context::facts(input.now_us, source, &poller.attrs, heap);
                vec![Context::alloc(&input.state, facts, Role::Poller, heap)]
            },
            |_, args| {
                let left = Context::left(args[0])?;
                let of_source = || NewChange {
                    project: poller.project.clone(),
                    codebase: poller.codebase.clone(),
                    category: poller.category.clone(),
                    ..NewChange::default()
                };
                let made = left.made.into_iter().map(|args| announce::change(of_source(), args, "addChange"));
                let changes = made.collect::<Result<_, String>>()?;
                Ok(PollOutput { changes, state: left.state })
            },
        )
    }
}
