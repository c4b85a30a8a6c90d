//! An evaluated project: its definition, and what is called later.

mod builders;
mod changes;
mod check;
mod root;
mod schedulers;
mod workers;

use crate::definition::Definition;
use crate::filter::{Filter, Predicate};
use crate::host::collector::Collector;
use crate::host::diagnostics::{Diagnostic, Diagnostics, EvalError, Severity};
use crate::host::limits::Limits;
use crate::host::loader;
use crate::host::site::Site;
use crate::plan::BuildContext;
use crate::render::Rendering;
use crate::steps::Step;
use crate::values::convert;
use root::Config;
use starlark::values::OwnedFrozenValue;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread;
use tidemill_model::Change;
use tidemill_model::revision::Files;

/// Stack of the evaluating thread. Parsing and compiling recurse; only pages
/// that are touched are used. See `host::nesting` for the bound on the depth.
const STACK: usize = 64 << 20;

/// A set of files that was evaluated and checked. Immutable; cheap to clone; any
/// number of threads may call it at once.
#[derive(Clone)]
pub struct Project(Arc<Inner>);

struct Inner {
    definition: Definition,
    warnings: Vec<Diagnostic>,
    builders: BTreeMap<String, Builder>,
    schedulers: BTreeMap<String, Scheduler>,
    limits: Limits,
}

/// What lives on of a builder beside its definition.
pub(crate) struct Builder {
    pub steps: Vec<Step>,
    /// `env`, not rendered.
    pub env: Option<OwnedFrozenValue>,
    pub site: Site,
}

/// What lives on of a scheduler.
#[derive(Default)]
pub(crate) struct Scheduler {
    pub filter: Option<Filter>,
    pub important: Option<Predicate>,
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
        let run = || evaluate(files, limits);
        thread::scope(|scope| {
            let spawned = thread::Builder::new().name("evaluate".into()).stack_size(STACK).spawn_scoped(scope, run);
            let broken = |why: String| Diagnostics(vec![Diagnostic::error(format!("evaluation broke off: {why}"))]);
            let handle = spawned.map_err(|error| broken(error.to_string()))?;
            handle.join().unwrap_or_else(|_| Err(broken("this is a fault in Tidemill, please report it".into())))
        })
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
        found.filter.as_ref().map_or(Ok(true), |f| f.matches(change, &self.0.limits))
    }

    /// What `fileIsImportant` says; true without one.
    pub fn change_is_important(&self, scheduler: &str, change: &Change) -> Result<bool, EvalError> {
        let found = self.scheduler(scheduler)?;
        found.important.as_ref().map_or(Ok(true), |f| f.ask_change(change, &self.0.limits))
    }

    fn scheduler(&self, name: &str) -> Result<&Scheduler, EvalError> {
        self.0.schedulers.get(name).ok_or_else(|| unknown("scheduler", name))
    }
}

fn unknown(what: &str, name: &str) -> EvalError {
    EvalError::new(Diagnostic::error(format!("the project has no {what} named `{name}`")))
}

fn evaluate(files: &Files, limits: &Limits) -> Result<Project, Diagnostics> {
    let collector = Collector::default();
    let inner = loader::evaluate(files, limits, &collector)
        .and_then(|root| Config::find(root, &collector))
        .map(|config| read(&config, limits, &collector));
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

fn read(config: &Config, limits: &Limits, collector: &Collector) -> Inner {
    let mut definition = root::read(config, collector);
    let workers = workers::read(config, collector);
    let builders = builders::read(config, limits, collector);
    let schedulers = schedulers::read(config, collector);
    let sources = changes::read(config, collector);
    check::check(config, &workers, &builders, &schedulers, &sources, collector);
    definition.workers = workers.into_iter().map(|w| w.definition).collect();
    definition.change_sources = sources.into_iter().map(|s| s.definition).collect();
    let mut inner = Inner {
        definition,
        warnings: vec![],
        builders: BTreeMap::new(),
        schedulers: BTreeMap::new(),
        limits: limits.clone(),
    };
    for (entry, builder) in builders {
        inner.builders.insert(entry.definition.name.clone(), builder);
        inner.definition.builders.push(entry.definition);
    }
    for (entry, scheduler) in schedulers {
        inner.schedulers.insert(entry.definition.name.clone(), scheduler);
        inner.definition.schedulers.push(entry.definition);
    }
    inner
}
