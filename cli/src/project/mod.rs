//! The project on this side: its repository, its files, what is asked of them,
//! and what to build where nobody wrote that down.

pub mod apart;
pub mod asked;
pub mod checked;
pub mod files;
pub mod git;
pub mod guess;
pub mod recipes;
