//! One running step: its logs, its commands, its effect on properties.

use super::Site;
use super::test_results::{Sink, TestResults};
use crate::exec::env::{EnvError, Environment, Layer};
use crate::exec::outlet::Outlet;
use crate::exec::run::{self, Ended, Launch, LaunchError};
use crate::exec::workdir::{self, WorkdirError};
use crate::order::Order;
use crate::secrets::{SecretError, Secrets};
use crate::shared::Shared;
use crate::spool::Spool;
use crate::steplog::{StepLog, slug};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tidemill_lang::plan::{Action, BuildContext};
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::{Event, LogKind};
use tokio::sync::watch;

/// Most bytes of a property's value as JSON.
pub(crate) const PROPERTY_MAX: usize = 1 << 20;

pub(crate) struct StepRun<'a> {
    pub shared: &'a Arc<Shared>,
    pub site: &'a Site<'a>,
    pub orders: &'a mut watch::Receiver<Order>,
    /// Of the project's side; what the step sees of it goes through `secrets`.
    pub context: &'a mut BuildContext,
    /// As this step may use them.
    pub secrets: &'a Arc<Secrets>,
    /// The builder's environment.
    pub builder_env: &'a Layer,
    pub number: u32,
    pub log_names: &'a Arc<LogNames>,
    /// Results of tests of the build.
    pub tests: &'a Arc<TestResults>,
}

/// How a step's action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Results {
        results: Results,
        /// For the summary, such as why a limit ended the command.
        note: String,
    },
    /// Ended by a stop order.
    Stopped,
    /// Nothing of the build counts any more.
    Over,
}

impl Done {
    pub fn with(results: Results) -> Done {
        Done::Results { results, note: String::new() }
    }
}

/// Why a step could not do what it was to do: it ends with EXCEPTION and this
/// text in its log `err.text`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Workdir(#[from] WorkdirError),
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("{0}")]
    Other(String),
}

impl StepRun<'_> {
    pub async fn act(&mut self, name: &str, action: Action) -> Result<Done, StepError> {
        match action {
            Action::Shell(shell) => super::shell::run(self, shell).await,
            Action::Git(mut git) => {
                git.repourl = self.secrets.resolve(&git.repourl)?;
                super::git::run(self, git).await
            }
            Action::Svn(svn) => super::source::svn::run(self, svn).await,
            Action::Mercurial(hg) => super::source::hg::run(self, hg).await,
            Action::SetProperty { property, value } => {
                self.set_property(&property, value, name)?;
                Ok(Done::with(Results::Success))
            }
            Action::Script(_) => {
                Err(StepError::Other("step functions run elsewhere; this is a mistake in the worker".into()))
            }
        }
    }

    pub fn open_log(&mut self, name: &str, kind: LogKind) -> StepLog {
        self.log_maker().open(name, kind).1
    }

    /// Opens logs of this step, also from elsewhere.
    pub fn log_maker(&self) -> LogMaker {
        LogMaker {
            spool: self.spool().clone(),
            names: self.log_names.clone(),
            step: self.number,
            secrets: self.secrets.clone(),
        }
    }

    /// What marks the step's processes.
    pub fn mark(&self) -> String {
        self.shared.processes.mark(self.site.claim.build, self.number)
    }

    /// Where results of its tests go.
    pub fn tests(&self) -> Sink {
        let (all, spool, secrets) = (self.tests.clone(), self.spool().clone(), self.secrets.clone());
        Sink { all, spool, secrets, step: self.number }
    }

    /// A whole log of text.
    pub fn text_log(&mut self, name: &str, text: &str) {
        let mut log = self.open_log(name, LogKind::Text);
        log.write(Channel::Stdout, text.as_bytes());
        if !text.ends_with('\n') {
            log.write(Channel::Stdout, b"\n");
        }
        log.finish();
    }

    /// Sets a property for the rest of the build, and tells the masters.
    pub fn set_property(&mut self, name: &str, value: serde_json::Value, source: &str) -> Result<(), StepError> {
        super::text::check_name("property", name).map_err(StepError::Other)?;
        let size = value.to_string().len();
        if size > PROPERTY_MAX {
            return Err(StepError::Other(format!(
                "the value of the property {name:?} takes {size} bytes; the most is {PROPERTY_MAX}"
            )));
        }
        self.context.properties.set(name, self.secrets.left(&value).into_owned(), source);
        let (name, value) = (self.secrets.shown(name), self.secrets.shown_json(&value));
        self.spool().event(Event::PropertySet { name, value, source: source.into() });
        Ok(())
    }

    /// The step's folder, made if it is missing.
    pub fn workdir(&self, workdir: &str) -> Result<PathBuf, StepError> {
        Ok(workdir::make(self.site.folder, workdir)?)
    }

    /// The environment of the step's commands.
    pub fn environment(&self, layer: &Layer) -> Result<Environment, StepError> {
        Ok(crate::exec::env::layered(&self.shared.own_env, &[self.builder_env, layer])?)
    }

    pub async fn exec(&mut self, launch: Launch, log: &mut impl Outlet) -> Result<Ended, LaunchError> {
        let context = run::Context { processes: &self.shared.processes, mark: self.mark(), orders: self.orders };
        run::run(context, launch, log).await
    }

    /// Whether the worker's disk is full, which explains most failures.
    pub fn disk_is_full(&self) -> bool {
        nix::sys::statvfs::statvfs(self.site.folder)
            .is_ok_and(|s| s.blocks_available().saturating_mul(s.fragment_size()) < 1 << 20)
    }

    fn spool(&self) -> &Arc<Spool> {
        self.site.spool
    }
}

/// Numbers and short names of a build's logs.
#[derive(Debug, Default)]
pub(crate) struct LogNames(Mutex<(u32, HashSet<(u32, String)>)>);

impl LogNames {
    /// The next number, and a short name that no other log of the step has.
    fn next(&self, step: u32, name: &str) -> (u32, String) {
        let mut guard = self.0.lock().expect("no panic while holding the names");
        let (number, taken) = &mut *guard;
        *number += 1;
        let plain = slug(name);
        let unique = std::iter::once(plain.clone())
            .chain((1..).map(|n| format!("{plain}_{n}")))
            .find(|s| !taken.contains(&(step, s.clone())))
            .expect("an endless range of names");
        taken.insert((step, unique.clone()));
        (*number, unique)
    }
}

/// Opens logs of one step.
#[derive(Clone)]
pub(crate) struct LogMaker {
    spool: Arc<Spool>,
    names: Arc<LogNames>,
    step: u32,
    secrets: Arc<Secrets>,
}

impl LogMaker {
    /// The log's number and the log, which masks what secrets are known.
    pub fn open(&self, name: &str, kind: LogKind) -> (u32, StepLog) {
        // For people: a long one is cut.
        let name: String = name.chars().take(200).collect();
        let (id, slug) = self.names.next(self.step, &name);
        let mut log = StepLog::open(self.spool.clone(), id, self.step, &name, slug, kind);
        log.mask(self.secrets.patterns());
        (id, log)
    }
}
