//! Custom steps (`util.BuildStep`) and the built-in steps that are functions:
//! how they run.
//!
//! [`Step::run`](crate::Step::run) calls the step's function on the caller's
//! thread with a value that is the step; what that does to the world goes
//! through the [`StepHost`]. Attributes that a function sets on the step or on
//! an observer live until the step ends. Logs that the function opened are
//! finished when it ends, however it ends.

mod attributes;
mod build;
mod command;
mod file_methods;
mod files;
mod host;
mod lines;
mod logs;
mod methods;
mod observer;
mod run;
mod running;
mod slot;
mod step;
mod tree_file;
mod trigger;

pub(crate) use command::remote_command;
pub use host::{
    CommandEnd, FileFault, FileReply, FileRequest, FileStat, HostError, LogId, Output, Run, Sink, Statistic, StepHost,
    Transfer, Trigger, Triggered, WorkerInfo,
};
pub(crate) use run::run;

use crate::host::diagnostics::EvalError;
use crate::steps::Step;
use tidemill_model::Results;

/// Methods of what step functions get, for the reference.
pub(crate) fn documented() -> [(&'static str, &'static starlark::environment::Methods); 4] {
    [
        ("step", methods::methods()),
        ("build", build::methods()),
        ("command", command::methods()),
        ("log", logs::methods()),
    ]
}

/// How a step function ended.
#[derive(Clone, Debug)]
pub struct StepEnd {
    pub results: Results,
    /// The step's text; none is the default one.
    pub summary: Option<String>,
    /// What it adds to the build's text, where it says so itself (C-62).
    pub build_summary: Option<String>,
    /// Steps for the running build (C-39).
    pub added: Vec<Added>,
    /// Lines that observers saw.
    pub observed_lines: u64,
}

/// Steps that a running step adds to its build.
#[derive(Clone, Debug)]
pub struct Added {
    pub at: AddAt,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddAt {
    AfterCurrent,
    Last,
}

/// Why a step function gave no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error("the step was stopped")]
    Cancelled,
    #[error("the build is over")]
    Over,
    /// The step ends with EXCEPTION; the text is for its log `err.text`.
    #[error("{0}")]
    Failed(EvalError),
}
