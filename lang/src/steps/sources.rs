//! `steps.SVN` and `steps.Mercurial`.

use super::Rendered;
use crate::host::diagnostics::{Diagnostic, EvalError};
use crate::plan::{Checkout, Mercurial, SourceMode, Svn};
use crate::values::convert::{boolean, folder, optional_text, retry, seconds, text, texts};
use crate::values::tree::Tree;

/// What both have (SR-01).
fn checkout(args: &Rendered<'_>, export: bool) -> Result<Checkout, EvalError> {
    let mode = args.get("mode", text)?;
    let method = args.get("method", optional_text)?.flatten();
    Ok(Checkout {
        repourl: args.get("repourl", text)?.unwrap_or_default(),
        default_branch: args.get("defaultBranch", optional_text)?.flatten().filter(|b| !b.is_empty()),
        mode: source_mode(&args.called, mode.as_deref(), method.as_deref(), export)
            .map_err(|(argument, message)| args.fail(argument, Diagnostic::error(message)))?,
        workdir: args.get("workdir", folder)?.unwrap_or_else(|| "build".into()),
        codebase: args.get("codebase", text)?.unwrap_or_default(),
        timeout_us: args.get("timeout", seconds)?.unwrap_or(Some(1_200_000_000)),
        retry: args.get("retry", retry)?.flatten(),
        always_use_latest: args.get("alwaysUseLatest", boolean)?.unwrap_or(false),
    })
}

pub(super) fn svn(args: &Rendered<'_>) -> Result<Svn, EvalError> {
    let depth = args.get("depth", optional_text)?.flatten().filter(|d| !d.is_empty());
    if let Some(depth) = depth.as_deref().filter(|d| !["empty", "files", "immediates", "infinity"].contains(d)) {
        let message = format!(
            "`depth` of {} must be \"empty\", \"files\", \"immediates\" or \"infinity\", got {depth:?}",
            args.called
        );
        return Err(args.fail("depth", Diagnostic::error(message)));
    }
    Ok(Svn {
        checkout: checkout(args, true)?,
        username: args.get("username", optional_text)?.flatten(),
        password: args.get("password", optional_text)?.flatten(),
        extra_args: args.get("extra_args", list)?.unwrap_or_default(),
        keep_on_purge: args.get("keep_on_purge", list)?.unwrap_or_default(),
        depth,
        prefer_last_changed_rev: args.get("preferLastChangedRev", boolean)?.unwrap_or(false),
    })
}

pub(super) fn mercurial(args: &Rendered<'_>) -> Result<Mercurial, EvalError> {
    let branch_type = args.get("branchType", text)?.unwrap_or_else(|| "inrepo".into());
    if !["inrepo", "dirname"].contains(&branch_type.as_str()) {
        let message = format!("`branchType` of {} must be \"inrepo\" or \"dirname\", got {branch_type:?}", args.called);
        return Err(args.fail("branchType", Diagnostic::error(message)));
    }
    Ok(Mercurial {
        checkout: checkout(args, false)?,
        by_folder: branch_type == "dirname",
        clobber_on_branch_change: args.get("clobberOnBranchChange", boolean)?.unwrap_or(true),
    })
}

/// A list of texts; `None` is none.
fn list(tree: &Tree) -> Option<Vec<String>> {
    match tree {
        Tree::None => Some(vec![]),
        other => texts(other),
    }
}

/// The error names the argument.
fn source_mode(
    called: &str,
    mode: Option<&str>,
    method: Option<&str>,
    export: bool,
) -> Result<SourceMode, (&'static str, String)> {
    match (mode.unwrap_or("incremental"), method) {
        ("incremental", None) => Ok(SourceMode::Incremental),
        ("incremental", Some(_)) => Err(("method", format!("`method` of {called} needs mode = \"full\""))),
        ("full", None | Some("fresh")) => Ok(SourceMode::FullFresh),
        ("full", Some("clobber")) => Ok(SourceMode::FullClobber),
        ("full", Some("clean")) => Ok(SourceMode::FullClean),
        ("full", Some("copy")) if export => Ok(SourceMode::FullCopy),
        ("full", Some("export")) if export => Ok(SourceMode::FullExport),
        ("full", Some(other)) => {
            let known = if export {
                "\"clobber\", \"fresh\", \"clean\", \"copy\" or \"export\""
            } else {
                "\"clobber\", \"fresh\" or \"clean\""
            };
            Err(("method", format!("`method` of {called} must be {known}, got {other:?}")))
        }
        (other, _) => Err(("mode", format!("`mode` of {called} must be \"incremental\" or \"full\", got {other:?}"))),
    }
}

/// Checks what is known before any build, as for `steps.Git`.
pub(crate) fn check(
    called: &str,
    mode: Option<&Tree>,
    method: Option<&Tree>,
    export: bool,
) -> Result<(), (&'static str, String)> {
    let known = |t: Option<&Tree>| match t {
        None | Some(Tree::None) => Some(None),
        Some(Tree::Text(s)) => Some(Some(s.clone())),
        Some(_) => None,
    };
    match (known(mode), known(method)) {
        (Some(mode), Some(method)) => source_mode(called, mode.as_deref(), method.as_deref(), export).map(|_| ()),
        _ => Ok(()),
    }
}
