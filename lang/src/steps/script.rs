//! Steps whose work is a function.

use super::{Rendered, shell};
use crate::host::diagnostics::EvalError;
use crate::plan::Script;
use crate::values::convert::folder;
use crate::values::tree::Tree;
use crate::vocabulary::common_argument;
use serde_json::json;

pub(super) fn render(args: &Rendered<'_>) -> Result<Script, EvalError> {
    let shell = if args.spec.type_of("decodeRC").is_some() { Some(Box::new(shell::render(args)?)) } else { None };
    let own = args.values.iter().filter(|(name, _)| {
        // Options of commands are in `shell`, and what every step has beside the action.
        !common_argument(name) && (shell.is_none() || !shell::is_option(name))
    });
    let show = |tree: &Tree| match tree {
        Tree::Function => json!({ "$function": "" }),
        other => other.to_json().unwrap_or_else(|| json!({ "$value": other.describe() })),
    };
    Ok(Script {
        attrs: own.map(|(name, tree)| (name.clone(), show(tree))).collect(),
        workdir: args.get("workdir", folder)?.unwrap_or_else(|| "build".into()),
        shell,
    })
}
