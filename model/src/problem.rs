//! Problem documents (RFC 9457), the body of every error answer.

use serde::{Deserialize, Serialize};

/// What a client gets with `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable name such as `lease-lost`, see docs/protocol.md and docs/api.md.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    /// What is wrong here and what to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// One entry a wrong field, where fields are to blame.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldError {
    /// Name of the field or query parameter.
    pub field: String,
    pub detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        for e in &self.errors {
            write!(f, "\n  {}: {}", e.field, e.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Problem types that a program decides on. Others are for people.
pub mod kinds {
    /// The lease is gone: stop the build, nothing written afterwards counts.
    pub const LEASE_LOST: &str = "lease-lost";
    /// Another process took over this worker's name: stop.
    pub const SESSION_SUPERSEDED: &str = "session-superseded";
    /// The session is unknown (database restored, epoch raised): say hello again.
    pub const SESSION_UNKNOWN: &str = "session-unknown";
    /// The worker's name is in use by another live process.
    pub const WORKER_NAME_IN_USE: &str = "worker-name-in-use";
    /// A trigger names what cannot be triggered, or builds trigger each other too deep: the step ends so.
    pub const TRIGGER_REFUSED: &str = "trigger-refused";
    /// No protocol version that both sides speak.
    pub const PROTOCOL_VERSION: &str = "protocol-version";
    /// The token is missing, wrong or of another kind.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// Known, but not allowed to.
    pub const FORBIDDEN: &str = "forbidden";
    pub const NOT_FOUND: &str = "not-found";
    pub const BAD_REQUEST: &str = "bad-request";
    /// The database cannot be reached or does not accept writes: try again later.
    pub const UNAVAILABLE: &str = "unavailable";
    pub const INTERNAL: &str = "internal";
    pub const CONFLICT: &str = "conflict";
}
