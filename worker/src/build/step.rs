//! One running step: its logs, its commands, its effect on properties.

use super::Site;
use crate::exec::env::{EnvError, Environment, Layer};
use crate::exec::run::{self, Ended, How, Launch, LaunchError};
use crate::exec::workdir::{self, WorkdirError};
use crate::order::Order;
use crate::shared::Shared;
use crate::spool::Spool;
use crate::steplog::StepLog;
use std::path::PathBuf;
use std::sync::Arc;
use tidemill_lang::plan::{Action, BuildContext};
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::{Event, LogKind};
use tokio::sync::watch;

/// Most bytes of a property's value as JSON.
const PROPERTY_MAX: usize = 1 << 20;

pub(crate) struct StepRun<'a> {
    pub shared: &'a Arc<Shared>,
    pub site: &'a Site<'a>,
    pub orders: &'a mut watch::Receiver<Order>,
    pub context: &'a mut BuildContext,
    /// The builder's environment.
    pub builder_env: &'a Layer,
    pub number: u32,
    pub next_log: &'a mut u32,
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
    Launch(#[from] LaunchError),
    #[error("{0}")]
    Other(String),
}

impl StepRun<'_> {
    pub async fn act(&mut self, name: &str, action: Action) -> Result<Done, StepError> {
        match action {
            Action::Shell(shell) => super::shell::run(self, shell).await,
            Action::Git(git) => super::git::run(self, git).await,
            Action::SetProperty { property, value } => {
                self.set_property(&property, value, name)?;
                Ok(Done::with(Results::Success))
            }
        }
    }

    pub fn open_log(&mut self, name: &str, kind: LogKind) -> StepLog {
        *self.next_log += 1;
        StepLog::open(self.spool().clone(), *self.next_log, self.number, name, kind)
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
        let size = value.to_string().len();
        if size > PROPERTY_MAX {
            return Err(StepError::Other(format!(
                "the value of the property {name:?} takes {size} bytes; the most is {PROPERTY_MAX}"
            )));
        }
        self.context.properties.set(name, value.clone(), source);
        self.spool().event(Event::PropertySet { name: name.into(), value, source: source.into() });
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

    pub async fn exec(&mut self, launch: Launch, log: &mut StepLog) -> Result<Ended, LaunchError> {
        let context = run::Context {
            processes: &self.shared.processes,
            mark: self.shared.processes.mark(self.site.claim.build, self.number),
            orders: self.orders,
        };
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

/// The end of a log with output: exit code and time.
pub(crate) fn footer(log: &mut StepLog, ended: &Ended) {
    log.end_output();
    let code = match &ended.how {
        How::Exit(code) => *code,
        _ => -1,
    };
    log.header(&format!("program finished with exit code {code}\n"));
    match &ended.how {
        How::Signal(signal) => log.header(&format!("ended by signal {signal}\n")),
        How::Limit(text) => log.header(&format!("the command {text}\n")),
        How::Exit(_) | How::Stopped | How::Over => {}
    }
    log.header(&format!("elapsedTime={:.6}\n", ended.elapsed.as_secs_f64()));
}
