//! What one run of a step function shares between its values: the host, the
//! build, and where its logs are.

use super::Added;
use super::host::{HostError, LogId, StepHost, WorkerInfo};
use super::slot::Slot;
use crate::host::limits::Limits;
use crate::plan::{BuildContext, Shell};
use crate::values::spec::Spec;
use crate::values::tree::Tree;
use starlark::any::ProvidesStaticType;
use starlark::eval::Evaluator;
use starlark::values::OwnedFrozenValue;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::LogKind;

/// Reached by natives through `eval.extra`.
#[derive(ProvidesStaticType)]
pub(super) struct Running<'h> {
    pub host: &'h dyn StepHost,
    /// Of the step's frozen heap: keeps alive what functions come from it.
    pub owner: OwnedFrozenValue,
    pub limits: Limits,
    pub allowed_secrets: Option<&'h [String]>,
}

/// The native's way to it.
pub(super) fn running<'e>(eval: &Evaluator<'_, '_, 'e>) -> starlark::Result<&'e Running<'e>> {
    let extra = eval.extra.and_then(|extra| extra.downcast_ref::<&'e Running<'e>>());
    extra.copied().ok_or_else(|| failure("this can be called only while a step runs"))
}

pub(super) fn failure(text: impl std::fmt::Display) -> starlark::Error {
    starlark::Error::new_other(anyhow::anyhow!("{text}"))
}

/// Facts of the step that all its values know.
pub(super) struct Facts {
    pub name: String,
    pub workdir: String,
    pub shell: Shell,
    /// The vocabulary's step: arguments that it takes and that were not given are None.
    pub spec: &'static Spec,
    pub context: Slot<Arc<BuildContext>>,
    /// Attributes that its functions set, and that outlive an evaluator.
    pub attributes: Slot<BTreeMap<String, Tree>>,
    /// Its arguments, rendered.
    pub arguments: BTreeMap<String, Tree>,
    pub logs: Slot<Vec<OpenLog>>,
    /// Steps for the build that are made already.
    pub added: Slot<Vec<Added>>,
    pub statistics: Slot<BTreeMap<String, serde_json::Value>>,
    /// The result so far, for `getResultSummary`.
    pub results: Slot<Option<Results>>,
    /// The host's limit swallowed a summary: say it again later.
    pub summary_pending: Slot<bool>,
    pub observed_lines: Slot<u64>,
    /// How deep observers write to logs that others observe.
    pub depth: Slot<u32>,
    /// What observers in evaluators of their own wrote to logs, for those who observe these.
    pub pending: Slot<Vec<Pending>>,
    /// Bytes that it holds.
    pub pending_bytes: Slot<usize>,
    /// Names of logs that somebody observes.
    pub observed: Slot<BTreeSet<String>>,
    /// Logs of the command that runs.
    pub current: Slot<Vec<LogId>>,
    /// The host ended a call so: the function is to end too, whatever it does with the error.
    pub ended: Slot<Option<HostError>>,
    pub worker: WorkerInfo,
}

/// Output of a log, or its end where there is no text.
pub(super) struct Pending {
    pub log: String,
    pub id: LogId,
    pub output: Option<(Channel, Vec<u8>)>,
}

/// Most bytes that wait for observers.
const PENDING_MAX: usize = 16 << 20;

/// What an entry takes besides its text.
const PENDING_ENTRY: usize = 128;

/// A log of the step.
#[derive(Clone, Debug)]
pub(super) struct OpenLog {
    pub name: String,
    pub id: LogId,
    pub finished: bool,
}

impl Facts {
    /// An error of the host as one of the language.
    pub fn told(&self, error: HostError) -> starlark::Error {
        let text = error.to_string();
        if matches!(error, HostError::Cancelled | HostError::Over) {
            *self.ended.borrow_mut() = Some(error);
        }
        failure(text)
    }

