//! Who is told what: reporters, their generators, and how a message is made.

use super::SecretText;
use super::transports::{
    BitbucketDef, BitbucketServerDef, ForgeDef, GerritDef, GerritVerifyDef, HttpDef, IrcDef, MailDef, WebhookDef,
    ZulipDef,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tidemill_model::Results;

/// One of `reporters.…` among `c["services"]` (B15).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReporterDef {
    /// Unique among services.
    pub name: String,
    pub kind: ReporterKind,
    /// What it tells; the kind's own where the file says nothing. IRC has none: its channels
    /// have events.
    #[serde(default)]
    pub generators: Vec<GeneratorDef>,
    /// Older events are not told any more.
    #[serde(default = "max_age")]
    pub max_age_us: u64,
    /// Notices of one address are gathered for so long and sent as one; none: at once.
    #[serde(default)]
    pub digest_us: Option<u64>,
    #[serde(default)]
    pub location: String,
}

const DAY_US: u64 = 86_400_000_000;

/// Default of [`ReporterDef::max_age_us`]: a weekend, in which nobody mends a mail server.
fn max_age() -> u64 {
    3 * DAY_US
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReporterKind {
    Mail(MailDef),
    Irc(IrcDef),
    /// JSON to an address, as Buildbot's HttpStatusPush sends it.
    Http(HttpDef),
    /// Signed JSON to an address.
    Webhook(WebhookDef),
    Github(ForgeDef),
    GithubComment(ForgeDef),
    Gitlab(ForgeDef),
    Gitea(ForgeDef),
    Bitbucket(BitbucketDef),
    BitbucketServer(BitbucketServerDef),
    BitbucketServerCore(BitbucketServerDef),
    BitbucketServerComment(BitbucketServerDef),
    Gerrit(GerritDef),
    GerritVerify(GerritVerifyDef),
    Zulip(ZulipDef),
}

impl ReporterKind {
    /// How old what it tells may be, where the file says nothing: nobody reads what a channel was told days ago.
    pub fn max_age_us(&self) -> u64 {
        if matches!(self, ReporterKind::Irc(_)) { DAY_US } else { max_age() }
    }

    /// As a project file writes it, without its namespace.
    pub fn name(&self) -> &'static str {
        match self {
            ReporterKind::Mail(_) => "MailNotifier",
            ReporterKind::Irc(_) => "IRC",
            ReporterKind::Http(_) => "HttpStatusPush",
            ReporterKind::Webhook(_) => "Webhook",
            ReporterKind::Github(_) => "GitHubStatusPush",
            ReporterKind::GithubComment(_) => "GitHubCommentPush",
            ReporterKind::Gitlab(_) => "GitLabStatusPush",
            ReporterKind::Gitea(_) => "GiteaStatusPush",
            ReporterKind::Bitbucket(_) => "BitbucketStatusPush",
            ReporterKind::BitbucketServer(_) => "BitbucketServerStatusPush",
            ReporterKind::BitbucketServerCore(_) => "BitbucketServerCoreAPIStatusPush",
            ReporterKind::BitbucketServerComment(_) => "BitbucketServerPRCommentPush",
            ReporterKind::Gerrit(_) => "GerritStatusPush",
            ReporterKind::GerritVerify(_) => "GerritVerifyStatusPush",
            ReporterKind::Zulip(_) => "ZulipStatusPush",
        }
    }
}

