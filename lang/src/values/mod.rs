//! The values that a project file makes: what constructors return, and how they
//! are read back.

pub(crate) mod convert;
pub(crate) mod descriptor;
pub(crate) mod factory;
pub(crate) mod interpolate;
pub(crate) mod placeholder;
pub(crate) mod spec;
pub(crate) mod tree;
pub(crate) mod views;
