//! What a step function may ask of the machine that it runs on. The worker
//! implements it; everything else of custom steps is in this crate.
//!
//! Calls block the thread of the step and may come again from inside
//! [`StepHost::run`] (an observer sets progress while the command runs), so
//! methods take `&self`. One command runs at a time: the host refuses another
//! one from inside. After an order to stop, blocking calls return
//! [`HostError::Cancelled`] at once and [`StepHost::cancelled`] is true; the
//! function is then ended at its next call or loop turn.

use crate::plan::Shell;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tidemill_model::Results;
use tidemill_model::log::Channel;
use tidemill_model::wire::{LogKind, TestResult};

/// The number of a log within the build, as the host gave it.
pub type LogId = u32;

pub trait StepHost {
    /// Whether the step is to end. Cheap: asked every thousand calls and loop turns.
    fn cancelled(&self) -> bool;

    /// Facts about the worker; does not change during a step.
    fn worker(&self) -> WorkerInfo;

    /// Opens a log of the step. Two logs of one name are the host's to tell apart.
    fn log_open(&self, name: &str, kind: LogKind) -> Result<LogId, HostError>;
    /// Adds to a log, as it is.
    fn log_write(&self, log: LogId, channel: Channel, bytes: &[u8]) -> Result<(), HostError>;
    /// No more will come.
    fn log_finish(&self, log: LogId) -> Result<(), HostError>;

    /// Runs a command to its end. Header (SH-14), output and footer go to
    /// `run.log`, watched files to their logs. What is written to a log in
    /// `run.observed` is also given to `sink`, in order, in pieces as they come
    /// (best 16 to 256 KiB at a time; a slow sink slows the command). An error of
    /// the sink ends the command and is returned. Secrets (see [`crate::secret`])
    /// are put in here and masked in the logs.
    fn run(&self, run: &Run, sink: &mut Sink<'_>) -> Result<CommandEnd, HostError>;

    /// Works on files below the builder's folder; refuses to leave it.
    fn file(&self, request: &FileRequest) -> Result<FileReply, HostError>;

    /// Sets a property of the build, for the steps after this one and the masters.
    fn set_property(&self, name: &str, value: &Json, source: &str) -> Result<(), HostError>;
    /// Adds a link to the step.
    fn add_url(&self, name: &str, url: &str) -> Result<(), HostError>;
    /// A number of the step for people and for [`StepHost::statistics`] (C-88).
    fn set_statistic(&self, name: &str, value: &Json) -> Result<(), HostError>;
    /// The numbers of all steps of the build so far, this one last (C-89).
    fn statistics(&self) -> Vec<Statistic>;
    /// How far a metric of the step has come (C-84).
    fn set_progress(&self, metric: &str, value: f64) -> Result<(), HostError>;

    /// What a test gave (C-44): kept and shown with the step, as one of the set of this name.
    fn add_test_result(&self, set: &str, result: &TestResult) -> Result<(), HostError> {
        let _ = (set, result);
        Err(HostError::Unsupported("results of tests".into()))
    }

    /// Whether a new summary would be shown now: about once a second (C-61).
    fn summary_due(&self) -> bool;
    /// The text of the running step.
    fn set_summary(&self, text: &str) -> Result<(), HostError>;

    /// Moves files between the worker and the masters' store.
    fn transfer(&self, transfer: &Transfer) -> Result<Json, HostError> {
        let _ = transfer;
        Err(HostError::Unsupported("moving files between worker and master".into()))
    }

    /// Fires triggerable schedulers (SR-22), and waits for their builds if that is asked for: links to
    /// these are added as they start. The result is D-34's; success where it does not wait.
    fn trigger(&self, trigger: &Trigger) -> Result<Results, HostError> {
        let _ = trigger;
        Err(HostError::Unsupported("triggering other builds".into()))
    }
}

/// Takes output of observed logs.
pub type Sink<'s> = dyn FnMut(Output<'_>) -> Result<(), HostError> + 's;

/// A piece of an observed log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output<'o> {
    pub log: LogId,
    pub channel: Channel,
    pub bytes: &'o [u8],
}

