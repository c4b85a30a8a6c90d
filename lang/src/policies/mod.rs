//! Policies: functions of the project file that the master asks.
//!
//! Each call has an evaluator of its own under [`Limits`] (see
//! [`Limits::policy`]), so it ends in bounded time and memory; call it off the
//! async threads. An error is for the builder's page and the log, with its
//! traceback; the caller then uses the built-in order. Nothing is remembered
//! between calls, and any number of threads may call at once.

mod announce;
mod call;
mod cancellers;
mod collapse;
mod compatible;
mod context;
mod gerrit;
mod hooks;
mod host;
mod latent;
mod messages;
mod order;
mod poll;
mod rendered;
mod reporters;
mod schedule;
mod sources;
mod values;
mod views;

pub(crate) use call::Function;
pub(crate) use cancellers::Canceller;
pub(crate) use collapse::CollapseRule;
pub use gerrit::{GerritCall, GerritReview};
pub(crate) use hooks::HookRules;
pub use hooks::{HookInput, HookOutput};
pub use host::{
    HttpReply, HttpRequest, NoHost, PolicyHost, PollCommand, PollCommandEnd, PollHost, QUERIES_MAX, QUERY_MAX, Query,
    Resource,
};
pub use latent::{Checked, LatentInput, LatentOutput, Started};
pub use messages::{FormatOutput, Which};
pub(crate) use messages::{FormatterRules, GeneratorRules, TemplateRules, template_type};
pub(crate) use rendered::Argument;
pub(crate) use reporters::Reporter;
pub(crate) use sources::RevlinkRule;
pub use views::{
    BuilderView, FinishedView, NewBuildset, PollInput, PollOutput, RequestView, RuleInput, RuleOutput, SourceView,
    SplitFile, WorkerView,
};

use crate::definition::{Definition, SchedulerDef};
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::host::limits::Limits;
use crate::project::{Builder, Inner, Scheduler, Source, Worker};
use std::collections::BTreeMap;

/// A project's policies.
#[derive(Clone, Copy)]
pub struct Policies<'p> {
    project: &'p Inner,
}

/// What a policy picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick<T> {
    /// There is no such policy: use the built-in order.
    NoPolicy,
    /// Nothing is to start now (D-48).
    Nothing,
    One(T),
}

/// What `canStartBuild` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    No {
        /// Why, for people; may be empty.
        said: String,
        /// The request need not be asked about before so many seconds have passed.
        wait_seconds: Option<u32>,
    },
}

/// Policies of the project as a whole.
#[derive(Default)]
pub(crate) struct Global {
    pub collapse: Option<CollapseRule>,
    pub prioritize_builders: Option<Function>,
    pub select_next_worker: Option<Function>,
    pub codebase_generator: Option<Function>,
    pub revlinks: Vec<RevlinkRule>,
    /// By the dialect's name.
    pub hooks: BTreeMap<String, HookRules>,
}

/// Locks that depend on the build.
pub(crate) struct LocksRule(pub Function);

impl<'p> Policies<'p> {
    pub(crate) fn of(project: &'p Inner) -> Policies<'p> {
        Policies { project }
    }

    fn limits(&self) -> Limits {
        Limits::policy()
    }

    fn definition(&self) -> &'p Definition {
        &self.project.definition
    }

    fn global(&self) -> &'p Global {
        &self.project.global
    }

    fn builder(&self, name: &str) -> Option<&'p Builder> {
        self.project.builders.get(name)
    }

    fn has_builder(&self, name: &str) -> bool {
        self.project.builders.contains_key(name)
    }

    fn scheduler(&self, name: &str) -> Option<&'p Scheduler> {
        self.project.schedulers.get(name)
    }

    fn scheduler_definition(&self, name: &str) -> Result<&'p SchedulerDef, EvalError> {
        self.definition().schedulers.iter().find(|s| s.name == name).ok_or_else(|| unknown("scheduler", name))
    }

    fn source(&self, name: &str) -> Option<&'p Source> {
        self.project.sources.get(name)
    }

    fn worker(&self, name: &str) -> Option<&'p Worker> {
        self.project.workers.get(name)
    }
}

fn unknown(what: &str, name: &str) -> EvalError {
    EvalError::new(Diagnostic::error(format!("the project has no {what} named `{name}`")))
}

/// Methods of what policies get, for the reference.
pub(crate) fn documented() -> [(&'static str, &'static starlark::environment::Methods); 3] {
    let [request, master] = values::methods();
    [("request", request), ("master", master), ("ctx", context::methods())]
}
