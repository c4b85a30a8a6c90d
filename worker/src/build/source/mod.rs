//! What the steps that bring sources have in common: the program of a version
//! control system, run like any other command of a step, and the patch of the
//! source stamp on top.

mod check;
mod fetch;
mod folder;
pub(super) mod hg;
pub(super) mod patch;
pub(super) mod svn;

use super::step::{Done, StepError, StepRun};
use crate::exec::env::{Environment, Layer};
use crate::exec::run::{self, Launch, Limits};
use crate::order::Order;
use crate::steplog::StepLog;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tidemill_model::Results;

/// Programs remove their lock files when they get TERM.
const GRACE: Duration = Duration::from_secs(5);

/// Why an update does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// A command failed.
    Failed(String),
    /// The repository does not have what is wanted; trying again changes nothing.
    Missing(String),
    Stopped,
    Over,
    Error(StepError),
}

impl From<StepError> for Halt {
    fn from(error: StepError) -> Self {
        Halt::Error(error)
    }
}

pub(super) type Flow<T> = Result<T, Halt>;

/// How often what failed is tried again.
pub(super) struct Retry {
    left: u32,
    pause: Duration,
}

impl Retry {
    /// So many times, and the pause between in microseconds, as a step has it.
    pub fn new(given: Option<(u32, u64)>) -> Retry {
        let (left, pause) = given.unwrap_or_default();
        Retry { left, pause: Duration::from_micros(pause) }
    }

    /// After a failure: returns when it is time for the next try, or gives back
    /// what trying again does not change.
    pub async fn after(&mut self, halt: Halt, tool: &mut Tool<'_, '_>) -> Flow<()> {
        match halt {
            Halt::Failed(note) if self.left > 0 => {
                self.left -= 1;
                tool.log.header(&format!("{note}; trying again in {} s\n", self.pause.as_secs_f64()));
                tool.pause(self.pause).await
            }
            other => Err(other),
        }
    }
}

/// A file in the builder's folder that only this user reads and that goes with
/// the step: what a program is told that no list of processes is to show. What a
/// killed worker left is removed before the next build of the folder.
pub(super) struct Hidden(PathBuf);

