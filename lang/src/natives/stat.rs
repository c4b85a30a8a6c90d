//! `util.stat`: what the numbers of a file's status mean, as Python's module of that name.

use starlark::environment::GlobalsBuilder;
use starlark::starlark_module;

const KIND: i32 = 0o170_000;

pub(super) fn register(builder: &mut GlobalsBuilder) {
    for (name, index) in [("ST_MODE", 0), ("ST_SIZE", 6), ("ST_MTIME", 8)] {
        builder.set(name, index);
    }
    functions(builder);
}

#[starlark_module]
fn functions(builder: &mut GlobalsBuilder) {
    /// Whether the mode is that of a folder.
    fn S_ISDIR(#[starlark(require = pos)] mode: i32) -> starlark::Result<bool> {
        Ok(mode & KIND == 0o040_000)
    }

    /// Whether the mode is that of a plain file.
    fn S_ISREG(#[starlark(require = pos)] mode: i32) -> starlark::Result<bool> {
        Ok(mode & KIND == 0o100_000)
    }

    /// Whether the mode is that of a symbolic link.
    fn S_ISLNK(#[starlark(require = pos)] mode: i32) -> starlark::Result<bool> {
        Ok(mode & KIND == 0o120_000)
    }
}
