//! Starlark: the project file, and the steps that workers evaluate from it.
//!
//! [`Project::evaluate`] turns a set of files into a [`Project`]: a
//! [`definition::Definition`] (plain data that the master stores as rows) and
//! what stays alive beside it (placeholders, functions), called through
//! [`Project`], [`policies::Policies`] and [`Step`].
//!
//! Guaranteed: nothing here does IO, reads a clock for anything but its own
//! deadline, or draws random numbers, so the same files give the same project
//! on every replica and worker. Every evaluation and every call runs under
//! [`Limits`]; a limit that is hit is an error with a place, not a hang. What a
//! function may do to the world is what its [`custom::StepHost`] or
//! [`policies::PolicyHost`] does for it.
//!
//! A [`Project`] is immutable and shared: any number of threads may call it at
//! once, each call has an evaluator of its own. There is no state that a crash
//! could lose.

mod check;
mod filter;
mod host;
mod library;
mod names;
mod natives;
mod project;
mod render;
mod steps;
mod values;
mod vocabulary;

pub mod custom;
pub mod definition;
pub mod force;
pub mod plan;
pub mod policies;
pub mod reference;
pub mod secret;
pub mod template;

/// Vendored packages and their manifest.
pub mod packages {
    pub use crate::host::packages::{MANIFEST, Package, hash, manifest};
}

pub use check::{Report, editor};
pub use definition::Definition;
pub use host::diagnostics::{Diagnostic, Diagnostics, EvalError, Severity};
pub use host::limits::Limits;
pub use host::stack::STACK;
pub use names::nearest;
pub use plan::{BuildContext, Plan, RenderedStep};
pub use project::Project;
pub use reference::reference;
pub use steps::{Condition, Step};