impl Hidden {
    pub fn write(folder: &Path, name: &str, text: &str) -> Result<Hidden, StepError> {
        let path = folder.join(format!("{}{name}", crate::base::OWN));
        let written = write_new(&path, text.as_bytes());
        written.map_err(|e| StepError::Other(format!("cannot write {}: {e}", path.display())))?;
        Ok(Hidden(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A new file: what an earlier build left under the name is removed, not followed.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Whether a command's output goes to the log, or is for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    All,
    /// Kept up to so many bytes.
    Nothing(usize),
}

/// What a short answer may have.
pub(super) const SHORT: Show = Show::Nothing(4096);

/// How a command ended.
pub(super) struct Ran {
    pub code: i32,
    pub out: String,
}

/// A command to run.
pub(super) struct Call<'c> {
    pub argv: Vec<&'c str>,
    /// Another folder than the checkout.
    pub dir: Option<&'c Path>,
    pub stdin: Option<String>,
    pub show: Show,
    /// How it stands in the log, without what is nobody's business.
    pub words: String,
}

/// The running checkout of one step.
pub(super) struct Tool<'a, 'b> {
    pub step: &'a mut StepRun<'b>,
    pub log: StepLog,
    pub env: Environment,
    pub dir: PathBuf,
    pub timeout: Option<Duration>,
}

impl Tool<'_, '_> {
    pub async fn run(&mut self, call: Call<'_>) -> Flow<Ran> {
        let all = call.show == Show::All;
        if all {
            self.log.header(&format!("{}\n", call.words));
        }
        let program = call.argv.first().copied().unwrap_or_default().to_owned();
        let launch = Launch {
            argv: call.argv.iter().map(OsString::from).collect(),
            dir: call.dir.unwrap_or(&self.dir).to_owned(),
            env: self.env.clone(),
            stdin: call.stdin,
            limits: Limits { timeout: self.timeout, sigterm: Some(GRACE), ..Default::default() },
            want: (all, all),
            capture: match call.show {
                Show::All => 0,
                Show::Nothing(most) => most,
            },
            pty: false,
        };
        let ended = self.step.exec(launch, &mut self.log).await.map_err(StepError::from)?;
        let code = match ended.how {
            run::How::Exit(code) => code,
            run::How::Signal(signal) => {
                self.log.header(&format!("{program} was ended by signal {signal}\n"));
                -1
            }
            run::How::Limit(text) => return Err(Halt::Failed(text)),
            run::How::Stopped => return Err(Halt::Stopped),
            run::How::Over => return Err(Halt::Over),
        };
        if all && code > 0 {
            self.log.header(&format!("program finished with exit code {code}\n"));
        }
        Ok(Ran { code, out: String::from_utf8_lossy(&ended.captured).into_owned() })
    }

    /// A pause that ends with the build.
    pub async fn pause(&mut self, time: Duration) -> Flow<()> {
        self.log.show();
        // An order given before this step began does not concern it.
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            _ = self.step.orders.changed() => match &*self.step.orders.borrow() {
                Order::Run => Ok(()),
                Order::Stop(_) => Err(Halt::Stopped),
                Order::Lost | Order::Quit => Err(Halt::Over),
            }
        }
    }

    /// Empties the work folder.
    pub async fn clear(&mut self) -> Flow<()> {
        self.log.header(&format!("removing everything in {}\n", self.dir.display()));
        let dir = self.dir.clone();
        let cleared = tokio::task::spawn_blocking(move || folder::clear(&dir)).await;
        cleared
            .map_err(std::io::Error::other)
            .and_then(|r| r)
            .map_err(|e| Halt::Error(StepError::Other(format!("cannot empty {}: {e}", self.dir.display()))))
    }
}

/// The environment of a program that nobody is there to answer, at work in a
/// folder: no variable leads git, which also applies patches, to another
/// repository, and it takes none around the folder for its own.
pub(super) fn environment(step: &StepRun<'_>, dir: &Path) -> Result<Environment, StepError> {
    let mut env = step.environment(&Layer::new())?;
    for name in
        ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_COMMON_DIR"]
    {
        env.remove(OsStr::new(name));
    }
    env.insert("GIT_CEILING_DIRECTORIES".into(), dir.parent().unwrap_or(dir).into());
    env.insert("SSH_ASKPASS_REQUIRE".into(), "never".into());
    Ok(env)
}

/// What the end of the update makes of the step. The error is what stops it at once.
pub(super) fn finish(
    step: &mut StepRun<'_>,
    codebase: &str,
    source: &str,
    end: Flow<String>,
) -> Result<Done, StepError> {
    let id = match end {
        Ok(id) => id,
        Err(Halt::Failed(note) | Halt::Missing(note)) => {
            if step.disk_is_full() {
                return Ok(Done::Results { results: Results::Exception, note: "the worker's disk is full".into() });
            }
            return Ok(Done::Results { results: Results::Failure, note });
        }
        Err(Halt::Stopped) => return Ok(Done::Stopped),
        Err(Halt::Over) => return Ok(Done::Over),
        Err(Halt::Error(error)) => return Err(error),
    };
    let value = got_revision(step, codebase, id);
    step.set_property("got_revision", value, source)?;
    Ok(Done::with(Results::Success))
}

/// With named codebases the property holds one entry for each.
fn got_revision(step: &StepRun<'_>, codebase: &str, id: String) -> serde_json::Value {
    if codebase.is_empty() {
        return id.into();
    }
    let mut all = match step.context.properties.get("got_revision") {
        Some(serde_json::Value::Object(map)) => map.clone(),
        _ => serde_json::Map::new(),
    };
    all.insert(codebase.to_owned(), id.into());
    all.into()
}
