//! `util.svn`: the splitters that come ready (C-19, C-21, C-22). They are
//! functions of the built-in library, `@tidemill//svn.star`.

use crate::library;
use starlark::environment::GlobalsBuilder;
use starlark::eval::Evaluator;
use starlark::starlark_module;
use starlark::values::Value;

fn split<'v>(name: &str, path: Value<'v>, eval: &mut Evaluator<'v, '_, '_>) -> starlark::Result<Value<'v>> {
    let function = library::function("svn.star", name)?;
    let function = eval.heap().access_owned_frozen_value(&function);
    eval.eval_function(function, &[path], &[])
}

#[starlark_module]
pub(super) fn functions(builder: &mut GlobalsBuilder) {
    /// Every file is on the trunk, its path unchanged.
    fn split_file_alwaystrunk<'v>(
        #[starlark(require = pos)] path: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        split("split_file_alwaystrunk", path, eval)
    }

    /// `trunk/a` is `(None, "a")`, `branches/X/a` is `("branches/X", "a")`, all else `None`.
    fn split_file_branches<'v>(
        #[starlark(require = pos)] path: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        split("split_file_branches", path, eval)
    }

    /// The first folder is the project; the rest is split as by `split_file_branches`.
    fn split_file_projects_branches<'v>(
        #[starlark(require = pos)] path: Value<'v>,
        eval: &mut Evaluator<'v, '_, '_>,
    ) -> starlark::Result<Value<'v>> {
        split("split_file_projects_branches", path, eval)
    }
}
