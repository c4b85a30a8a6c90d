//! What policies get and give: plain data.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use tidemill_model::{Change, NewChange, Properties, SourceStamp};

/// A pending build request, as functions see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestView {
    pub id: i64,
    pub buildset: i64,
    pub builder: String,
    pub priority: i32,
    /// Microseconds since 1970, by the database.
    pub submitted_at_us: i64,
    pub reason: String,
    /// The buildset's.
    pub properties: Properties,
    /// One for each codebase.
    pub sources: Vec<SourceView>,
    pub waited_for: bool,
    /// Builds that it had and that were lost.
    pub attempts: u32,
}

/// A source stamp of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceView {
    pub stamp: SourceStamp,
    /// It carries a patch: such requests never merge.
    pub patch: bool,
    /// The changes that it came from, by id; empty for forced and timed builds.
    pub changes: Vec<i64>,
}

/// A builder with waiting requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BuilderView {
    pub name: String,
    pub tags: Vec<String>,
    pub project: String,
    /// Requests that wait.
    pub pending: u64,
    /// Builds that run.
    pub building: u64,
    /// Of the waiting requests.
    pub highest_priority: Option<i32>,
    pub oldest_request_us: Option<i64>,
}

/// A worker that could take a build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    pub name: String,
    pub free: u32,
    pub building: u32,
    pub max_builds: Option<u32>,
    pub properties: BTreeMap<String, Json>,
    /// Host facts: `system`, `arch`, `release` …
    pub info: BTreeMap<String, String>,
}

/// What a splitter makes of a path (C-17).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitFile {
    pub path: String,
    /// None is the default branch.
    pub branch: Option<String>,
    pub project: Option<String>,
    pub repository: Option<String>,
    pub codebase: Option<String>,
}

/// What a custom scheduler's rule is asked with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleInput {
    pub now_us: i64,
    /// What the rule left the last time; null at first.
    pub state: Json,
    /// New changes in order, each with whether it is important.
    pub changes: Vec<(Change, bool)>,
    /// Buildsets of the `upstream` schedulers that ended since.
    pub finished: Vec<FinishedView>,
    /// Its timer came due.
    pub timer: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FinishedView {
    pub buildset: i64,
    pub scheduler: String,
    pub results: i16,
    pub sourcestamps: Vec<SourceStamp>,
    pub properties: Properties,
}

/// What it decided. Buildsets, state and timer are to be stored together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleOutput {
    pub buildsets: Vec<NewBuildset>,
    pub state: Json,
    /// When it wants to be asked again.
    pub wake_at_us: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NewBuildset {
    /// None is the scheduler's own list. Each name exists.
    pub builder_names: Option<Vec<String>>,
    /// Ids of changes that it is for; their newest gives the source stamps (D-25).
    pub changes: Vec<i64>,
    /// Source stamps, where there are no changes; empty takes the codebases' defaults.
    pub sourcestamps: Vec<SourceStamp>,
    pub properties: BTreeMap<String, Json>,
    pub reason: Option<String>,
    pub priority: Option<i32>,
}

/// What a custom poller is asked with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PollInput {
    pub now_us: i64,
    /// What it left the last time; null at first.
    pub state: Json,
}

/// New changes and state, to be stored together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PollOutput {
    pub changes: Vec<NewChange>,
    pub state: Json,
}