/// A command to run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Run {
    pub shell: Shell,
    /// Where its output goes; none keeps it out of every log. Not finished at the end.
    pub log: Option<LogId>,
    /// Logs of `shell.logfiles` by name. Where it is lazy and the file never
    /// came, the log stays empty.
    pub watched: BTreeMap<String, LogId>,
    /// Logs whose output the sink gets. Output of a command without a log comes as log 0.
    pub observed: Vec<LogId>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandEnd {
    /// Exit code; -1 where it did not end by itself.
    pub rc: i32,
    /// Why it did not, for people: `signal 9`, `timed out after 5 s without output`.
    pub reason: Option<String>,
    pub elapsed_us: u64,
}

/// Paths are relative to the builder's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRequest {
    /// Does not follow a link at the end of the path.
    Stat {
        path: String,
    },
    ListDir {
        path: String,
    },
    /// Sorted; relative to the builder's folder. `**` is any number of folders.
    Glob {
        pattern: String,
    },
    Mkdir {
        paths: Vec<String>,
    },
    /// With all that is in them; a missing one is fine.
    Rmdir {
        paths: Vec<String>,
    },
    Copy {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    /// At most `max` bytes, else [`FileFault::TooLarge`].
    Read {
        path: String,
        max: u64,
    },
    /// Replaces the file as a whole; folders to it are made.
    Write {
        path: String,
        content: String,
        mode: Option<u32>,
    },
    /// Variables of the worker's own environment that a build may see.
    Environment,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileReply {
    Done,
    Stat(FileStat),
    /// Names, sorted.
    Names(Vec<String>),
    Content(Vec<u8>),
    Variables(BTreeMap<String, String>),
    /// It could not be done; the step goes on and sees why.
    Fault(FileFault, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    NotFound,
    NotADirectory,
    /// Outside of the builder's folder, or no permission.
    Refused,
    TooLarge,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// As `st_mode`: kind and permissions.
    pub mode: u32,
    pub size: u64,
    pub mtime_us: i64,
}

/// What a step may want to know of its worker (C-95).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerInfo {
    pub name: String,
    /// Release of the worker program.
    pub release: String,
    pub vocabulary: u32,
    /// Commands and abilities by name with their version: `shell`, `stat`, `glob`,
    /// `listdir`, `mkdir`, `rmdir`, `cpdir`, `uploadFile`, `downloadFile`, `trigger` …
    pub commands: BTreeMap<String, String>,
    /// `posix` or `nt`; and `linux`, `x86_64` …
    pub system: String,
    pub os: String,
    pub arch: String,
    pub path_separator: char,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Statistic {
    pub step: String,
    pub name: String,
    pub value: Json,
}

/// SR-17, SR-18. Paths on the worker are relative to the builder's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transfer {
    UploadFile { from: String, to: String, max_size: Option<u64>, mode: Option<u32>, keep_stamp: bool, url: String },
    UploadDirectory { from: String, to: String, max_size: Option<u64>, compress: String, url: String },
    DownloadFile { from: String, to: String, max_size: Option<u64>, mode: Option<u32> },
}

/// Schedulers to fire, together and once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigger {
    pub schedulers: Vec<Triggered>,
    pub wait: bool,
    /// `codebase`, and of `repository`, `project`, `branch`, `revision` what is to be so.
    pub sourcestamps: Vec<BTreeMap<String, Option<String>>>,
    /// They are the build's own.
    pub inherits: bool,
    pub parent_relationship: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Triggered {
    pub scheduler: String,
    /// Its result does not count.
    pub unimportant: bool,
    pub properties: BTreeMap<String, Json>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The step was told to stop.
    #[error("the step was stopped")]
    Cancelled,
    /// Nothing of the build counts any more.
    #[error("the build is over")]
    Over,
    /// This worker cannot do it; the step says so and ends with EXCEPTION.
    #[error("this worker has no support for {0}")]
    Unsupported(String),
    /// It went wrong; the text is for people.
    #[error("{0}")]
    Failed(String),
    /// A function of the project failed inside a call (an observer): its text is kept by the caller.
    #[error("a function of the step failed")]
    Function,
}
