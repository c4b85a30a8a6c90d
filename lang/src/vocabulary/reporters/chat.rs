//! IRC and Zulip.

use super::{DEBUG, NAME, OLD, OLD_TAGS, REPORTER, TALK_MAX_AGE, VERIFY};
use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Spec, alias, moved, optional, required};

static IRC: Spec = Spec {
    name: "reporters.IRC",
    kind: Kind::Reporter,
    params: &[&[
        required("host", TEXT, "The server."),
        required("nick", TEXT, "The bot's name there."),
        required("channels", CHANNELS, "List of channels: names, or dicts of `channel` and `password`."),
        optional("pm_to_nicks", TEXTS, "[]", "Nicks that are told in private, as channels are."),
        optional("port", PORT, "6667", "The port; with `useSSL` most often 6697."),
        optional("tags", TEXTS_OR_NONE, "", "Only builders with one of these tags are told of by themselves."),
        optional("password", SECRET, "", "For NickServ, best a `util.Secret`."),
        optional(
            "notify_events",
            EVENTS,
            "[]",
            "What each channel is told until somebody changes it there with `notify`: `started`, `finished`, `success`, `warnings`, `failure`, `exception`, `cancelled`, `problem`, `recovery`, `better`, `worse`, `worker`.",
        ),
        optional("showBlameList", BOOL, "True", "Names the authors of the changes of a build that failed."),
        optional("useRevisions", BOOL, "False", "Speaks of revisions instead of build numbers."),
        optional("useSSL", BOOL, "False", "TLS."),
        VERIFY,
        optional(
            "lostDelay",
            SECONDS,
            "",
            "Seconds before a lost connection is made again; without it, a growing pause.",
        ),
        optional("failedDelay", SECONDS, "", "The same after one that could not be made."),
        optional("useColors", BOOL, "True", "Results are coloured."),
        optional("noticeOnChannel", BOOL, "False", "Speaks by NOTICE, so that no other bot answers."),
        optional(
            "authz",
            AUTHZ,
            "{}",
            "Dict of commands (a name, several in a tuple, `\"\"` for the harmless, `\"!\"` for the dangerous, `\"*\"` for all) to who may use them: `True`, `False`, or a list of accounts. A nick alone proves nothing: the name is that of the account by which the person is logged in to the network. Without a rule, everybody may use what is harmless, and nobody what is dangerous (force, stop, shutdown, join, leave).",
        ),
        optional("serverPassword", SECRET, "", "The password of the server itself, best a `util.Secret`."),
        optional("sasl", LOGIN, "", "User and password for SASL, the password best a `util.Secret`."),
        NAME,
        TALK_MAX_AGE,
        alias("categories", "tags"),
        moved("allowForce", "authz = {\"force\": [\"an account\"], \"stop\": [\"an account\"]}"),
        moved("allowShutdown", "authz = {\"shutdown\": [\"an account\"]}"),
    ]],
    positional: 3,
    doc: "A bot on IRC: it tells channels what happens, and people may ask it and, where `authz` lets them, force and stop builds. \
          One connection stands for all replicas. For several networks, several of these, each with a `name`.",
    example: "reporters.IRC(\n    \"irc.example.org\", \"tidemill\", [\"#builds\", {\"channel\": \"#inner\", \"password\": util.Secret(\"inner\")}],\n    port = 6697, useSSL = True, sasl = (\"tidemill\", util.Secret(\"irc\")),\n    notify_events = [\"problem\", \"recovery\", \"exception\"], authz = {\"force\": [\"ada\"], (\"stop\", \"join\"): [\"ada\", \"grace\"]},\n)",
};

static ZULIP: Spec = Spec {
    name: "reporters.ZulipStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            required("endpoint", TEXT, "The address of Zulip."),
            required("token", SECRET, "The token of the integration, best a `util.Secret`."),
            optional("stream", OPTIONAL_TEXT, "", "The stream; without it, that of the integration."),
            VERIFY,
            DEBUG,
        ],
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 2,
    doc: "Tells Zulip the beginning and the end of each build, through Zulip's own integration of Buildbot.",
    example: "reporters.ZulipStatusPush(\"https://zulip.example.org\", util.Secret(\"zulip\"), stream = \"builds\")",
};

pub(super) const SPECS: &[&Spec] = &[&IRC, &ZULIP];
