//! The built-in library: Starlark files that come with Tidemill, loaded as
//! `@tidemill//FILE`. Steps and factories of the vocabulary are functions in it.
//!
//! Each file is evaluated at most once in a process, under no project's limits:
//! it is ours, and it only defines.

use crate::host::dialect::{dialect, globals};
use crate::host::guards;
use starlark::environment::{FrozenModule, Module};
use starlark::eval::{Evaluator, FileLoader};
use starlark::syntax::AstModule;
use starlark::values::{FrozenHeapName, OwnedFrozenValue};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

/// How its files are loaded.
pub(crate) const PREFIX: &str = "@tidemill//";

macro_rules! files {
    ($($name:literal)*) => {
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("starlark/", $name)))),*];
    };
}

files! {
    "asserts.star"
    "factories.star"
    "steps/files.star"
    "steps/packages.star"
    "steps/properties.star"
    "steps/python.star"
    "steps/sequence.star"
    "steps/tools.star"
    "steps/transfer.star"
    "steps/tree.star"
    "steps/trigger.star"
    "steps/warnings.star"
    "svn.star"
}

/// The text of a file, by its path without the prefix.
pub(crate) fn text(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(name, _)| *name == path).map(|(_, text)| *text)
}

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// An evaluated file.
pub(crate) fn module(path: &str) -> starlark::Result<FrozenModule> {
    static MODULES: LazyLock<Mutex<BTreeMap<String, FrozenModule>>> = LazyLock::new(Mutex::default);
    let known = MODULES.lock().expect("no panic while it is locked").get(path).cloned();
    if let Some(module) = known {
        return Ok(module);
    }
    let text = text(path).ok_or_else(|| missing(path))?;
    let module = evaluate(path, text)?;
    MODULES.lock().expect("no panic while it is locked").insert(path.to_owned(), module.clone());
    Ok(module)
}

/// A function of a file.
pub(crate) fn function(path: &str, name: &str) -> starlark::Result<OwnedFrozenValue> {
    module(path)?.get(name).map_err(starlark::Error::new_other)
}

fn missing(path: &str) -> starlark::Error {
    starlark::Error::new_other(anyhow::anyhow!("the built-in library has no file {path:?}"))
}

/// Answers `load` inside the library.
struct Own;

impl FileLoader for Own {
    fn load(&self, path: &str) -> starlark::Result<FrozenModule> {
        module(path.strip_prefix(PREFIX).ok_or_else(|| missing(path))?)
    }
}

fn evaluate(path: &str, text: &str) -> starlark::Result<FrozenModule> {
    let name = format!("{PREFIX}{path}");
    let mut ast = AstModule::parse(&name, text.to_owned(), &dialect())?;
    guards::install(&mut ast);
    Module::with_temp_heap(|module| {
        {
            let mut eval = Evaluator::new(&module);
            eval.set_loader(&Own);
            eval.eval_module(ast, globals())?;
        }
        let frozen = module.freeze_named(FrozenHeapName::User(Box::new(name)));
        frozen.map_err(|e| starlark::Error::new_other(anyhow::anyhow!("{path} cannot be kept: {e:?}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_library_is_evaluated() {
        for name in names() {
            module(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}
