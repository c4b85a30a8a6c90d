//! An evaluated project: its definition, and what is called later.

mod builders;
mod cancellers;
mod changes;
mod check;
mod dicts;
mod digest;
pub(crate) mod engines;
mod force;
mod hooks;
mod reporters;
pub(crate) mod root;
mod schedulers;
mod timed;
mod triggers;
mod whole;
mod workers;

use crate::definition::Definition;
use crate::filter::{Filter, Predicate};
use crate::host::collector::Collector;
use crate::host::diagnostics::{Diagnostic, Diagnostics, EvalError, Severity};
use crate::host::limits::Limits;
use crate::host::loader;
use crate::host::site::Site;
use crate::host::stack;
use crate::plan::{BuildContext, Plan};
use crate::policies::{Canceller, CollapseRule, Function, Global, LocksRule, NoHost, Policies, Reporter};
use crate::render::Rendering;
use crate::steps::Step;
use crate::values::convert;
use crate::values::views::{BuildView, Side};
use digest::Sources;
use root::Config;
use starlark::values::OwnedFrozenValue;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tidemill_model::Change;
use tidemill_model::revision::Files;

/// A set of files that was evaluated and checked. Immutable; cheap to clone; any
/// number of threads may call it at once.
#[derive(Clone)]
pub struct Project(Arc<Inner>);

pub(crate) struct Inner {
    pub definition: Definition,
    warnings: Vec<Diagnostic>,
    pub builders: BTreeMap<String, Builder>,
    pub schedulers: BTreeMap<String, Scheduler>,
    pub sources: BTreeMap<String, Source>,
    pub workers: BTreeMap<String, Worker>,
    pub cancellers: BTreeMap<String, Canceller>,
    pub reporters: BTreeMap<String, Reporter>,
    pub global: Global,
    limits: Limits,
}

/// What lives on of a builder beside its definition.
pub(crate) struct Builder {
    pub steps: Vec<Step>,
    /// `env`, not rendered.
    pub env: Option<OwnedFrozenValue>,
    pub site: Site,
    pub collapse: Option<CollapseRule>,
    pub next_build: Option<Function>,
    pub next_worker: Option<Function>,
    pub can_start_build: Option<Function>,
    pub locks: Option<LocksRule>,
    pub do_build_if: Option<Function>,
    /// Schedulers that its steps trigger, as far as they are written down.
    pub triggers: Vec<triggers::Triggers>,
}

/// What lives on of a scheduler.
#[derive(Default)]
pub(crate) struct Scheduler {
    pub filter: Option<Filter>,
    pub important: Option<Predicate>,
    pub builders: Option<Function>,
    pub priority: Option<Function>,
    pub rule: Option<Function>,
}

/// What lives on of a change source.
#[derive(Default)]
pub(crate) struct Source {
    pub split_file: Option<Function>,
    pub category: Option<Function>,
    pub project: Option<Function>,
    pub branches: Option<Function>,
    pub pullrequest_filter: Option<Function>,
    pub poll: Option<Function>,
}

/// What lives on of a worker: functions of a latent one of the project's own.
#[derive(Default)]
pub(crate) struct Worker {
    pub start_instance: Option<Function>,
    pub stop_instance: Option<Function>,
    pub check_instance: Option<Function>,
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project").field("definition", &self.0.definition).finish_non_exhaustive()
    }
}

impl Project {
    /// Evaluates and checks as a whole.
    ///
    /// # Errors
    /// All that could be found at once, errors first, then what was only doubtful.
    pub fn evaluate(files: &Files, limits: &Limits) -> Result<Project, Diagnostics> {
        stack::deep(|| evaluate(files, limits)).unwrap_or_else(|why| Err(broken_off(&why)))
    }

    pub fn definition(&self) -> &Definition {
        &self.0.definition
    }

