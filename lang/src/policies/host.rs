//! What policies may ask the master: a few bounded questions, and, for custom
//! pollers and latent workers, the world outside.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Answers questions of policies. Called on the policy's own thread, which may
/// block; an error's text is for people and ends the policy.
pub trait PolicyHost {
    /// Rows, newest first, at most `query.limit`.
    fn query(&self, query: &Query) -> Result<Vec<Json>, String>;
}

/// A question about what is stored. Each row of the answer has the fields of the
/// REST resource of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Query {
    pub resource: Resource,
    /// Equal to these; names are fields of the resource, checked by this crate:
    /// see [`Resource::fields`].
    pub filters: Vec<(String, Json)>,
    /// 1 to [`QUERY_MAX`].
    pub limit: u32,
}

/// Most rows of one answer.
pub const QUERY_MAX: u32 = 200;
/// Most questions of one call of a policy.
pub const QUERIES_MAX: u32 = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Builds,
    Requests,
    Changes,
    Workers,
    Builders,
}

impl Resource {
    /// What may be filtered by.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Resource::Builds => &["builder", "worker", "results", "complete", "branch", "revision"],
            Resource::Requests => &["builder", "complete", "branch", "buildset"],
            Resource::Changes => &["branch", "project", "repository", "codebase", "category", "author"],
            Resource::Workers => &["name", "connected", "paused"],
            Resource::Builders => &["name", "project", "tag"],
        }
    }
}

/// For policies that ask nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHost;

impl PolicyHost for NoHost {
    fn query(&self, _query: &Query) -> Result<Vec<Json>, String> {
        Err("there is nothing to ask here".into())
    }
}

/// What a custom poller or latent worker may do besides. Everything is bounded by the host: time,
/// bytes, and which addresses may be reached.
pub trait PollHost: PolicyHost {
    fn http(&self, request: &HttpRequest) -> Result<HttpReply, String>;
    /// Runs a program on the master, without a shell, in an empty folder.
    fn command(&self, command: &PollCommand) -> Result<PollCommandEnd, String>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout_us: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollCommand {
    pub argv: Vec<String>,
    pub stdin: String,
    pub timeout_us: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollCommandEnd {
    pub rc: i32,
    pub stdout: String,
    pub stderr: String,
}
