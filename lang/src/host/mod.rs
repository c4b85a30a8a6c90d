//! What runs Starlark, whatever the vocabulary: dialect, limits, loading of
//! files, collecting of diagnostics.

pub(crate) mod collector;
pub(crate) mod diagnostics;
pub(crate) mod dialect;
pub(crate) mod hints;
pub(crate) mod limits;
pub(crate) mod loader;
mod nesting;
pub(crate) mod site;
