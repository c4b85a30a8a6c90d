//! `steps.Git`.

use super::Rendered;
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::plan::{Git, GitMode};
use crate::values::convert::{boolean, folder, optional_text, positive, retry, seconds, text};
use crate::values::tree::Tree;

pub(super) fn render(args: &Rendered<'_>) -> Result<Git, EvalError> {
    let default_timeout = Some(1_200_000_000);
    let mode = args.get("mode", text)?;
    let method = args.get("method", optional_text)?.flatten();
    Ok(Git {
        repourl: args.get("repourl", text)?.unwrap_or_default(),
        branch: args.get("branch", optional_text)?.flatten(),
        mode: git_mode(mode.as_deref(), method.as_deref())
            .map_err(|(argument, message)| args.fail(argument, Diagnostic::error(message)))?,
        workdir: args.get("workdir", folder)?.unwrap_or_else(|| "build".into()),
        shallow: args.get("shallow", depth)?.flatten(),
        submodules: args.get("submodules", boolean)?.unwrap_or(false),
        codebase: args.get("codebase", text)?.unwrap_or_default(),
        timeout_us: args.get("timeout", seconds)?.unwrap_or(default_timeout),
        retry: args.get("retry", retry)?.flatten(),
        always_use_latest: args.get("alwaysUseLatest", boolean)?.unwrap_or(false),
    })
}

/// SR-01 and SR-02. The error names the argument.
pub(crate) fn git_mode(mode: Option<&str>, method: Option<&str>) -> Result<GitMode, (&'static str, String)> {
    match (mode.unwrap_or("incremental"), method) {
        ("incremental", None) => Ok(GitMode::Incremental),
        ("incremental", Some(_)) => Err(("method", "`method` of steps.Git needs mode = \"full\"".into())),
        ("full", Some("clobber")) => Ok(GitMode::FullClobber),
        ("full", None | Some("fresh")) => Ok(GitMode::FullFresh),
        ("full", Some("clean")) => Ok(GitMode::FullClean),
        ("full", Some(method @ ("copy" | "export"))) => {
            Err(("method", format!("method {method:?} of steps.Git is not in this release; it comes with a later one")))
        }
        ("full", Some(other)) => {
            Err(("method", format!("`method` of steps.Git must be \"clobber\", \"fresh\" or \"clean\", got {other:?}")))
        }
        (other, _) => Err(("mode", format!("`mode` of steps.Git must be \"incremental\" or \"full\", got {other:?}"))),
    }
}

/// `True` is the newest commit alone.
fn depth(tree: &Tree) -> Option<Option<u32>> {
    match tree {
        Tree::Bool(true) => Some(Some(1)),
        Tree::Bool(false) => Some(None),
        other => positive(other).map(|n| n.and_then(|n| u32::try_from(n).ok())),
    }
}

/// Checks what is known before any build: a mode that is no placeholder.
pub(crate) fn check(mode: Option<&Tree>, method: Option<&Tree>) -> Result<(), (&'static str, String)> {
    let known = |t: Option<&Tree>| match t {
        None | Some(Tree::None) => Some(None),
        Some(Tree::Text(s)) => Some(Some(s.clone())),
        Some(_) => None,
    };
    match (known(mode), known(method)) {
        (Some(mode), Some(method)) => git_mode(mode.as_deref(), method.as_deref()).map(|_| ()),
        _ => Ok(()),
    }
}
