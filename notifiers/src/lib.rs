//! Notices: who is told what became of a build, by which way, exactly as often as it is due.
//!
//! `plan` turns the event stream into rows of `deliveries`, once for all
//! replicas; `send` claims them, renders and hands them to a transport (`mail`,
//! `irc`, `http`, `forge`), and records what the other side said.

pub mod forge;
pub mod http;
pub mod line;
pub mod mail;
pub mod message;
pub mod outcome;
pub mod verify;

pub use message::{Body, Message};
pub use outcome::Outcome;
pub use verify::Verify;
