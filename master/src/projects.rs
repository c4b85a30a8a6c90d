//! Evaluated project files, by revision.
//!
//! A revision is evaluated here only after [`evaluate_apart`] found it good in a
//! child process under limits, so a file that eats memory or time harms one
//! child and no replica. Each revision is evaluated once in a replica, ahead of
//! need: as soon as the replica hears that it is the active one. One that this
//! release does not take (another release applied it) is not tried again for a
//! while; what needs it waits, and the reason is in the log and at `/api/v2/config`.

use crate::app::App;
use crate::schedulers::summary::summary;
use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tidemill_lang::definition::{
    ChangeSourceDef, ChangeSourceKind, Declared, Definition, LockKind, SchedulerDef, SchedulerKind,
};
use tidemill_lang::{Diagnostic, Limits, Project};
use tidemill_model::revision::Files;
use tidemill_schema::config::{
    Wanted, WantedBuilder, WantedLock, WantedProject, WantedScheduler, WantedWorker, revision_active,
    revision_active_key,
};
use tidemill_schema::wake::Wake;
use tidemill_schema::{Db, Error};
use tidemill_service::reconcile::{self, Next};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};

/// Revisions kept in memory: the active one and some that were.
const KEPT: usize = 8;
/// How long a revision that could not be evaluated is left alone.
const AGAIN: Duration = Duration::from_secs(60);
/// Between two looks at which revision is active, without a wake.
const PERIOD: Duration = Duration::from_secs(2);

/// The evaluated revisions of a replica.
#[derive(Default)]
pub struct Projects {
    /// By id and hash: of two databases of one history that parted, ids alone may mean different files.
    known: Mutex<HashMap<(i64, String), Known>>,
    /// One evaluation at a time: the second who asks finds what the first made.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
enum Known {
    Good(Arc<Project>),
    Bad(String, Instant),
}

/// Evaluates each revision when it becomes the active one.
pub fn start(app: &App) {
    let wake = Arc::new(Notify::new());
    crate::loops::forward(app, wake.clone(), |w| matches!(w, Wake::Config | Wake::All));
    let this = app.clone();
    reconcile::spawn(&app.life, "projects", PERIOD, wake, move || {
        let app = this.clone();
        async move {
            match app.projects.active(&app.db).await {
                // Said once, when it was evaluated.
                Ok(_) | Err(Error::Inconsistent(_)) => Ok(Next::Idle),
                Err(e) => Err(e),
            }
        }
    });
}

impl Projects {
    /// The active revision, evaluated; none before the first reconfig.
    pub async fn active(&self, db: &Db) -> Result<Option<(i64, Arc<Project>)>, Error> {
        let Some((id, hash)) = revision_active_key(&mut *db.pool().acquire().await?).await? else { return Ok(None) };
        if let Some(found) = self.look(id, &hash) {
            return found.map(|project| Some((id, project)));
        }
        let _turn = self.turn.lock().await;
        let Some(revision) = revision_active(&mut *db.pool().acquire().await?).await? else { return Ok(None) };
        let (id, hash) = (revision.id.0, revision.hash.clone());
        if let Some(found) = self.look(id, &hash) {
            return found.map(|project| Some((id, project)));
        }
        let begun = Instant::now();
        let evaluated = tokio::task::spawn_blocking(move || Project::evaluate(&revision.files, &Limits::default()))
            .await
            .map_err(|e| Error::Inconsistent(format!("evaluating revision {id}: {e}")))?;
        let known = match evaluated {
            Ok(project) => {
                tracing::info!(revision = id, took = ?begun.elapsed(), "project configuration ready");
                Known::Good(Arc::new(project))
            }
            Err(diagnostics) => {
                let said =
                    format!("revision {id} was good when it was applied and is not for this release: {diagnostics}");
                tracing::error!(revision = id, error = %said, "the active project configuration cannot be evaluated");
                Known::Bad(said, Instant::now())
            }
        };
        {
            let mut kept = self.known.lock().expect("no panic while locked");
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert((id, hash), known.clone());
        }
        known.answer().map(|project| Some((id, project)))
    }

    /// One that was evaluated and is good.
    pub fn known(&self, id: i64, hash: &str) -> Option<Arc<Project>> {
        self.look(id, hash)?.ok()
    }

    /// Why this replica could not evaluate a revision.
    pub fn refused(&self, id: i64, hash: &str) -> Option<String> {
        self.look(id, hash)?.err().map(|e| e.to_string())
    }

