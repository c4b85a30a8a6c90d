//! What a worker does: the steps of one build, rendered.
//!
//! A [`crate::Step`] is configuration (it may hold placeholders and functions);
//! rendering it against a [`BuildContext`] just before it starts (RF-11, D-06)
//! gives a [`RenderedStep`], which is plain data.

mod dry;

pub(crate) use dry::plan;
pub use dry::{Plan, Planned, Verdict};

use crate::definition::LockAccess;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tidemill_model::{NewChange, Properties, Results, SourceStamp};

/// What placeholders and step functions can see of the running build.
#[derive(Clone, Debug, Default)]
pub struct BuildContext {
    pub builder: String,
    pub number: i64,
    pub worker: String,
    pub reason: String,
    /// Grows while the build runs.
    pub properties: Properties,
    pub sourcestamps: Vec<SourceStamp>,
    /// The worst result of the steps so far.
    pub results: Option<Results>,
    /// The changes of the source stamps, oldest first, as far as the claim brings them.
    pub changes: Vec<NewChange>,
    /// Facts of the worker for `%(worker:NAME)s`: its properties and info.
    pub worker_info: BTreeMap<String, serde_json::Value>,
    /// Address of the build's page; empty if unknown.
    pub url: String,
    /// Marks secrets in rendered text, see [`crate::secret`]. The worker draws it
    /// at random for each build, so that no text from outside can hold one.
    pub secret_mark: String,
}

/// A step, ready to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenderedStep {
    pub name: String,
    pub flags: Flags,
    /// Text while it runs and when it is done (RF-09); empty means the default for the action.
    pub description: String,
    pub description_done: String,
    pub description_suffix: String,
    /// As it is written in the project file: `steps.Compile`, or the name of a custom step.
    #[serde(default)]
    pub kind: String,
    /// Locks that it holds while it runs (LK-04).
    #[serde(default)]
    pub locks: Vec<LockAccess>,
    /// Results with which it adds to the build's summary line (RF-10); none is the default.
    #[serde(default)]
    pub update_build_summary: Option<Vec<Results>>,
    /// Names of the secrets whose marks stand somewhere in `action`.
    #[serde(default)]
    pub secrets: Vec<String>,
    pub action: Action,
}

/// How a step's result acts on its build (RF-02 to RF-05).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags {
    pub halt_on_failure: bool,
    pub flunk_on_failure: bool,
    pub flunk_on_warnings: bool,
    pub warn_on_failure: bool,
    pub warn_on_warnings: bool,
    pub always_run: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Flags {
            halt_on_failure: false,
            flunk_on_failure: true,
            flunk_on_warnings: false,
            warn_on_failure: false,
            warn_on_warnings: false,
            always_run: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Shell(Shell),
    Git(Git),
    Svn(Svn),
    Mercurial(Mercurial),
    SetProperty {
        property: String,
        value: serde_json::Value,
    },
    /// Work that a function does: custom steps, and most of the built-in ones.
    /// Run it with [`crate::Step::run`] and a [`crate::custom::StepHost`].
    Script(Script),
}

/// A step whose work is a function of the project or of the built-in library.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// Its arguments, rendered, without those that every step has.
    pub attrs: BTreeMap<String, serde_json::Value>,
    /// The folder that its paths and commands begin at, below the builder's.
    pub workdir: String,
    /// Options of its commands, for steps that take them; the command itself may be empty.
    #[serde(default)]
    pub shell: Option<Box<Shell>>,
}

/// `steps.ShellCommand`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shell {
    pub command: Command,
    /// Below the builder's folder; never above it. Default `build`.
    pub workdir: String,
    /// Over the worker's own environment; none removes (SH-03). `${VAR}` in a
    /// value is replaced by the worker on start.
    pub env: BTreeMap<String, Option<String>>,
    /// Kill after so long without output (SH-05); none is never. Default 1200 s.
    pub timeout_us: Option<u64>,
    /// Kill after so long (SH-06).
    pub max_time_us: Option<u64>,
    /// Kill after so many lines of output (SH-07).
    pub max_lines: Option<u64>,
    /// TERM first, KILL after so long (SH-08); none is KILL at once.
    pub sigterm_us: Option<u64>,
    pub initial_stdin: Option<String>,
    pub want_stdout: bool,
    pub want_stderr: bool,
    /// List the environment in the log's header.
    pub log_environ: bool,
    /// Exit code to result (RF-08); others but 0 fail.
    pub decode_rc: BTreeMap<i32, Results>,
    /// Keep so many bytes at the head and at the tail of the log; none is all.
    pub log_max_size: Option<u64>,
    pub log_max_tail_size: Option<u64>,
    /// Files that are followed into logs of these names (SH-10).
    #[serde(default)]
    pub logfiles: BTreeMap<String, LogFile>,
    /// Open such a log only when its file is there.
    #[serde(default)]
    pub lazy_logfiles: bool,
    /// Run in a pseudo terminal (SH-09).
    #[serde(default)]
    pub use_pty: bool,
    /// The signal that stops it, without `SIG`; empty is KILL, or TERM with `sigterm_us`.
    #[serde(default)]
    pub interrupt_signal: String,
    /// Files in JUnit's XML that are read when the step is over: patterns below the command's folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub test_reports: Vec<String>,
}

