//! Evaluated project files, by revision.
//!
//! A revision is evaluated here only after [`evaluate_apart`] found it good in a
//! child process under limits, so a file that eats memory or time harms one
//! child and no replica.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidemill_lang::definition::Definition;
use tidemill_lang::{Diagnostic, Limits, Project};
use tidemill_model::revision::Files;
use tidemill_schema::config::{Wanted, WantedBuilder, revision_active};
use tidemill_schema::{Db, Error};
use tokio::io::AsyncWriteExt;

/// Revisions kept in memory: the active one and some that were.
const KEPT: usize = 8;

/// The evaluated revisions of a replica.
#[derive(Default)]
pub struct Projects(Mutex<HashMap<i64, Arc<Project>>>);

impl Projects {
    /// The active revision, evaluated; none before the first reconfig.
    pub async fn active(&self, db: &Db) -> Result<Option<(i64, Arc<Project>)>, Error> {
        let revision = {
            let mut c = db.pool().acquire().await?;
            let Some(id) = active_id(&mut c).await? else { return Ok(None) };
            if let Some(project) = self.known(id) {
                return Ok(Some((id, project)));
            }
            revision_active(&mut c).await?
        };
        let Some(revision) = revision else { return Ok(None) };
        let files = revision.files;
        let evaluated = tokio::task::spawn_blocking(move || Project::evaluate(&files, &Limits::default()))
            .await
            .map_err(|e| Error::Inconsistent(format!("evaluating revision {}: {e}", revision.id)))?;
        let project = Arc::new(evaluated.map_err(|d| {
            Error::Inconsistent(format!("revision {} was good when it was applied and is not now: {d}", revision.id))
        })?);
        let mut known = self.0.lock().expect("no panic while locked");
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(revision.id.0, project.clone());
        Ok(Some((revision.id.0, project)))
    }

    pub fn known(&self, id: i64) -> Option<Arc<Project>> {
        self.0.lock().expect("no panic while locked").get(&id).cloned()
    }
}

async fn active_id(c: &mut sqlx::PgConnection) -> Result<Option<i64>, Error> {
    tidemill_schema::config::revision_active_id(c).await
}

/// What the child says.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Evaluated {
    pub definition: Option<Definition>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Name of the hidden command of the `tidemill` binary that is the child.
pub const EVALUATE_COMMAND: &str = "evaluate-project";
/// Address space and processor seconds of the child.
const CHILD_MEMORY: u64 = 1 << 30;
const CHILD_SECONDS: u64 = 20;

/// Why an evaluation in a child gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    #[error("cannot start the evaluation of the project file: {0}")]
    Start(#[from] std::io::Error),
    #[error("the project file was stopped: it took more than {CHILD_SECONDS} s or 1 GiB ({0})")]
    Limits(String),
}

/// Evaluates files in a child process of this binary, under limits of address
/// space and processor time.
pub async fn evaluate_apart(files: &Files) -> Result<Evaluated, ApartError> {
    // By this link the same program is started also after its file was replaced by an upgrade.
    let mut child = tokio::process::Command::new("/proc/self/exe")
        .arg(EVALUATE_COMMAND)
        // Nothing of the master's environment (database address, tokens) is the child's business.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let input = serde_json::to_vec(files).unwrap_or_default();
    if let Some(mut stdin) = child.stdin.take() {
        // A child that died early shows in its output below.
        let _ = stdin.write_all(&input).await;
    }
    let waited = tokio::time::timeout(Duration::from_secs(CHILD_SECONDS * 3), child.wait_with_output()).await;
    let output = waited.map_err(|_| ApartError::Limits("it never ended".into()))??;
    serde_json::from_slice(&output.stdout).map_err(|_| ApartError::Limits(output.status.to_string()))
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
                    steps: b.steps.clone(),
                }
            })
            .collect(),
        schedulers: definition.schedulers.iter().map(|s| (s.name.clone(), json(s))).collect(),
        change_sources: definition.change_sources.iter().map(|s| (s.name.clone(), json(s))).collect(),
    }
}

/// A part of a definition as JSON; its types have string keys only, so this cannot fail.
fn json<T: serde::Serialize>(part: &T) -> serde_json::Value {
    serde_json::to_value(part).unwrap_or_default()
}