/// Which events a reporter tells, and in what words (RP-01, RP-02).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GeneratorDef {
    pub kind: GeneratorKind,
    /// Of builds and buildsets: which ends are told. Empty: each end (kinds that have no modes).
    #[serde(default)]
    pub modes: Vec<Mode>,
    /// Of [`Mode::Change`] and [`Mode::Problem`]: the build before is that of the same branch, instead of
    /// the builder's whatever the branch (D-54).
    #[serde(default)]
    pub per_branch: bool,
    /// Only builders with one of these tags; none: all.
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    pub builders: Option<Vec<String>>,
    #[serde(default)]
    pub schedulers: Option<Vec<String>>,
    /// Of the source stamps; an inner none is that without a branch.
    #[serde(default)]
    pub branches: Option<Vec<Option<String>>>,
    /// Of [`GeneratorKind::WorkerMissing`]; none: all.
    #[serde(default)]
    pub workers: Option<Vec<String>>,
    /// A build is told when it begins too (`report_new`).
    #[serde(default)]
    pub report_new: bool,
    #[serde(default)]
    pub blame: BlameDef,
    /// Logs that a transport attaches, if it can.
    #[serde(default)]
    pub add_logs: LogsWanted,
    /// Attaches the patch of a try.
    #[serde(default)]
    pub add_patch: bool,
    #[serde(default)]
    pub formatter: FormatterDef,
    /// Of [`GeneratorKind::BuildStartEnd`]: in what words a beginning is told.
    #[serde(default)]
    pub start_formatter: FormatterDef,
}

impl GeneratorDef {
    /// The generator of a kind without any filter.
    pub fn new(kind: GeneratorKind) -> GeneratorDef {
        GeneratorDef {
            kind,
            modes: if kind.has_modes() { Mode::DEFAULT.to_vec() } else { vec![] },
            per_branch: false,
            tags: None,
            builders: None,
            schedulers: None,
            branches: None,
            workers: None,
            report_new: false,
            blame: BlameDef::default(),
            add_logs: LogsWanted::default(),
            add_patch: false,
            formatter: FormatterDef::default(),
            start_formatter: FormatterDef::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeneratorKind {
    /// The end of each build.
    Build,
    /// The beginning and the end of each build.
    BuildStartEnd,
    /// When a buildset is done: one message for each of its builds that the modes take.
    Buildset,
    /// When a buildset is done: one message for all of it.
    BuildsetCombined,
    /// A request: that it waits, and that it was cancelled.
    Request,
    /// A worker that stays away.
    WorkerMissing,
}

impl GeneratorKind {
    /// Whether [`GeneratorDef::modes`] chooses among its events.
    pub fn has_modes(self) -> bool {
        matches!(self, GeneratorKind::Build | GeneratorKind::Buildset)
    }
}

/// Ends of builds (RP-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Failing,
    Passing,
    Warnings,
    Exception,
    Cancelled,
    /// Another result than that of the build before.
    Change,
    /// A failure after a build that did not fail.
    Problem,
}

impl Mode {
    pub const ALL: [Mode; 7] =
        [Mode::Failing, Mode::Passing, Mode::Warnings, Mode::Exception, Mode::Cancelled, Mode::Change, Mode::Problem];
    /// Where a generator names none.
    pub const DEFAULT: [Mode; 3] = [Mode::Failing, Mode::Passing, Mode::Warnings];
    /// `"all"`.
    pub const EVERY_END: [Mode; 5] = [Mode::Failing, Mode::Passing, Mode::Warnings, Mode::Exception, Mode::Cancelled];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Failing => "failing",
            Mode::Passing => "passing",
            Mode::Warnings => "warnings",
            Mode::Exception => "exception",
            Mode::Cancelled => "cancelled",
            Mode::Change => "change",
            Mode::Problem => "problem",
        }
    }

    /// Whether it takes a build that ended so, after one that ended so (none: there was none, or it
    /// has no result). RETRY is no end that anybody is told.
    pub fn takes(self, results: Results, before: Option<Results>) -> bool {
        match self {
            Mode::Failing => results == Results::Failure,
            Mode::Passing => results == Results::Success,
            Mode::Warnings => results == Results::Warnings,
            Mode::Exception => results == Results::Exception,
            Mode::Cancelled => results == Results::Cancelled,
            Mode::Change => results != Results::Retry && before.is_some_and(|b| b != results),
            Mode::Problem => results == Results::Failure && before.is_some_and(|b| b != Results::Failure),
        }
    }
}

