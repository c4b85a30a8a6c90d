//! What the project's functions say of one scheduler. All of this blocks, for a
//! bounded time a call: run it by [`blocking`].

use crate::app::App;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidemill_lang::definition::SchedulerDef;
use tidemill_lang::policies::Policies;
use tidemill_lang::{EvalError, Project};
use tidemill_model::Change;
use tidemill_schema::changes::Cursor;
use tidemill_schema::policy_failures::Subject;
use tidemill_schema::{Error, Result};

/// How long one scheduler goes on to the next change in one transaction.
const BUDGET: Duration = Duration::from_millis(200);

/// How long the functions of one scheduler may take in one transaction, whatever
/// there is to decide.
const LONGEST: Duration = Duration::from_secs(5);

/// A function without whose answer nothing can be decided.
pub struct Failed {
    pub policy: &'static str,
    pub error: String,
}

impl Failed {
    pub fn new(policy: &'static str, error: impl ToString) -> Failed {
        Failed { policy, error: error.to_string() }
    }
}

/// The functions of one scheduler. Cheap to clone.
#[derive(Clone)]
pub struct Functions {
    app: App,
    revision: i64,
    project: Arc<Project>,
    def: Arc<SchedulerDef>,
    begun: Instant,
}

impl Functions {
    pub fn new(app: &App, revision: i64, project: Arc<Project>, def: SchedulerDef) -> Functions {
        Functions { app: app.clone(), revision, project, def: Arc::new(def), begun: Instant::now() }
    }

    pub fn def(&self) -> &SchedulerDef {
        &self.def
    }

    pub fn policies(&self) -> Policies<'_> {
        self.project.policies()
    }

    /// Whether to leave the rest to the next transaction.
    pub fn used_up(&self) -> bool {
        self.begun.elapsed() > BUDGET
    }

    /// Whether the scheduler takes the change, and then whether it is important.
    pub fn classify(&self, change: &Change) -> Option<bool> {
        let (def, codebase) = (&*self.def, &change.new.codebase);
        let declared = if def.codebases.is_empty() { codebase.is_empty() } else { def.codebases.contains(codebase) };
        // Beside the filter, as those that the clock sets off have both.
        let branch = def.timed().is_none_or(|t| !t.branch_given || t.branch == change.new.branch);
        if !declared || !branch {
            return None;
        }
        let otherwise = |policy, error: EvalError| {
            self.note(policy, &error);
            true
        };
        let matches = self.project.change_matches(&def.name, change);
        if !matches.unwrap_or_else(|e| otherwise("change_filter", e)) {
            return None;
        }
        let important = self.project.change_is_important(&def.name, change);
        Some(important.unwrap_or_else(|e| otherwise("fileIsImportant", e)))
    }

    /// Classifies changes in order, one at least and as many as fit the time.
    /// Those that the scheduler takes, and where it stopped if before the end.
    pub fn classify_all(&self, changes: Vec<(Cursor, Change)>) -> (Vec<(Change, bool)>, Option<Cursor>) {
        let mut taken = Vec::new();
        let mut last = None;
        for (at, change) in changes {
            if last.is_some() && self.used_up() {
                return (taken, last);
            }
            if let Some(important) = self.classify(&change) {
                taken.push((change, important));
            }
            last = Some(at);
        }
        (taken, None)
    }

    /// The builders for these changes: the list, or what its function says.
    pub fn builders(&self, changes: &[Change]) -> Result<Vec<String>, Failed> {
        if !self.def.builders_function {
            return Ok(self.def.builder_names.clone());
        }
        if self.begun.elapsed() > LONGEST {
            return Err(Failed::new("builderNames", Self::too_long()));
        }
        let named = self.policies().scheduler_builders(&self.def.name, changes);
        named.map_err(|error| Failed::new("builderNames", error))
    }

    /// The priority of these changes' requests: 0 if its function fails.
    pub fn priority(&self, builders: &[String], changes: &[Change]) -> i32 {
        if !self.def.priority_function {
            return self.def.priority.unwrap_or_default();
        }
        let subject = || Subject::Scheduler(self.def.name.clone());
        if self.begun.elapsed() > LONGEST {
            self.app.failures.failed_saying(&self.app.db, self.revision, subject(), "priority", Self::too_long());
            return 0;
        }
        self.policies().scheduler_priority(&self.def.name, builders, changes).unwrap_or_else(|error| {
            self.note("priority", &error);
            0
        })
    }

    fn too_long() -> String {
        format!("the functions of this scheduler took longer than {} s for one decision", LONGEST.as_secs())
    }

    fn note(&self, policy: &'static str, error: &EvalError) {
        let subject = Subject::Scheduler(self.def.name.clone());
        self.app.failures.failed(&self.app.db, self.revision, subject, policy, error);
    }
}

/// Runs functions off the async threads.
pub async fn blocking<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    tokio::task::spawn_blocking(f)
        .await
        .map_err(|e| Error::Inconsistent(format!("asking the project's functions: {e}")))
}
