//! How a command fails: an exit code, what is wrong, and what to do next.

use crate::exit::Exit;

pub type Result<T, E = Failure> = std::result::Result<T, E>;

#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    /// The next step for a person.
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), hint: None }
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Internal, message)
    }

    pub fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(Exit::NotFound, message)
    }

    pub fn unreachable(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Unreachable, message)
    }

    /// A next step for one way to fail that has none of its own.
    pub fn hint_for(self, exit: Exit, hint: &str) -> Failure {
        if self.exit == exit && self.hint.is_none() { self.hint(hint) } else { self }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n{hint}")?;
        }
        Ok(())
    }
}

impl From<tidemill_service::settings::Error> for Failure {
    fn from(e: tidemill_service::settings::Error) -> Failure {
        Failure::usage(e.to_string()).hint("`tidemill settings --origin` shows where each value comes from")
    }
}

impl From<tidemill_service::postgres::Error> for Failure {
    fn from(e: tidemill_service::postgres::Error) -> Failure {
        Failure::new(Exit::Unreachable, e.to_string())
    }
}

impl From<tidemill_schema::Error> for Failure {
    fn from(e: tidemill_schema::Error) -> Failure {
        let refused = e.is_refused();
        let failure = Failure::new(if refused { Exit::Refused } else { Exit::Unreachable }, format!("database: {e}"));
        match refused {
            true => failure.hint("this role of the database may not do that; who owns the tables may"),
            false => failure,
        }
    }
}

/// Adds what was being done to an error of the system.
pub trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Failure::new(Exit::Usage, format!("cannot {}: {e}", what())))
    }
}