/// When the people of a build's changes are told, beside those whom the reporter always tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlameDef {
    #[serde(default)]
    pub when: BlameWhen,
    /// Nobody is blamed while at least so many of the builder's last [`BlameDef::WINDOW`] builds
    /// turned from good to bad or back.
    #[serde(default)]
    pub mute_flaky: Option<u32>,
}

impl BlameDef {
    /// Builds that [`BlameDef::mute_flaky`] counts in.
    pub const WINDOW: usize = 10;
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlameWhen {
    /// Only when a builder that was good on this branch turns bad: those of the changes since the
    /// last good build.
    #[default]
    Turn,
    /// At each message, those of the changes since the last good build, as Buildbot does.
    Always,
    Never,
}

/// How a message is made (RP-04).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatterDef {
    /// In the words of the reporter's kind.
    #[default]
    Default,
    /// `MessageFormatter`, `MessageFormatterMissingWorker`: see `lang::template`.
    Template(TemplateDef),
    /// `MessageFormatterFunction` and, if `raw`, `MessageFormatterFunctionRaw`:
    /// `Policies::format`.
    Function {
        template_type: TemplateType,
        raw: bool,
        #[serde(default)]
        wants: Wants,
    },
    /// `MessageFormatterRenderable`: `Policies::format`.
    /// None of a template: nothing is told.
    Renderable { template: Option<Renderable>, subject: Option<Renderable> },
    /// `MessageFormatterEmpty`: a message without a text.
    Empty,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TemplateDef {
    #[serde(default)]
    pub template_type: TemplateType,
    /// None: that of the reporter's kind.
    #[serde(default)]
    pub template: Option<String>,
    #[serde(default)]
    pub subject: Option<String>,
    /// Further names; those of the context win.
    #[serde(default)]
    pub ctx: BTreeMap<String, Value>,
    #[serde(default)]
    pub wants: Wants,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateType {
    #[default]
    Plain,
    Html,
    Json,
}

impl TemplateType {
    /// As a project file writes it.
    pub fn name(self) -> &'static str {
        match self {
            TemplateType::Plain => "plain",
            TemplateType::Html => "html",
            TemplateType::Json => "json",
        }
    }
}

/// What the context document holds beside what it always holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// `build.properties`.
    pub properties: bool,
    /// `build.steps`.
    pub steps: bool,
    /// `logs` of each step; steps are wanted then too.
    pub logs: bool,
    /// `content` of logs; logs are wanted then too.
    pub logs_content: LogsWanted,
}

impl Default for Wants {
    fn default() -> Wants {
        Wants { properties: true, steps: false, logs: false, logs_content: LogsWanted::None }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogsWanted {
    #[default]
    None,
    All,
    /// `LOG` or `STEP.LOG`.
    Named(Vec<String>),
}

impl LogsWanted {
    /// Whether this log of this step is among them.
    pub fn takes(&self, step: &str, log: &str) -> bool {
        match self {
            LogsWanted::None => false,
            LogsWanted::All => true,
            LogsWanted::Named(names) => names.iter().any(|name| {
                name == log || name.strip_prefix(step).is_some_and(|rest| rest.strip_prefix('.') == Some(log))
            }),
        }
    }
}

impl FormatterDef {
    /// What it needs of the context document.
    pub fn wants(&self) -> Wants {
        match self {
            FormatterDef::Template(TemplateDef { wants, .. }) | FormatterDef::Function { wants, .. } => wants.clone(),
            _ => Wants::default(),
        }
    }
}

/// A text, or what only a build has: rendered by `Policies::argument` and its like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Renderable {
    Secret {
        #[serde(rename = "$secret")]
        name: String,
    },
    /// As people wrote it, for their eyes only.
    Placeholder {
        #[serde(rename = "$placeholder")]
        shown: String,
        /// Those that it holds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        secrets: Vec<SecretText>,
    },
    Text(String),
}