    /// What is probably not meant so, and what the files print.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.0.warnings
    }

    /// The steps of a builder's factory, in order. `None`: no such builder.
    pub fn steps(&self, builder: &str) -> Option<&[Step]> {
        self.0.builders.get(builder).map(|b| b.steps.as_slice())
    }

    /// Environment of a builder for all its commands, rendered. A step's own wins.
    pub fn builder_env(
        &self,
        builder: &str,
        ctx: &BuildContext,
    ) -> Result<BTreeMap<String, Option<String>>, EvalError> {
        let Some(found) = self.0.builders.get(builder) else { return Err(unknown("builder", builder)) };
        let Some(env) = &found.env else { return Ok(BTreeMap::new()) };
        self.0.limits.run(|eval| {
            let value = eval.heap().access_owned_frozen_value(env);
            let tree = Rendering::new(eval, ctx).render(value)?;
            convert::env(&tree).ok_or_else(|| {
                let expected = convert::R_ENV.expected;
                let message = format!(
                    "`env` of util.BuilderConfig must be {expected}, got {} when it was rendered",
                    tree.describe()
                );
                EvalError::new(found.site.place_argument("env", Diagnostic::error(message)))
            })
        })
    }

    /// Whether a scheduler's change filter takes the change; true without one.
    pub fn change_matches(&self, scheduler: &str, change: &Change) -> Result<bool, EvalError> {
        let found = self.scheduler(scheduler)?;
        found.filter.as_ref().map_or(Ok(true), |f| f.matches(change, &Limits::policy()))
    }

    /// What `fileIsImportant` says; true without one.
    pub fn change_is_important(&self, scheduler: &str, change: &Change) -> Result<bool, EvalError> {
        let found = self.scheduler(scheduler)?;
        found.important.as_ref().map_or(Ok(true), |f| f.ask_change(change, &Limits::policy()))
    }

    /// Whether the build is to run at all (BU-15); true without a `do_build_if`.
    /// Asked by the worker before the first step; false ends the build as SKIPPED.
    pub fn do_build_if(&self, builder: &str, ctx: &BuildContext) -> Result<bool, EvalError> {
        let Some(found) = self.0.builders.get(builder) else { return Err(unknown("builder", builder)) };
        let Some(function) = &found.do_build_if else { return Ok(true) };
        let context = Arc::new(ctx.clone());
        function.call(
            &self.0.limits,
            &NoHost,
            |eval| vec![eval.heap().alloc(BuildView { context: context.clone(), side: Side::Build })],
            |answer, _| Ok(answer.to_bool()),
        )
    }

    /// A dry run of a builder's steps. `None`: no such builder.
    pub fn plan(&self, builder: &str, ctx: &BuildContext) -> Option<Plan> {
        let steps = self.steps(builder)?;
        Some(crate::plan::plan(builder, steps, ctx))
    }

    /// The functions that masters ask.
    pub fn policies(&self) -> Policies<'_> {
        Policies::of(&self.0)
    }

    fn scheduler(&self, name: &str) -> Result<&Scheduler, EvalError> {
        self.0.schedulers.get(name).ok_or_else(|| unknown("scheduler", name))
    }
}

pub(crate) fn broken_off(why: &str) -> Diagnostics {
    Diagnostics(vec![Diagnostic::error(format!("evaluation broke off: {why}"))])
}

fn unknown(what: &str, name: &str) -> EvalError {
    EvalError::new(Diagnostic::error(format!("the project has no {what} named `{name}`")))
}

fn evaluate(files: &Files, limits: &Limits) -> Result<Project, Diagnostics> {
    let collector = Collector::default();
    let inner = loader::evaluate(files, limits, &collector)
        .and_then(|root| Config::find(root, &collector))
        .map(|config| read(files, &config, limits, &collector));
    let failed = collector.has_errors();
    let found = collector.into_sorted();
    match inner {
        Some(mut inner) if !failed => {
            debug_assert!(found.iter().all(|d| d.severity != Severity::Error));
            inner.warnings = found;
            Ok(Project(Arc::new(inner)))
        }
        _ => Err(Diagnostics(found)),
    }
}

fn read(files: &Files, config: &Config, limits: &Limits, collector: &Collector) -> Inner {
    let mut definition = root::read(config, collector);
    definition.vocabulary = crate::vocabulary::levels::needed(files);
    let mut locks = vec![];
    let (global, services) = whole::read(config, &mut definition, &mut locks, collector);
    let workers = workers::read(config, &mut locks, collector);
    let builders = builders::read(config, limits, &Sources::of(files), &mut locks, collector);
    let schedulers = schedulers::read(config, collector);
    let sources = changes::read(config, collector);
    definition.locks = whole::unique_locks(locks, collector);
    check::check(config, &workers, &builders, &schedulers, &sources, collector);
    let mut inner = Inner {
        definition,
        warnings: vec![],
        builders: BTreeMap::new(),
        schedulers: BTreeMap::new(),
        sources: BTreeMap::new(),
        workers: BTreeMap::new(),
        cancellers: BTreeMap::new(),
        reporters: BTreeMap::new(),
        global,
        limits: limits.clone(),
    };
    for (entry, worker) in workers {
        inner.workers.insert(entry.definition.name.clone(), worker);
        inner.definition.workers.push(entry.definition);
    }
    for (entry, builder) in builders {
        inner.builders.insert(entry.definition.name.clone(), builder);
        inner.definition.builders.push(entry.definition);
    }
    for (entry, scheduler) in schedulers {
        inner.schedulers.insert(entry.definition.name.clone(), scheduler);
        inner.definition.schedulers.push(entry.definition);
    }
    for (entry, source) in sources {
        inner.sources.insert(entry.definition.name.clone(), source);
        inner.definition.change_sources.push(entry.definition);
    }
    services.check(&inner.definition, collector);
    for found in services.cancellers {
        inner.cancellers.insert(found.definition.name.clone(), found.canceller);
        inner.definition.cancellers.push(found.definition);
    }
    for found in services.reporters {
        inner.reporters.insert(found.definition.name.clone(), found.rules);
        inner.definition.reporters.push(found.definition);
    }
    inner.definition.secrets = whole::secrets(&inner.definition);
    inner
}
