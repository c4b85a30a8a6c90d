//! The project on this side: its repository, its files, and what to build
//! where nobody wrote that down.

pub mod checked;
pub mod files;
pub mod git;
pub mod guess;
pub mod recipes;
