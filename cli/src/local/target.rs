//! What `tidemill run` is to build: the project's files, the builder, the tree,
//! and what the build is told of them.

use crate::commands::{init, plan};
use crate::error::{Doing, Failure, Result};
use crate::output::Output;
use crate::project::asked::Asked;
use crate::project::git::git;
use crate::project::{apart, files, guess};
use crate::sanitize;
use std::path::{Path, PathBuf};
use tidemill_lang::plan::{Action, Git, Verdict};
use tidemill_lang::{Definition, Plan, Report};
use tidemill_model::revision::{Files, ROOT_FILE};
use tidemill_model::{Properties, SourceStamp};
use tidemill_worker::WorkingTree;

/// Why the build is made, as it reads in its properties and placeholders.
pub const REASON: &str = "tidemill run";

/// The name of the worker in this process.
pub const WORKER: &str = "local";

/// What a person asks for.
pub struct Wanted {
    pub builder: Option<String>,
    /// The project's folder.
    pub dir: PathBuf,
    pub branch: Option<String>,
    pub properties: Vec<(String, String)>,
}

pub struct Target {
    pub builder: String,
    pub files: Files,
    pub tree: WorkingTree,
    /// Of the tree; none outside a repository.
    pub commit: Option<Commit>,
    pub worker: String,
    pub properties: Properties,
    pub stamp: SourceStamp,
}

/// Where the working tree stands.
pub struct Commit {
    pub id: String,
    /// None on a detached HEAD.
    pub branch: Option<String>,
    /// Files that differ from it, or are not in it.
    pub uncommitted: usize,
}

/// None: the project has errors, which were shown.
pub fn find(wanted: Wanted, out: Output) -> Result<Option<Target>> {
    let dir = wanted.dir.canonicalize().doing(|| format!("open {}", wanted.dir.display()))?;
    let (top, commit) = look(&dir)?;
    let files = project(&dir, &top)?;
    let mut asked = Asked {
        builder: wanted.builder.clone().unwrap_or_default(),
        source: SourceStamp {
            repository: top.display().to_string(),
            branch: wanted.branch.or_else(|| commit.as_ref().and_then(|c| c.branch.clone())),
            revision: commit.as_ref().map(|c| c.id.clone()),
            ..SourceStamp::default()
        },
        properties: wanted.properties.into_iter().collect(),
        worker: Some(WORKER.into()),
        reason: REASON.into(),
    };
    let mut answer = apart::plan(&files, &asked)?;
    let Some(definition) = answer.report.definition.take() else {
        plan::broken(&answer.report, out)?;
        return Ok(None);
    };
    if wanted.builder.is_none() {
        asked.builder = only_builder(&definition)?;
        answer = apart::plan(&files, &asked)?;
    }
    let Some(plan) = answer.planned.and_then(|planned| planned.plan) else {
        let report = Report { definition: Some(definition), ..answer.report };
        return Err(plan::no_builder(&asked.builder, &report));
    };
    let source = source(&plan);
    asked.source.codebase = source.map(|g| g.codebase.clone()).unwrap_or_default();
    let mut properties = asked.properties(&definition);
    if let Some(owner) = owner(&top) {
        properties.set("owner", owner, REASON);
    }
    let workdir = source.map_or_else(|| "build".to_owned(), |g| g.workdir.clone());
    Ok(Some(Target {
        builder: asked.builder,
        files,
        tree: WorkingTree { path: top, workdir },
        commit,
        worker: WORKER.into(),
        properties,
        stamp: asked.source,
    }))
}

/// The tree stands in for what the first `steps.Git` would check out.
fn source(plan: &Plan) -> Option<&Git> {
    plan.steps.iter().find_map(|step| match &step.verdict {
        Verdict::Run(rendered) => match &rendered.action {
            Action::Git(git) => Some(git),
            _ => None,
        },
        _ => None,
    })
}

/// The top of the work tree around a folder, or the folder itself.
fn look(dir: &Path) -> Result<(PathBuf, Option<Commit>)> {
    let top = match git(dir, &["rev-parse", "--show-toplevel"]) {
        Ok(text) => PathBuf::from(text.trim_end_matches('\n')),
        Err(failure) if failure.message.contains("not a git repository") => return Ok((dir.to_owned(), None)),
        Err(failure) if failure.message.contains("must be run in a work tree") => {
            return Err(Failure::usage(format!("{} is a repository without a working tree", dir.display()))
                .hint("clone it and run there, or build its commits with `tidemill up`"));
        }
        Err(failure) => return Err(failure),
    };
    let Ok(id) = git(&top, &["rev-parse", "--verify", "-q", "HEAD^{commit}"]) else { return Ok((top, None)) };
    let branch = git(&top, &["symbolic-ref", "-q", "--short", "HEAD"]).ok();
    let status = git(&top, &["status", "--porcelain"])?;
    let commit = Commit {
        id: id.trim().to_owned(),
        branch: branch.map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()),
        uncommitted: status.lines().count(),
    };
    Ok((top, Some(commit)))
}

/// As `tidemill up` finds them, but as they are on disk.
fn project(dir: &Path, top: &Path) -> Result<Files> {
    if let Some(folder) = [dir, top].into_iter().find(|d| d.join(ROOT_FILE).is_file()) {
        return files::from_folder(folder);
    }
    let title = top.file_name().map_or_else(|| "project".into(), |n| n.to_string_lossy().into_owned());
    let guess = guess::guess(&title, &init::paths(top)?, &|path| std::fs::read_to_string(top.join(path)).ok());
    if guess.found.is_empty() {
        return Err(Failure::usage(format!(
            "there is no {ROOT_FILE} in {}, and nothing to guess one from",
            top.display()
        ))
        .hint("`tidemill init` writes a first one"));
    }
    eprintln!("No {ROOT_FILE}; guessed from {}. `tidemill init` writes it down.", guess.found.join(", "));
    Ok(Files::single(guess.text))
}

fn only_builder(definition: &Definition) -> Result<String> {
    let names: Vec<&str> = definition.builders.iter().map(|b| b.name.as_str()).collect();
    match names.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(Failure::not_found("the project has no builders")),
        many => {
            let names: Vec<String> = many.iter().map(|n| sanitize::line(n)).collect();
            Err(Failure::usage(format!("the project has {} builders", many.len()))
                .hint(format!("name one of them: {}", names.join(", "))))
        }
    }
}

/// Who runs it, as git would sign a commit.
fn owner(dir: &Path) -> Option<String> {
    let set =
        |key: &str| git(dir, &["config", "--get", key]).ok().map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    match (set("user.name"), set("user.email")) {
        (Some(name), Some(email)) => Some(format!("{name} <{email}>")),
        (name, email) => name.or(email).or_else(|| std::env::var("USER").ok().filter(|u| !u.is_empty())),
    }
}