    fn look(&self, id: i64, hash: &str) -> Option<Result<Arc<Project>, Error>> {
        let known = self.known.lock().expect("no panic while locked");
        match known.get(&(id, hash.to_owned()))? {
            Known::Bad(_, at) if at.elapsed() > AGAIN => None,
            found => Some(found.answer()),
        }
    }
}

impl Known {
    fn answer(&self) -> Result<Arc<Project>, Error> {
        match self {
            Known::Good(project) => Ok(project.clone()),
            Known::Bad(said, _) => Err(Error::Inconsistent(said.clone())),
        }
    }
}

/// What the child says.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Evaluated {
    pub definition: Option<Definition>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Name of the hidden command of the `tidemill` binary that is the child.
pub const EVALUATE_COMMAND: &str = "evaluate-project";
/// Address space and processor seconds of the child, and its time on the wall.
const CHILD_MEMORY: u64 = 1 << 30;
const CHILD_SECONDS: u64 = 20;
const CHILD_WALL: Duration = Duration::from_secs(40);
/// Most bytes that it may answer; a definition of 1,000 builders has two million.
const ANSWER_MAX: u64 = 32 << 20;
/// Of its last words.
const WORDS_MAX: u64 = 4 << 10;
/// Children at one time; each may take its full memory.
static CHILDREN: Semaphore = Semaphore::const_new(2);

/// Why an evaluation in a child gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    #[error("cannot start the evaluation of the project file: {0}")]
    Start(#[from] std::io::Error),
    #[error("the project file was stopped: it took more than {CHILD_SECONDS} s or 1 GiB ({0})")]
    Limits(String),
    #[error("the project file defines too much: more than 32 MiB, or values nested too deep ({0})")]
    TooMuch(String),
}

/// Evaluates files in a child process of this binary, under limits of address
/// space, processor time, time on the wall, and size of what comes out.
pub async fn evaluate_apart(files: &Files) -> Result<Evaluated, ApartError> {
    let _turn = CHILDREN.acquire().await.map_err(|e| ApartError::Limits(e.to_string()))?;
    // By this link the same program is started also after its file was replaced by an upgrade.
    let mut child = tokio::process::Command::new("/proc/self/exe")
        .arg(EVALUATE_COMMAND)
        // Nothing of the master's environment (database address, tokens) is the child's business.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Also when whoever asked has gone.
        .kill_on_drop(true)
        .spawn()?;
    let input = serde_json::to_vec(files).unwrap_or_default();
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let talk = async {
        let say = async move {
            if let Some(stdin) = &mut stdin {
                // A child that died early shows in its answer.
                let _ = stdin.write_all(&input).await;
            }
        };
        let ((), answer, words) = tokio::join!(say, read(stdout, ANSWER_MAX), read(stderr, WORDS_MAX));
        (answer, words)
    };
    let Ok((answer, words)) = tokio::time::timeout(CHILD_WALL, talk).await else {
        return Err(ApartError::Limits(format!("it had not ended after {} s", CHILD_WALL.as_secs())));
    };
    if answer.len() as u64 > ANSWER_MAX {
        return Err(ApartError::TooMuch("it was cut off".into()));
    }
    let status = tokio::time::timeout(CHILD_WALL, child.wait())
        .await
        .map_err(|_| ApartError::Limits("it never ended".into()))??;
    if !status.success() {
        let words = String::from_utf8_lossy(&words);
        let last = words.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default();
        return Err(ApartError::Limits(format!("{status}: {last}").trim_end_matches(": ").to_owned()));
    }
    serde_json::from_slice(&answer).map_err(|e| ApartError::TooMuch(e.to_string()))
}

/// What comes, up to one byte more than the bound; then the pipe is closed,
/// which ends a child that writes on.
async fn read(from: Option<impl AsyncRead + Unpin>, bound: u64) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(from) = from {
        // What broke off is judged by what came.
        let _ = from.take(bound + 1).read_to_end(&mut all).await;
    }
    all
}

/// The child: files as JSON on stdin, [`Evaluated`] on stdout. For the hidden
/// command; sets its own limits first.
pub fn evaluate_main() -> std::io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_AS, CHILD_MEMORY, CHILD_MEMORY)?;
    setrlimit(Resource::RLIMIT_CPU, CHILD_SECONDS, CHILD_SECONDS)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    let files: Files = serde_json::from_reader(std::io::stdin().lock())?;
    let evaluated = match Project::evaluate(&files, &Limits::default()) {
        Ok(project) => {
            Evaluated { definition: Some(project.definition().clone()), diagnostics: project.warnings().to_vec() }
        }
        Err(diagnostics) => Evaluated { definition: None, diagnostics: diagnostics.0 },
    };
    serde_json::to_writer(std::io::stdout().lock(), &evaluated)?;
    Ok(())
}

