//! What runs Starlark, whatever the vocabulary: dialect, limits, loading of
//! files, collecting of diagnostics.

mod bounded;
mod brackets;
pub(crate) mod collector;
pub(crate) mod diagnostics;
pub(crate) mod dialect;
pub(crate) mod guards;
pub(crate) mod hints;
pub(crate) mod limits;
pub(crate) mod loader;
mod nesting;
mod operators;
pub(crate) mod packages;
pub(crate) mod paths;
pub(crate) mod site;
pub(crate) mod stack;
