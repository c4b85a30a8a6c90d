//! What a step function may ask of this worker.

use super::Ending;
use super::logs::Logs;
use super::progress::{Progress, Told};
use crate::build::step::LogMaker;
use crate::build::test_results::Sink as TestSink;
use crate::exec::env::Layer;
use crate::order::Order;
use crate::secrets::Secrets;
use crate::shared::Shared;
use crate::spool::Spool;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use tidemill_lang::custom::{
    CommandEnd, FileReply, FileRequest, HostError, LogId, Run, Sink, Statistic, StepHost, Trigger, WorkerInfo,
};
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::{LogKind, TestResult, VOCABULARY};
use tokio::sync::watch;

/// Commands of this worker.
const COMMANDS: [&str; 9] = ["shell", "stat", "glob", "listdir", "mkdir", "rmdir", "cpdir", "rmfile", "trigger"];

/// Their version, in the numbers of Buildbot's workers: a step that was written
/// for these must not take this one for an old one.
const COMMANDS_VERSION: &str = "3.1";

/// What the step's thread was given.
pub(super) struct Ground {
    pub shared: Arc<Shared>,
    pub spool: Arc<Spool>,
    pub handle: tokio::runtime::Handle,
    /// The builder's folder, canonical.
    pub folder: PathBuf,
    pub builder_env: Layer,
    pub secrets: Arc<Secrets>,
    pub maker: LogMaker,
    /// Of the step's processes.
    pub mark: String,
    pub build: i64,
    /// Of the build's lease.
    pub token: String,
    pub step: u32,
    /// Has seen no order that came after the step's start.
    pub orders: watch::Receiver<Order>,
    pub ending: Arc<Ending>,
    pub logs: Arc<Logs>,
    pub progress: Arc<Progress>,
    pub tests: TestSink,
}

pub(super) struct Host {
    pub ground: Ground,
    pub told: RefCell<Told>,
    /// Logs of the command that runs; none where none runs.
    pub current: RefCell<Option<BTreeSet<LogId>>>,
}

impl Host {
    pub fn new(ground: Ground, told: Told) -> Host {
        Host { ground, told: RefCell::new(told), current: RefCell::default() }
    }

    /// An error if the step is to end.
    pub fn go_on(&self) -> Result<(), HostError> {
        match &self.ground.ending {
            ending if ending.is_over() => Err(HostError::Over),
            ending if ending.is_asked() => Err(HostError::Cancelled),
            _ => Ok(()),
        }
    }
}

impl StepHost for Host {
    fn cancelled(&self) -> bool {
        self.ground.ending.is_asked()
    }

    fn worker(&self) -> WorkerInfo {
        WorkerInfo {
            name: self.ground.shared.settings.name.clone(),
            vocabulary: VOCABULARY,
            commands: COMMANDS.map(|c| (c.to_owned(), COMMANDS_VERSION.to_owned())).into(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            system: "posix".into(),
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            path_separator: '/',
        }
    }

    fn log_open(&self, name: &str, kind: LogKind) -> Result<LogId, HostError> {
        self.open(name, kind)
    }

    fn log_write(&self, log: LogId, channel: Channel, bytes: &[u8]) -> Result<(), HostError> {
        self.write(log, channel, bytes)
    }

    fn log_finish(&self, log: LogId) -> Result<(), HostError> {
        // Also after an order to stop: what was written is to be whole.
        self.finish(log)
    }

    fn run(&self, run: &Run, sink: &mut Sink<'_>) -> Result<CommandEnd, HostError> {
        self.command(run, sink)
    }

    fn file(&self, request: &FileRequest) -> Result<FileReply, HostError> {
        match crate::tree::refuses_request(&self.ground.folder, request) {
            Some(why) => Err(HostError::Failed(why)),
            None => self.files(request),
        }
    }

    fn set_property(&self, name: &str, value: &Json, source: &str) -> Result<(), HostError> {
        self.property(name, value, source)
    }

    fn add_url(&self, name: &str, url: &str) -> Result<(), HostError> {
        self.link(name, url)
    }

    fn set_statistic(&self, name: &str, value: &Json) -> Result<(), HostError> {
        self.statistic(name, value)
    }

    fn statistics(&self) -> Vec<Statistic> {
        self.told.borrow().statistics.clone()
    }

    fn set_progress(&self, metric: &str, value: f64) -> Result<(), HostError> {
        self.progress(metric, value)
    }

    fn add_test_result(&self, set: &str, result: &TestResult) -> Result<(), HostError> {
        self.wait_for_room()?;
        self.ground.tests.add(set, result).map_err(HostError::Failed)
    }

    fn summary_due(&self) -> bool {
        self.is_summary_due()
    }

    fn set_summary(&self, text: &str) -> Result<(), HostError> {
        self.summary(text)
    }

    fn trigger(&self, trigger: &Trigger) -> Result<Results, HostError> {
        self.fire(trigger)
    }
}
