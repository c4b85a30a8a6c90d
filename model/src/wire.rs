//! Worker protocol v1: the messages, and the framing of batches.
//!
//! docs/protocol.md says how a good worker behaves. In short: `hello` opens a
//! session; `poll` waits for work and carries the heartbeat of running builds;
//! what happens in a build goes up in numbered batches; `lease-lost` is the
//! only answer that makes a worker give up a build.
//!
//! Rules of evolution: unknown fields are ignored by both sides, new fields
//! have defaults, enums are externally tagged and a reader refuses a tag that
//! it does not know (so a new tag needs a new protocol version). Durations
//! and times are integers of microseconds; floats are the numbers that steps
//! count, and no others.

use crate::log::LogSum;
use crate::{LockAccess, NewChange, Properties, Results, SourceStamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

mod framing;
mod test_results;
mod trigger;

pub use framing::{
    BATCH_CONTENT_TYPE, BATCH_MAX, BatchError, FRAMES_MAX, Frame, LOGS_MAX, STEPS_MAX, decode_batch, encode_frame,
    encode_head,
};
pub use test_results::{
    TEST_MESSAGE_MAX, TEST_NAME_MAX, TEST_PART_MAX, TEST_PARTS_MAX, TEST_RESULTS_MAX, TestOutcome, TestResult,
};
pub use trigger::{
    Fired, TRIGGER_DEPTH_MAX, TRIGGER_TARGETS_MAX, TriggerCall, TriggerReply, TriggerState, TriggerTarget,
    TriggerWatch, TriggeredBuild, TriggeredRequest, TriggeredSet,
};

/// The protocol version of this release, and the oldest that it still speaks.
pub const PROTOCOL: u32 = 1;
pub const PROTOCOL_MIN: u32 = 1;

/// The newest level of the step vocabulary that this release evaluates. A
/// revision records the level it needs; older workers are not offered it.
pub const VOCABULARY: u32 = 3;

/// `POST /worker/v1/hello`, with the worker's token as bearer. Begins a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hello {
    pub protocol_min: u32,
    pub protocol_max: u32,
    /// The worker's name; must be the one that the token belongs to.
    pub name: String,
    /// A random id kept in the worker's base directory. The same instance may
    /// say hello again at any time (it restarted); another one is refused
    /// while this one is alive.
    pub instance: String,
    /// Release of the worker program.
    pub release: String,
    pub vocabulary: u32,
    /// How many builds it runs at once.
    pub slots: u32,
    /// Host facts for people: `host`, `system`, `arch`.
    #[serde(default)]
    pub info: BTreeMap<String, String>,
    /// What builders may require of it, as its own settings say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: crate::requires::Labels,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HelloReply {
    pub protocol: u32,
    pub session: i64,
    /// Name of the replica that answered, for logs.
    pub master: String,
    /// Term of a lease. A worker polls at least every third of it while it holds builds.
    pub lease_us: u64,
}

/// `POST /worker/v1/goodbye`, the last words of a process that ends in order.
/// Closes the session; what the worker still holds keeps its leases. Answered
/// with an empty object, also if the session is already gone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Goodbye {
    pub session: i64,
}

/// `POST /worker/v1/poll`. Sent again with the same number until it is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Poll {
    pub session: i64,
    /// Rises by one with each answered poll.
    pub poll: u64,
    /// How many more builds it can start now.
    pub free: u32,
    /// The highest build id that any answer of this session delivered; 0 at first.
    pub newest: i64,
    /// Builds that it runs or has yet to finish delivering.
    #[serde(default)]
    pub held: Vec<Held>,
    /// How long the master may wait before it answers with nothing.
    pub wait_us: u64,
}

/// A build in a worker's hands, with the lease's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub build: i64,
    pub token: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PollReply {
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// Held builds whose lease is gone: kill and forget.
    #[serde(default)]
    pub lost: Vec<i64>,
    /// Held builds that somebody wants stopped.
    #[serde(default)]
    pub stop: Vec<Stop>,
    /// Finish what runs, take nothing new, and end.
    #[serde(default)]
    pub drain: bool,
}

/// A build handed to a worker. The worker fetches the revision (once for each
/// hash) and evaluates the builder's factory itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    pub build: i64,
    /// Proof of the lease: goes with everything that is written for this build.
    pub token: String,
    /// 1 for the request's first build.
    pub attempt: u32,
    pub builder: String,
    pub builder_id: i64,
    /// The build's number within its builder.
    pub number: i64,
    pub request: i64,
    /// Hash of the config revision, see `GET /worker/v1/revisions/{hash}`.
    pub revision: String,
    pub properties: Properties,
    pub sourcestamps: Vec<SourceStamp>,
    pub reason: String,
    /// The changes that led to it, oldest first; of very many the newest (`CLAIM_CHANGES_MAX`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<NewChange>,
    /// Whether its steps may use secrets: not those of what an outsider announced (A14).
    #[serde(default = "yes")]
    pub trusted: bool,
    /// Address of the build's page.
    #[serde(default)]
    pub url: String,
}

