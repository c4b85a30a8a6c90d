//! What constructors return, and how values become plain data.

pub(crate) mod alloc;
pub(crate) mod convert;
pub(crate) mod declare;
pub(crate) mod descriptor;
pub(crate) mod factory;
pub(crate) mod interpolate;
pub(crate) mod lock;
pub(crate) mod notices;
pub(crate) mod placeholder;
pub(crate) mod rule;
pub(crate) mod spec;
pub(crate) mod tree;
pub(crate) mod views;
