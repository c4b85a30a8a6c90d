//! Starlark: the project file, and the steps that workers evaluate from it.

pub mod definition;
pub mod plan;
