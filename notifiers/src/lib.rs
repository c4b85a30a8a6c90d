//! Notices: who is told what became of a build, by which way, exactly as often as it is due.
//!
//! `plan` turns the event stream into rows of `deliveries`, once for all
//! replicas; `send` claims them, renders and hands them to a transport (`mail`,
//! `irc`, `http`, `forge`), and records what the other side said.

pub mod irc;
pub mod message;
pub mod outcome;

pub use message::{Body, Message};
pub use outcome::Outcome;
