//! Questions about project files, answered by a child process of this program
//! under limits of address space and processor time: a file that eats either
//! harms that child only, and every command (an editor's server too) goes on.

use super::asked::Asked;
use crate::error::{Doing, Failure, Result};
use crate::exit::Exit;
use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use tidemill_lang::{Diagnostic, Limits, Plan, Project, Report, editor};
use tidemill_model::revision::Files;

/// Name of the hidden command that is the child.
pub const COMMAND: &str = "examine-project";

/// Address space and processor seconds of the child.
const MEMORY: u64 = 1 << 30;
const SECONDS: u64 = 20;

#[derive(Serialize, Deserialize)]
struct Question {
    files: Files,
    about: About,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum About {
    /// Everything that can be told of the project.
    Check,
    /// What can be told of this file alone.
    Text(String),
    /// A dry run of a build.
    Plan(Box<Asked>),
}

/// What the child says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    pub report: Report,
    /// None without a question for it, or where the project has errors.
    pub planned: Option<Planned>,
}

/// The dry run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Planned {
    /// None: no such builder.
    pub plan: Option<Plan>,
    /// What `do_build_if` says; its error in words.
    pub build_runs: Result<bool, String>,
}

/// Evaluates, lints and types the files.
pub fn check(files: &Files) -> Result<Report> {
    ask(&Question { files: files.clone(), about: About::Check }).map(|answer| answer.report)
}

/// Reads and lints a file that belongs to no project.
pub fn check_text(name: &str, text: String) -> Result<Vec<Diagnostic>> {
    let files = Files([(name.to_owned(), text)].into());
    ask(&Question { files, about: About::Text(name.to_owned()) }).map(|answer| answer.report.diagnostics)
}

/// Which steps a build would run. The report has no lint.
pub fn plan(files: &Files, asked: &Asked) -> Result<Answer> {
    ask(&Question { files: files.clone(), about: About::Plan(Box::new(asked.clone())) })
}

fn ask(question: &Question) -> Result<Answer> {
    // By this link the same program is started also after its file was replaced by an upgrade.
    let mut child = Command::new("/proc/self/exe")
        .arg(COMMAND)
        // Tokens and addresses of the environment are not the child's business.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| "start the evaluation of the project".into())?;
    let input = serde_json::to_vec(question).map_err(|e| Failure::internal(e.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // The child reads all before it writes; one that died early shows below.
        let _ = stdin.write_all(&input);
    }
    let output = child.wait_with_output().doing(|| "wait for the evaluation of the project".into())?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let message = format!("the project was stopped: it took more than {SECONDS} s or 1 GiB ({})", output.status);
        Failure::new(Exit::Failure, message).hint("look for a loop or a text that grows without bound")
    })
}

/// The child.
pub fn main() -> Result<()> {
    let limit = |what, value| {
        setrlimit(what, value, value).map_err(|e| Failure::internal(format!("cannot limit the evaluation: {e}")))
    };
    limit(Resource::RLIMIT_AS, MEMORY)?;
    limit(Resource::RLIMIT_CPU, SECONDS)?;
    limit(Resource::RLIMIT_CORE, 0)?;
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input).doing(|| "read the question".into())?;
    let question: Question = serde_json::from_slice(&input).map_err(|e| Failure::usage(e.to_string()))?;
    let answer = answer(&question);
    let text = serde_json::to_vec(&answer).map_err(|e| Failure::internal(e.to_string()))?;
    std::io::stdout().lock().write_all(&text).doing(|| "write the answer".into())
}

fn answer(question: &Question) -> Answer {
    let limits = Limits::default();
    let files = question.files.0.keys().cloned().collect();
    let asked = match &question.about {
        About::Check => return Answer { report: Project::check(&question.files, &limits), planned: None },
        About::Text(name) => {
            let diagnostics = editor::check_text(&question.files, name);
            return Answer { report: Report { diagnostics, definition: None, files }, planned: None };
        }
        About::Plan(asked) => asked,
    };
    match Project::evaluate(&question.files, &limits) {
        Ok(project) => {
            let context = asked.context(project.definition());
            let plan = project.plan(&asked.builder, &context);
            let build_runs = match plan {
                Some(_) => project.do_build_if(&asked.builder, &context).map_err(|e| e.to_string()),
                None => Ok(true),
            };
            let definition = Some(project.definition().clone());
            let report = Report { diagnostics: project.warnings().to_vec(), definition, files };
            Answer { report, planned: Some(Planned { plan, build_runs }) }
        }
        Err(found) => Answer { report: Report { diagnostics: found.0, definition: None, files }, planned: None },
    }
}