/// What a definition asks of the rows.
pub fn wanted(definition: &Definition) -> Wanted {
    use tidemill_model::Properties;
    let named = |source: &str, values: &std::collections::BTreeMap<String, serde_json::Value>| {
        let mut p = Properties::new();
        values.iter().for_each(|(k, v)| p.set(k, v.clone(), source));
        p
    };
    Wanted {
        builders: definition
            .builders
            .iter()
            .map(|b| {
                // Builder properties are set last, over the global ones (D-51).
                let mut properties = named("global", &definition.properties);
                properties.update(&named("Builder", &b.properties));
                WantedBuilder {
                    name: b.name.clone(),
                    tags: b.tags.clone(),
                    description: b.description.clone(),
                    project: b.project.clone(),
                    any_worker: b.workernames.iter().any(|w| w == "*"),
                    workernames: b.workernames.iter().filter(|w| *w != "*").cloned().collect(),
                    properties,
                    default_properties: named("Builder", &b.default_properties),
                    max_attempts: b.max_attempts.map(|n| n.clamp(1, 1000) as i32),
                    requires: b.requires.clone(),
                    expires_after: b.expires_after_us.map(Duration::from_micros),
                    steps: b.steps.clone(),
                    locks: b.locks.clone(),
                    lock_rule: b.policies.locks,
                }
            })
            .collect(),
        worker_labels: definition.workers.iter().map(|w| (w.name.clone(), w.labels.clone())).collect(),
        schedulers: definition.schedulers.iter().map(wanted_scheduler).collect(),
        change_sources: definition.change_sources.iter().map(|s| (s.name.clone(), json(&source(s)))).collect(),
        locks: definition
            .locks
            .iter()
            .map(|l| WantedLock {
                name: l.name.clone(),
                of_workers: l.kind == LockKind::Worker,
                capacity: l.max_count,
                capacities: l.max_count_for_worker.clone(),
            })
            .collect(),
        workers: definition
            .workers
            .iter()
            .map(|w| WantedWorker {
                name: w.name.clone(),
                locks: w.locks.clone(),
                max_builds: w.max_builds,
                missing_after: w.missing_timeout_us.map(std::time::Duration::from_micros),
                trusted_only: w.trusted_only,
            })
            .collect(),
        projects: definition
            .projects
            .iter()
            .map(|p| WantedProject {
                name: p.name.clone(),
                description: p.description.clone().unwrap_or_default(),
                public: p.public.unwrap_or(true),
            })
            .collect(),
        shares: definition.projects.iter().filter_map(|p| Some((p.name.clone(), f64::from(p.share?)))).collect(),
    }
}

fn wanted_scheduler(def: &SchedulerDef) -> WantedScheduler {
    let looks = match &def.kind {
        SchedulerKind::Custom(custom) => custom.interval_us.is_some(),
        kind => !matches!(kind, SchedulerKind::Triggerable | SchedulerKind::Force(_) | SchedulerKind::Declared(_)),
    };
    WantedScheduler {
        name: def.name.clone(),
        definition: json(&scheduler(def)),
        watches: def.watches(),
        hears: !def.upstream().is_empty(),
        looks,
        summary: summary(def, &serde_json::Value::Null),
    }
}

/// Without its places: that it moved to another line is no change of its row (C-102).
fn scheduler(def: &SchedulerDef) -> SchedulerDef {
    let mut def = def.clone();
    def.location.clear();
    if let SchedulerKind::Declared(declared) = &mut def.kind {
        nowhere(declared);
    }
    def
}

fn source(def: &ChangeSourceDef) -> ChangeSourceDef {
    let mut def = def.clone();
    def.location.clear();
    if let ChangeSourceKind::Declared(declared) = &mut def.kind {
        nowhere(declared);
    }
    def
}

fn nowhere(declared: &mut Declared) {
    declared.location.clear();
}

/// A part of a definition as JSON; its types have string keys only, so this cannot fail.
fn json<T: serde::Serialize>(part: &T) -> serde_json::Value {
    serde_json::to_value(part).unwrap_or_default()
}