/// A watched file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// Below the command's folder.
    pub path: String,
    /// Only what is written from now on; else the whole file.
    pub follow: bool,
}

impl Default for Shell {
    fn default() -> Self {
        Shell {
            command: Command::Argv(vec![]),
            workdir: "build".into(),
            env: BTreeMap::new(),
            timeout_us: Some(1_200_000_000),
            max_time_us: None,
            max_lines: None,
            sigterm_us: None,
            initial_stdin: None,
            want_stdout: true,
            want_stderr: true,
            log_environ: true,
            decode_rc: BTreeMap::from([(0, Results::Success)]),
            log_max_size: None,
            log_max_tail_size: None,
            logfiles: BTreeMap::new(),
            lazy_logfiles: false,
            use_pty: false,
            interrupt_signal: String::new(),
            test_reports: vec![],
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// No shell between.
    Argv(Vec<String>),
    /// For `/bin/sh -c`.
    Line(String),
}

/// `steps.Git`: after it, the work folder holds the source stamp's revision and
/// the property `got_revision` its full id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Git {
    pub repourl: String,
    /// The source stamp's branch wins; this is the one used where it has none.
    pub branch: Option<String>,
    pub mode: GitMode,
    pub workdir: String,
    /// Depth of a shallow clone.
    pub shallow: Option<u32>,
    pub submodules: bool,
    /// Which source stamp it checks out.
    pub codebase: String,
    pub timeout_us: Option<u64>,
    /// Tries after a failed fetch, and the pause between them in microseconds.
    pub retry: Option<(u32, u64)>,
    /// Build the newest revision of the branch, whatever the source stamp says.
    #[serde(default)]
    pub always_use_latest: bool,
}

/// SR-01 and SR-02.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GitMode {
    /// Keep untracked files.
    Incremental,
    /// Remove the folder and clone anew.
    FullClobber,
    /// `git clean -d -f -f -x`.
    FullFresh,
    /// `git clean -d -f -f`: ignored files stay.
    FullClean,
}

/// What `steps.SVN` and `steps.Mercurial` have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkout {
    /// Empty is the source stamp's repository.
    pub repourl: String,
    /// The source stamp's branch wins; this is the one used where it has none.
    pub default_branch: Option<String>,
    pub mode: SourceMode,
    pub workdir: String,
    /// Which source stamp it checks out.
    pub codebase: String,
    pub timeout_us: Option<u64>,
    /// Tries after a failure, and the pause between them in microseconds.
    pub retry: Option<(u32, u64)>,
    /// Build the newest revision of the branch, whatever the source stamp says.
    pub always_use_latest: bool,
}

/// SR-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceMode {
    /// Keep what is not of the repository.
    Incremental,
    /// Everything anew.
    FullClobber,
    /// Remove all that is not of the repository.
    FullFresh,
    /// The same, but ignored files stay.
    FullClean,
    /// Check out beside it, and copy that.
    FullCopy,
    /// Check out beside it, and export that: without the folders of version control.
    FullExport,
}

/// `steps.SVN`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Svn {
    pub checkout: Checkout,
    pub username: Option<String>,
    pub password: Option<String>,
    pub extra_args: Vec<String>,
    /// Files that cleaning leaves.
    pub keep_on_purge: Vec<String>,
    pub depth: Option<String>,
    /// `got_revision` is the last revision that changed the folder.
    pub prefer_last_changed_rev: bool,
}

/// `steps.Mercurial`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mercurial {
    pub checkout: Checkout,
    /// Branches are folders beside each other, each a repository.
    pub by_folder: bool,
    pub clobber_on_branch_change: bool,
}
