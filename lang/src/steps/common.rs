//! What every step has: name, texts, and how its result acts on the build.

use super::Rendered;
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::plan::{Action, Flags, RenderedStep};
use crate::values::convert::{boolean, results, text, words};
use crate::values::descriptor::Descriptor;
use crate::values::tree::Tree;
use tidemill_model::Results;

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
        kind: args.called.clone(),
        locks: vec![],
        update_build_summary: args.get("updateBuildSummaryPolicy", policy)?.flatten(),
        secrets: vec![],
        action,
    })
}

fn default_texts(spec: &str) -> (&'static str, &'static str) {
    match spec {
        "steps.Compile" => ("compiling", "compile"),
        "steps.Test" | "steps.Trial" | "steps.PerlModuleTest" => ("testing", "test"),
        "steps.Configure" => ("configuring", "configure"),
        "steps.CMake" => ("configuring", "cmake"),
        "steps.SVN" | "steps.Mercurial" => ("updating", "update"),
        "steps.PyFlakes" => ("running pyflakes", "pyflakes"),
        "steps.PyLint" => ("running pylint", "pylint"),
        "steps.Sphinx" => ("running sphinx", "sphinx"),
        "steps.Cppcheck" => ("running cppcheck", "cppcheck"),
        "steps.HLint" => ("running hlint", "hlint"),
        _ => ("", ""),
    }
}

/// Buildbot's names; for other kinds, and custom steps, the name of the kind.
pub(super) fn default_name(step: &Descriptor<'_>) -> String {
    if step.custom().is_some() {
        return step.called();
    }
    match step.spec.name {
        "steps.ShellCommand" | "steps.WarningCountingShellCommand" => "shell",
        "steps.CMake" => "cmake",
        "steps.Compile" => "compile",
        "steps.Configure" => "configure",
        "steps.Cppcheck" => "cppcheck",
        "steps.DirectoryUpload" | "steps.FileUpload" | "steps.MultipleFileUpload" => "upload",
        "steps.FileDownload" => "download",
        "steps.Git" => "git",
        "steps.HLint" => "hlint",
        "steps.JSONPropertiesDownload" => "json_properties_download",
        "steps.JSONStringDownload" => "json_download",
        "steps.Mercurial" => "hg",
        "steps.PyFlakes" => "pyflakes",
        "steps.PyLint" => "pylint",
        "steps.RemovePYCs" => "remove-.pyc",
        "steps.SVN" => "svn",
        "steps.SetPropertyFromCommand" => "setproperty",
        "steps.Sphinx" => "sphinx",
        "steps.StringDownload" => "string_download",
        "steps.Test" | "steps.PerlModuleTest" => "test",
        "steps.TreeSize" => "treesize",
        "steps.Trial" => "trial",
        "steps.Trigger" => "trigger",
        _ => step.spec.short(),
    }
    .to_owned()
}

/// RF-10: `True` is every result, `False` none; none is the default.
fn policy(tree: &Tree) -> Option<Option<Vec<Results>>> {
    match tree {
        Tree::None => Some(None),
        Tree::Bool(true) => Some(Some(Results::ALL.to_vec())),
        Tree::Bool(false) => Some(Some(vec![])),
        Tree::List(items) => items.iter().map(results).collect::<Option<Vec<_>>>().map(Some),
        _ => None,
    }
}

fn flags(args: &Rendered<'_>, always_run: bool) -> Result<Flags, EvalError> {
    // Without sources or a compiled program, what follows can only fail; and a
    // failed test run makes the build at least a warning where it is not to fail it.
    let halts = matches!(
        args.spec.name,
        "steps.Git"
            | "steps.SVN"
            | "steps.Mercurial"
            | "steps.Compile"
            | "steps.Configure"
            | "steps.CMake"
            | "steps.FileExists"
            | "steps.MakeDirectory"
            | "steps.CopyDirectory"
            | "steps.StepsFrom"
    );
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