    pub fn open_log(&self, host: &dyn StepHost, name: &str, kind: LogKind) -> starlark::Result<LogId> {
        let id = host.log_open(name, kind).map_err(|e| self.told(e))?;
        self.logs.borrow_mut().push(OpenLog { name: name.to_owned(), id, finished: false });
        Ok(id)
    }

    /// The newest log of the name.
    pub fn log(&self, name: &str) -> Option<OpenLog> {
        self.logs.borrow().iter().rev().find(|l| l.name == name).cloned()
    }

    /// Keeps output, or an end, for the observers of a log, if it has some.
    pub fn put_off(&self, log: &str, id: LogId, output: Option<(Channel, &[u8])>) -> starlark::Result<()> {
        if !self.observed.borrow().contains(log) {
            return Ok(());
        }
        let bytes = self.pending_bytes.get() + PENDING_ENTRY + output.map_or(0, |(_, bytes)| bytes.len());
        if bytes > PENDING_MAX {
            return Err(failure(format!(
                "observers wrote more than {} MiB to the log `{log}`, which others observe, while these could not see it",
                PENDING_MAX >> 20
            )));
        }
        self.pending_bytes.set(bytes);
        let output = output.map(|(channel, bytes)| (channel, bytes.to_vec()));
        self.pending.borrow_mut().push(Pending { log: log.to_owned(), id, output });
        Ok(())
    }

    /// What was put off.
    pub fn take_pending(&self) -> Vec<Pending> {
        self.pending_bytes.set(0);
        self.pending.take()
    }

    /// An observer may not end the log that the command it observes writes to.
    pub fn may_finish(&self, id: LogId) -> starlark::Result<()> {
        match self.current.borrow().contains(&id) {
            true => Err(failure("the running command writes to this log: finish it when the command has ended")),
            false => Ok(()),
        }
    }

    pub fn finish_log(&self, host: &dyn StepHost, id: LogId) -> starlark::Result<()> {
        self.may_finish(id)?;
        let open = {
            let mut logs = self.logs.borrow_mut();
            let log = logs.iter_mut().find(|l| l.id == id && !l.finished);
            log.map(|l| l.finished = true).is_some()
        };
        if open { host.log_finish(id).map_err(|e| self.told(e)) } else { Ok(()) }
    }

    /// At the end, also after an error.
    pub fn finish_logs(&self, host: &dyn StepHost) {
        for log in self.logs.borrow_mut().iter_mut().filter(|l| !l.finished) {
            log.finished = true;
            // The build is over, or the worker ends: nobody is there to be told.
            let _ = host.log_finish(log.id);
        }
    }

    pub fn write(&self, host: &dyn StepHost, log: LogId, channel: Channel, text: &str) -> starlark::Result<()> {
        if self.logs.borrow().iter().any(|l| l.id == log && l.finished) {
            return Err(failure("the log is finished: nothing can be added to it"));
        }
        host.log_write(log, channel, text.as_bytes()).map_err(|e| self.told(e))
    }

    /// A path below the builder's folder, from one below the step's.
    pub fn path(&self, path: &str) -> starlark::Result<String> {
        below(&self.workdir, path)
    }

    pub fn set_property(&self, name: &str, value: serde_json::Value, source: &str) {
        let mut context = self.context.borrow_mut();
        Arc::make_mut(&mut context).properties.set(name, value, source);
    }
}

/// Joins paths; refuses to leave the builder's folder.
pub(super) fn below(base: &str, path: &str) -> starlark::Result<String> {
    let mut parts: Vec<&str> =
        if path.starts_with('/') { vec![] } else { base.split('/').filter(|p| !p.is_empty() && *p != ".").collect() };
    if path.starts_with('/') {
        return Err(failure(format!(
            "the path {path:?} is not below the builder's folder: write it without a slash in front"
        )));
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or_else(|| failure(format!("the path {path:?} leaves the builder's folder")))?;
            }
            name => parts.push(name),
        }
    }
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

pub(super) type Shared = Arc<Facts>;
