//! Running commands: environment, folder, process tree, output, time limits.

pub(crate) mod env;
pub(crate) mod outlet;
mod pipe;
pub(crate) mod process;
mod pty;
pub(crate) mod run;
pub(crate) mod tail;
pub(crate) mod tree;
pub(crate) mod workdir;
