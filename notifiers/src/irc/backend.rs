//! What the bot asks of the rest of Tidemill. Reading and changing stand
//! behind one trait, so that a bot is the same over rows, over the API and in tests.

use super::events::NotifyEvent;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tidemill_model::Results;

/// Why something could not be had, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// There is no such builder, build, worker.
    #[error("{0}")]
    NotFound(String),
    /// Asked for what may not be.
    #[error("{0}")]
    Refused(String),
    /// The database or every master is away.
    #[error("{0}")]
    Unavailable(String),
}

type Answer<T> = Result<T, BackendError>;

/// Times are spans up to now, by the database's clock.
pub trait Backend: Send + Sync {
    fn about(&self) -> impl Future<Output = Answer<About>> + Send;

    /// Builders of the active configuration with one of these tags (all, if there are none), by name.
    fn builders(&self, tags: &[String]) -> impl Future<Output = Answer<Vec<Builder>>> + Send;

    fn workers(&self) -> impl Future<Output = Answer<Vec<Worker>>> + Send;

    /// Running builds and what waits of a builder.
    fn status(&self, builder: &str) -> impl Future<Output = Answer<Status>> + Send;

    /// The newest finished builds of a builder, newest first.
    fn last(&self, builder: &str, count: usize) -> impl Future<Output = Answer<Vec<Finished>>> + Send;

    /// The newest changes, newest first: those of the builder's newest build, or of all that came in.
    fn commits(&self, builder: Option<&str>, count: usize) -> impl Future<Output = Answer<Vec<Commit>>> + Send;

    /// Makes a build request as `who`. The answer names it.
    fn force(&self, force: &Force) -> impl Future<Output = Answer<String>> + Send;

    /// Stops the running builds of a builder; which ones.
    fn stop(&self, builder: &str, reason: &str, who: &str) -> impl Future<Output = Answer<Vec<i64>>> + Send;

    /// Tells `place` of the end of the running builds of a builder; which ones.
    fn watch(&self, builder: &str, place: &str) -> impl Future<Output = Answer<Vec<i64>>> + Send;

    /// What was settled for a channel or nick of this network; the configured defaults where nothing was.
    fn place(&self, place: &str) -> impl Future<Output = Answer<Place>> + Send;

    /// Keeps it over restarts.
    fn set_place(&self, place: &str, settled: &Place) -> impl Future<Output = Answer<()>> + Send;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub version: String,
    pub title: String,
    pub url: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Builder {
    pub name: String,
    /// No worker of it is connected.
    pub offline: bool,
    pub running: usize,
    pub waiting: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    pub name: String,
    pub connected: bool,
    pub paused: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub builder: String,
    pub offline: bool,
    pub running: Vec<Running>,
    pub waiting: usize,
    pub last: Option<Finished>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    pub number: i64,
    pub since: Duration,
    /// What it does just now.
    pub step: Option<String>,
    pub url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub number: i64,
    pub results: Results,
    pub ago: Duration,
    pub state: String,
    pub url: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    pub revision: Option<String>,
    pub branch: Option<String>,
    pub author: String,
    pub comments: String,
    pub ago: Duration,
}

/// A build that somebody asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Force {
    pub builder: String,
    pub branch: Option<String>,
    pub revision: Option<String>,
    pub codebase: Option<String>,
    pub project: Option<String>,
    pub properties: BTreeMap<String, String>,
    pub reason: String,
    /// The account, for the record; the nick where everyone may.
    pub who: String,
}

/// What a channel or a person settled with the bot. The planner reads it too:
/// nothing is said in a muted place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    pub events: BTreeSet<NotifyEvent>,
    pub muted: bool,
    /// None: as configured.
    pub membership: Option<Membership>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Membership {
    Joined { key: Option<String> },
    Left,
}
