//! Running commands: environment, folder, process tree, output, time limits.

pub(crate) mod env;
pub(crate) mod process;
pub(crate) mod run;
pub(crate) mod tree;
pub(crate) mod workdir;
