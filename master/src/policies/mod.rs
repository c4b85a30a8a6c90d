//! What masters ask the functions of the project file, off the async threads
//! and each call under limits.
//!
//! A failing function stops nothing: its error goes to the log and to a row
//! ([`failures`]), the built-in answer is used, and the function is left alone
//! for a moment before it is asked again.

pub mod announced;
pub mod collapse;
pub mod failures;
pub mod host;
pub mod order;
pub mod views;

pub use host::Host;
