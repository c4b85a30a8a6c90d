//! `steps.StepsFrom`: steps from a file of the change's own tree (P-09, A14).
//!
//! The file is a stranger's. It is read through the host and evaluated under the
//! limits of a project file; it knows `util` and `steps`, may load files beside
//! it and the built-in library, and defines `steps`. Its steps may name only the
//! secrets that the project's own file allows, and hold no locks.

use super::host::{FileReply, FileRequest};
use super::running::{failure, running};
use super::step::step_of;
use super::{AddAt, Added};
use crate::host::collector::Collector;
use crate::host::diagnostics::Diagnostics;
use crate::host::limits::Limits;
use crate::host::loader;
use crate::host::stack;
use crate::project::broken_off;
use crate::steps::{self, Step};
use crate::values::descriptor::Descriptor;
use crate::values::tree::{self, Tree};
use starlark::eval::Evaluator;
use starlark::values::Value;
use std::sync::Arc;
use tidemill_model::revision::{Files, ROOT_FILE};

/// Most files, and bytes of one.
const FILES_MAX: usize = 50;
const BYTES_MAX: u64 = 1 << 20;
/// Most steps.
const STEPS_MAX: usize = 1000;

/// Adds the file's steps after the running one: their number, or `None` if there is no such file.
pub(super) fn add<'v>(
    step: Value<'v>,
    file: &str,
    secrets: Vec<String>,
    eval: &mut Evaluator<'v, '_, '_>,
) -> starlark::Result<Option<usize>> {
    let owner = step_of(step)?;
    let Some(files) = read(step, file, eval)? else { return Ok(None) };
    let evaluated = stack::deep(|| evaluate(&files)).unwrap_or_else(|why| Err(broken_off(&why)));
    let steps = evaluated.map_err(|found| failure(format!("{file} cannot be used:\n\n{found}")))?;
    let count = steps.len();
    // A step of the tree passes on no more than it was given.
    let mut secrets = secrets;
    if let Some(own) = running(eval)?.allowed_secrets {
        secrets.retain(|s| own.contains(s));
    }
    let secrets: Arc<[String]> = secrets.into();
    let steps = steps.into_iter().map(|s| s.restricted(secrets.clone())).collect();
    owner.facts.added.borrow_mut().push(Added { at: AddAt::AfterCurrent, steps });
    Ok(Some(count))
}

/// The file under the root's name, and all that it loads.
fn read<'v>(step: Value<'v>, file: &str, eval: &Evaluator<'v, '_, '_>) -> starlark::Result<Option<Files>> {
    let facts = step_of(step)?.facts.clone();
    let host = running(eval)?.host;
    let text = |path: &str| {
        let path = facts.path(path)?;
        match host.file(&FileRequest::Read { path: path.clone(), max: BYTES_MAX }).map_err(|e| facts.told(e))? {
            FileReply::Content(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(failure(format!("{path} is not UTF-8"))),
            },
            FileReply::Fault(super::FileFault::NotFound, _) => Ok(None),
            FileReply::Fault(_, why) => Err(failure(format!("cannot read {path}: {why}"))),
            _ => Err(failure(format!("cannot read {path}"))),
        }
    };
    let Some(root) = text(file)? else { return Ok(None) };
    let mut files = Files::default();
    let mut wanted = loader::loaded_paths(ROOT_FILE, &root);
    files.0.insert(ROOT_FILE.to_owned(), root);
    while let Some(path) = wanted.pop() {
        if files.0.contains_key(&path) {
            continue;
        }
        if files.0.len() >= FILES_MAX {
            return Err(failure(format!("{file} loads more than {FILES_MAX} files")));
        }
        // A missing one is told with its place when the files are evaluated.
        if let Some(content) = text(&path)? {
            wanted.extend(loader::loaded_paths(&path, &content));
            files.0.insert(path, content);
        }
    }
    Ok(Some(files))
}

fn evaluate(files: &Files) -> Result<Vec<Step>, Diagnostics> {
    let limits = Limits::default();
    let collector = Collector::default();
    let root = loader::evaluate(files, &limits, &collector);
    let failed = |collector: Collector, message: Option<String>| {
        if let Some(message) = message {
            collector.report(crate::host::diagnostics::Diagnostic::error(message));
        }
        Err(Diagnostics(collector.into_sorted()))
    };
    let Some(root) = root.filter(|_| !collector.has_errors()) else { return failed(collector, None) };
    let Ok((defined, _)) =
        root.module.get_any_visibility("build_steps").or_else(|_| root.module.get_any_visibility("STEPS"))
    else {
        return failed(collector, Some("the file defines no list `build_steps`".into()));
    };
    let list = defined;
    let items = tree::items(list.value()).unwrap_or_default();
    if items.len() > STEPS_MAX {
        return failed(collector, Some(format!("there are more than {STEPS_MAX} steps")));
    }
    for item in items {
        if let Some(step) = Descriptor::from_value(*item) {
            step.trees(&collector);
            if step.spec.name == "steps.Trigger" {
                let message =
                    "steps of the change's own tree start no other builds: the project's file decides of them";
                collector.report(step.site.place(crate::host::diagnostics::Diagnostic::error(message)));
            }
            let held = step.arg("locks").is_some_and(|v| Tree::of(v).truth());
            if held {
                let message = "steps of the change's own tree hold no locks: the project's file decides of them";
                let diagnostic = crate::host::diagnostics::Diagnostic::error(message);
                collector.report(step.site.place_argument("locks", diagnostic));
            }
        }
    }
    if collector.has_errors() {
        return failed(collector, None);
    }
    match steps::of_list(&list, &limits) {
        Ok(steps) => Ok(steps),
        Err(why) => failed(collector, Some(format!("`build_steps`: {why}"))),
    }
}
