//! A language server for project files, on stdin and stdout: what `checkconfig`
//! says while one types, completion, hover and definitions.
//!
//! The files are evaluated in a child process under limits, with what the editor
//! holds over what lies on disk; nothing is written and nothing is sent anywhere.

mod diagnose;
mod documents;
mod place;
mod server;
mod text;
mod wire;
mod words;

pub use server::serve;
