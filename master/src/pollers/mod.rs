//! Pollers: each asks a version control system, or a function of the project,
//! what is new since a cursor.
//! The loop ([`crate::loops::poll_sources`]) takes due ones under a lease and
//! commits changes and cursor together.

pub mod custom;
pub mod git;

/// Why a poll found nothing: shown at the change source, tried again later.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    #[error("{0}")]
    Refused(String),
    #[error("cannot run git: {0}")]
    Start(#[from] std::io::Error),
    #[error("git {command} failed ({status}): {stderr}")]
    Git { command: String, status: std::process::ExitStatus, stderr: String },
    #[error("git {0} took longer than {1} s")]
    TimedOut(String, u64),
    #[error(
        "git {0} said more than {1} bytes: does the address lead to a repository, and are all its branches wanted?"
    )]
    TooMuch(String, u64),
    #[error("git said something unexpected: {0}")]
    Output(String),
}
