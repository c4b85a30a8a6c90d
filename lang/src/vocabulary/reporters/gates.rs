//! Votes on Gerrit.

use super::{DEBUG, DESCRIPTIONS, OLD, OLD_TAGS, REPORTER, VERBOSE, VERIFY};
use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Spec, ignored, optional, required};

static GERRIT: Spec = Spec {
    name: "reporters.GerritStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            required("server", TEXT, "The host of Gerrit."),
            required("username", TEXT, "The user."),
            optional(
                "reviewCB",
                FUNCTION,
                "",
                "Function of the builder's name, the build, its result, the master and `reviewArg` that returns the vote on one build: a dict of `message` and `labels` (a dict of label names and votes), or `None` for none.",
            ),
            optional(
                "startCB",
                FUNCTION,
                "",
                "Function of the builder's name, the build and `startArg` that returns what is said when a build begins, in the same form.",
            ),
            optional("port", PORT, "29418", "The port of its ssh."),
            optional("reviewArg", VALUE, "", "Passed on to `reviewCB`."),
            optional("startArg", VALUE, "", "Passed on to `startCB`."),
            optional(
                "summaryCB",
                FUNCTION,
                "",
                "Function of a list of dicts (`name`, `result`, `resultText`, `text`, `url`, `build`), the result of all, the master and `summaryArg` that returns the vote on a buildset. Without `reviewCB`, it is `Verified` +1 or -1 with a line for each build.",
            ),
            optional("summaryArg", VALUE, "", "Passed on to `summaryCB`."),
            optional("identity_file", OPTIONAL_TEXT, "", "The file of the private key, on the notifier's machine."),
            optional("notify", OPTIONAL_TEXT, "", "Whom Gerrit mails: `NONE`, `OWNER`, `OWNER_REVIEWERS` or `ALL`."),
            optional("wantSteps", BOOL, "False", "The functions see the steps."),
            optional("wantLogs", BOOL, "False", "The functions see the logs of the steps, with their contents."),
            DEBUG,
            VERBOSE,
        ],
        REPORTER,
        // Of its own: wantSteps and wantLogs.
        &[OLD[0], OLD[1], OLD[2], OLD[3], OLD[4], OLD[5], OLD[6], OLD[7], OLD[8], OLD[9]],
        OLD_TAGS,
    ],
    positional: 4,
    doc: "Votes on Gerrit by ssh, on builds of changes that came from Gerrit.",
    example: "reporters.GerritStatusPush(\n    \"gerrit.example.org\", \"ci\",\n    summaryCB = lambda builds, result, master, arg: {\"message\": \"\\n\".join([b[\"text\"] for b in builds]), \"labels\": {\"Verified\": 1 if result == SUCCESS else -1}},\n)",
};

static VERIFY_STATUS: Spec = Spec {
    name: "reporters.GerritVerifyStatusPush",
    kind: Kind::Reporter,
    params: &[
        &[
            required("baseURL", TEXT, "Address of Gerrit."),
            required("auth", LOGIN, "User and password, the password best a `util.Secret`."),
            optional(
                "verification_name",
                R_OPTIONAL_TEXT,
                "util.Interpolate(\"%(prop:buildername)s\")",
                "What tells the builders apart there.",
            ),
            optional("abstain", BOOL, "False", "The verification does not count."),
            optional("category", R_OPTIONAL_TEXT, "", "The category of the verification."),
            optional("reporter", R_OPTIONAL_TEXT, "\"buildbot\"", "Who verified."),
            VERIFY,
            VERBOSE,
            DEBUG,
            ignored("verification_category", "it is `category`"),
        ],
        DESCRIPTIONS,
        REPORTER,
        OLD,
        OLD_TAGS,
    ],
    positional: 2,
    doc: "Reports to Gerrit's plug-in verify-status, by HTTP.",
    example: "reporters.GerritVerifyStatusPush(\"https://gerrit.example.org\", (\"ci\", util.Secret(\"gerrit\")))",
};

pub(super) const SPECS: &[&Spec] = &[&GERRIT, &VERIFY_STATUS];
