//! `reporters.…`: who is told, what, and in what words.

mod chat;
mod forges;
mod formatters;
mod gates;
mod generators;
mod http;
mod mail;

use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Param, Spec, ignored, moved, optional};

/// Of every reporter that runs.
const REPORTER: &[Param] = &[
    optional("generators", GENERATORS, "", "List of `reporters.…Generator(…)`: what is told, and in what words."),
    NAME,
    MAX_AGE,
    DIGEST,
];
const NAME: Param = optional("name", TEXT, "", "Unique among services; made of the kind if not given.");
const MAX_AGE: Param = optional(
    "maxAge",
    INTERVAL,
    "259200",
    "Seconds; what happened longer ago is not told any more, where nobody could tell it in time.",
);
/// Of those who talk: nobody reads what a channel was told days ago.
const TALK_MAX_AGE: Param = Param { default: "86400", ..MAX_AGE };
const DIGEST: Param = optional(
    "digest",
    SECONDS,
    "",
    "Seconds for which notices to one address are gathered and then sent as one. Without it each is sent at once.",
);

const VERIFY: Param = optional(
    "verify",
    VERIFICATION,
    "True",
    "Whether the server's certificate is checked; or the file of the authorities to check it by, on the notifier's machine.",
);
const DEBUG: Param = ignored("debug", "deliveries show what was sent and answered");
const VERBOSE: Param = ignored("verbose", "deliveries show what was sent and answered");

/// Of every reporter before Buildbot 3, and of generators since.
const OLD: &[Param] = &[
    moved("mode", "generators = [reporters.BuildStatusGenerator(mode = …)]"),
    moved("builders", "generators = [reporters.BuildStatusGenerator(builders = …)]"),
    moved("schedulers", "generators = [reporters.BuildStatusGenerator(schedulers = …)]"),
    moved("branches", "generators = [reporters.BuildStatusGenerator(branches = …)]"),
    moved("categories", "generators = [reporters.BuildStatusGenerator(tags = …)]"),
    moved("addLogs", "generators = [reporters.BuildStatusGenerator(add_logs = …)]"),
    moved("addPatch", "generators = [reporters.BuildStatusGenerator(add_patch = …)]"),
    moved("subject", "message_formatter = reporters.MessageFormatter(subject = …) in a generator"),
    moved("messageFormatter", "generators = [reporters.BuildStatusGenerator(message_formatter = …)]"),
    moved("buildSetSummary", "generators = [reporters.BuildSetStatusGenerator(…)]"),
    moved("watchedWorkers", "generators = [reporters.WorkerMissingGenerator(workers = …)]"),
    moved("messageFormatterMissingWorker", "generators = [reporters.WorkerMissingGenerator(message_formatter = …)]"),
    moved("wantProperties", "message_formatter = reporters.MessageFormatter(want_properties = …) in a generator"),
    moved("wantSteps", "message_formatter = reporters.MessageFormatter(want_steps = …) in a generator"),
    moved("wantLogs", "message_formatter = reporters.MessageFormatter(want_logs = …) in a generator"),
    moved("wantPreviousBuild", "the context of a formatter always has build.prev_build"),
    moved("format_fn", "formatter = reporters.MessageFormatterFunction(function, \"json\") in a generator"),
];
const OLD_TAGS: &[Param] = &[moved("tags", "generators = [reporters.BuildStatusGenerator(tags = …)]")];

/// Of reporters that set the status of commits.
const DESCRIPTIONS: &[Param] = &[
    optional("startDescription", R_OPTIONAL_TEXT, "\"Build started.\"", "What is said when a build begins."),
    optional("endDescription", R_OPTIONAL_TEXT, "\"Build done.\"", "What is said when it is over."),
];

/// A reporter of Buildbot's whose arguments are carried as they are.
const fn declared(name: &'static str, doc: &'static str) -> Spec {
    const PARAMS: &[&[Param]] = &[&[optional("name", TEXT, "", "Tells several of one kind apart."), OPEN]];
    Spec { name, kind: Kind::Reporter, params: PARAMS, positional: 0, doc, example: "" }
}

static PUSHOVER: Spec = declared("reporters.PushoverNotifier", "Reports to Pushover.");
static PUSHJET: Spec = declared("reporters.PushjetNotifier", "Reports to Pushjet.");
static TELEGRAM: Spec = declared("reporters.TelegramBot", "A bot on Telegram.");
const DECLARED: &[&Spec] = &[&PUSHOVER, &PUSHJET, &TELEGRAM];

pub(super) const SPECS: &[&[&Spec]] = &[
    mail::SPECS,
    chat::SPECS,
    http::SPECS,
    forges::SPECS,
    gates::SPECS,
    generators::SPECS,
    formatters::SPECS,
    DECLARED,
];
/// Where a reporter's people are found: in `util`.
pub(super) const UTIL_SPECS: &[&Spec] = mail::UTIL_SPECS;
