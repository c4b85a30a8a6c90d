//! What a project file defines, as plain data: the result of evaluation that
//! the master stores with the revision and turns into rows.
//!
//! Functions and placeholders are not here: they stay in the evaluated
//! [`crate::Project`] and are called by name and position.

mod builders;
mod cancellers;
mod cron;
mod diff;
mod force;
mod hooks;
mod locks;
mod people;
mod reporters;
mod schedulers;
mod sources;
mod transports;
mod workers;

pub use builders::{BuilderDef, Collapse, FolderDef, PolicyNames, ProjectDef, StepDef};
pub use cancellers::{CancelRule, CancellerDef, CancellerKind};
pub use cron::{Cron, CronDef, Day, Fault as CronFault};
pub use diff::{Changed, Changes, FieldChange, Group};
pub use force::{Field, FieldKind, ForceDef};
pub use hooks::{HookDef, HookDialect, HookUser, Outsiders, PullRequestRef};
pub use locks::{AccessMode, LockAccess, LockDef, LockKind};
pub use reporters::{
    BlameDef, BlameWhen, FormatterDef, GeneratorDef, GeneratorKind, LogsWanted, Mode, Renderable, ReporterDef,
    ReporterKind, TemplateDef, TemplateType, Wants,
};
pub use schedulers::{CodebaseDef, CustomSchedulerDef, NightlyDef, SchedulerDef, SchedulerKind, TimedDef};
pub use sources::{
    Branches, ChangeSourceDef, ChangeSourceKind, CustomPollerDef, Declared, GitCredentials, GitPollerDef, Login,
    RevlinkDef,
};
pub use tidemill_model::SecretText;
pub use transports::{
    BitbucketDef, BitbucketServerDef, ChannelDef, ClientCert, ForgeDef, GerritDef, GerritVerifyDef, HttpAccess,
    HttpDef, IrcAllowed, IrcDef, IrcRule, LdapDef, LookupDef, MailDef, MailMapLine, MailTls, NotifyEvent, Verify,
    WebhookDef, ZulipDef,
};
pub use workers::WorkerDef;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub title_url: String,
    /// Address of the web pages, for links in notices.
    #[serde(default)]
    pub buildbot_url: String,
    /// Level of the vocabulary that the files use, see `model::wire::VOCABULARY`.
    pub vocabulary: u32,
    pub builders: Vec<BuilderDef>,
    #[serde(default)]
    pub schedulers: Vec<SchedulerDef>,
    #[serde(default)]
    pub change_sources: Vec<ChangeSourceDef>,
    /// Names of the workers that the file mentions. Empty names no worker:
    /// then each enrolled worker may be named by a builder.
    #[serde(default)]
    pub workers: Vec<WorkerDef>,
    /// Global properties, set on every build (GC-04).
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
    /// `collapseRequests` for builders that do not say (default true, as in Buildbot).
    #[serde(default)]
    pub collapse_requests: Option<bool>,
    /// The global form of `collapseRequests` where it is more than yes or no.
    #[serde(default)]
    pub collapse: Option<Collapse>,
    /// Whether there is a `prioritizeBuilders`.
    #[serde(default)]
    pub prioritize_builders: bool,
    /// Whether there is a `select_next_worker`, for builders without a `nextWorker`.
    #[serde(default)]
    pub select_next_worker: bool,
    /// Whether there is a `codebaseGenerator`.
    #[serde(default)]
    pub codebase_generator: bool,
    /// How revisions become links; a function among them is called through the policies.
    #[serde(default)]
    pub revlinks: Vec<RevlinkDef>,
    /// Every lock that a builder, worker or step names.
    #[serde(default)]
    pub locks: Vec<LockDef>,
    #[serde(default)]
    pub projects: Vec<ProjectDef>,
    /// Who is told what, in the order of the file.
    #[serde(default)]
    pub reporters: Vec<ReporterDef>,
    /// Services that no part of this release runs: declared data, in the order of the file.
    #[serde(default)]
    pub services: Vec<Declared>,
    /// Services that cancel builds.
    #[serde(default)]
    pub cancellers: Vec<CancellerDef>,
    /// Where secrets come from. References only, never a value.
    #[serde(default)]
    pub secrets_providers: Vec<Declared>,
    /// Names of the secrets that the project mentions.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Dialects of hooks that are allowed; no other is.
    #[serde(default)]
    pub hooks: Vec<HookDef>,
    #[serde(default)]
    pub hook_users: Vec<HookUser>,
    /// `logMaxSize` and `logMaxTailSize` for commands that do not say, in bytes.
    #[serde(default)]
    pub log_max_size: Option<u64>,
    #[serde(default)]
    pub log_max_tail_size: Option<u64>,
}