/// `POST /worker/v1/patch`: the body of a patch that a source stamp of a held
/// build names, as bytes. Under the lease's token: `lease-lost` without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PatchRequest {
    pub build: i64,
    pub token: String,
    /// [`crate::Patch::id`].
    pub patch: i64,
}

/// `POST /worker/v1/secret`: the value of a secret that a step of a held build
/// needs. Under the lease's token: `lease-lost` without it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretRequest {
    pub build: i64,
    pub token: String,
    pub name: String,
}

/// Never logged, so it shows nothing.
#[derive(Serialize, Deserialize)]
pub struct SecretReply {
    pub value: String,
}

fn yes() -> bool {
    true
}

/// Most changes in a claim.
pub const CLAIM_CHANGES_MAX: i64 = 200;

/// A wish to stop a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    pub build: i64,
    pub reason: String,
    /// The result that the build is to end with; most often cancelled (D-13).
    pub results: Results,
}

/// First frame of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchHead {
    pub session: i64,
    pub build: i64,
    pub token: String,
    /// 1, 2, 3 … within this build.
    pub batch: u64,
    /// The worker's clock at sending, microseconds since 1970. Times inside the
    /// batch are on the same clock, so the master turns them into database
    /// time by the difference, whatever the worker's clock says (F18).
    pub sent_at_us: i64,
}

/// Something that happened in a build, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The worker took the build up.
    BuildStarted {
        at_us: i64,
    },
    StepStarted {
        /// 1, 2, 3 … in the order of starting.
        step: u32,
        name: String,
        at_us: i64,
    },
    StepFinished {
        step: u32,
        results: Results,
        /// One line for people, such as `'make test' (failure)`.
        summary: String,
        #[serde(default)]
        hidden: bool,
        /// It asked for locks (or gave up asking) and waited so long; they are given back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lock_wait_us: Option<u64>,
        at_us: i64,
    },
    /// Live text of a running step, or of the build where `step` is none.
    Summary {
        step: Option<u32>,
        text: String,
    },
    StepUrl {
        step: u32,
        name: String,
        url: String,
    },
    /// Numbers that a step counted, by name. One that comes again replaces the former.
    StepStatistics {
        step: u32,
        values: BTreeMap<String, f64>,
    },
    /// How far a running step has come, by metric: growing numbers. A hint, sent at most once a second.
    StepProgress {
        step: u32,
        values: BTreeMap<String, f64>,
    },
    /// Results of tests, a part of a set of the step. Masters keep a set as a whole, when they have its last part.
    TestResults {
        step: u32,
        /// What the step calls them.
        set: String,
        /// 1, 2, 3 … within the set.
        part: u32,
        /// No part comes after it; it may be empty.
        #[serde(default)]
        last: bool,
        results: Vec<TestResult>,
        at_us: i64,
    },
    PropertySet {
        name: String,
        value: Value,
        source: String,
    },
    LogOpened {
        /// 1, 2, 3 … within the build.
        log: u32,
        step: u32,
        name: String,
        slug: String,
        kind: LogKind,
    },
    LogFinished {
        log: u32,
        sum: LogSum,
    },
    /// The last event of a build.
    BuildFinished {
        results: Results,
        summary: String,
        at_us: i64,
    },
}

/// How a log is to be read; the letters are Buildbot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogKind {
    /// stdout, stderr and header of a command.
    #[serde(rename = "s")]
    Stdio,
    #[serde(rename = "t")]
    Text,
    #[serde(rename = "h")]
    Html,
}

impl LogKind {
    pub fn letter(self) -> &'static str {
        match self {
            LogKind::Stdio => "s",
            LogKind::Text => "t",
            LogKind::Html => "h",
        }
    }
}

/// Answer to `POST /worker/v1/batches`: given only after the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReply {
    /// Everything up to this batch is stored.
    pub acked: u64,
    #[serde(default)]
    pub stop: Option<Stop>,
    #[serde(default)]
    pub drain: bool,
}

/// `POST /worker/v1/locks`: a step asks for its locks, all or none, before it
/// runs. Sent again, with the same content, until they are granted; it keeps its
/// place in the line meanwhile. They are given back with `StepFinished`, the
/// build's end, or the lease's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocksAsk {
    pub build: i64,
    pub token: String,
    pub step: u32,
    pub locks: Vec<LockAccess>,
    /// How long the master may wait before it answers that they are not to be had yet.
    pub wait_us: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LocksReply {
    pub granted: bool,
    /// For people: what it waits for, such as «lock db held by build b/#7»; or, granted, what is
    /// to be known of it.
    #[serde(default)]
    pub says: String,
}

/// Most locks of a step.
pub const LOCKS_MAX: usize = 100;

/// `GET /worker/v1/revisions/{hash}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionReply {
    pub hash: String,
    pub files: crate::revision::Files,
}
