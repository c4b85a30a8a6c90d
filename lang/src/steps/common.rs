//! What every step has: name, texts, and how its result acts on the build.

use super::Rendered;
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::plan::{Action, Flags, RenderedStep};
use crate::values::convert::{boolean, text, words};

pub(super) fn step(
    args: &Rendered<'_>,
    default_name: &str,
    always_run: bool,
    action: Action,
) -> Result<RenderedStep, EvalError> {
    let name = args.get("name", text)?.unwrap_or_else(|| default_name.to_owned());
    if name.trim().is_empty() {
        return Err(args.fail("name", Diagnostic::error("the step's name is empty")));
    }
    let (running, done) = default_texts(args.spec.name);
    let given = args.get("description", words)?;
    // A text for the running step alone serves for the finished one too, except
    // where the kind of step has one, as in Buildbot.
    let done = if done.is_empty() { given.clone().unwrap_or_default() } else { done.to_owned() };
    Ok(RenderedStep {
        name,
        flags: flags(args, always_run)?,
        description: given.unwrap_or_else(|| running.to_owned()),
        description_done: args.get("descriptionDone", words)?.unwrap_or(done),
        description_suffix: args.get("descriptionSuffix", words)?.unwrap_or_default(),
        action,
    })
}

fn default_texts(spec: &str) -> (&'static str, &'static str) {
    match spec {
        "steps.Compile" => ("compiling", "compile"),
        "steps.Test" => ("testing", "test"),
        _ => ("", ""),
    }
}

fn flags(args: &Rendered<'_>, always_run: bool) -> Result<Flags, EvalError> {
    // Without sources or a compiled program, what follows can only fail; and a
    // failed test run makes the build at least a warning where it is not to fail it.
    let halts = matches!(args.spec.name, "steps.Git" | "steps.Compile");
    let warns = args.spec.name == "steps.Test";
    let flag = |name: &str, default: bool| Ok::<_, EvalError>(args.get(name, boolean)?.unwrap_or(default));
    Ok(Flags {
        halt_on_failure: flag("haltOnFailure", halts)?,
        flunk_on_failure: flag("flunkOnFailure", true)?,
        flunk_on_warnings: flag("flunkOnWarnings", false)?,
        warn_on_failure: flag("warnOnFailure", warns)?,
        warn_on_warnings: flag("warnOnWarnings", false)?,
        always_run,
    })
}
