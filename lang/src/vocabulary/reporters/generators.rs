//! Generators: which events are told.

use crate::values::convert::*;
use crate::values::notices::*;
use crate::values::spec::{Kind, Param, Spec, alias, moved, optional};

const FILTERS: &[Param] = &[
    optional("tags", TEXTS_OR_NONE, "", "Only builders with one of these tags; not with `builders`."),
    optional("builders", TEXTS_OR_NONE, "", "Only these builders."),
    optional("schedulers", TEXTS_OR_NONE, "", "Only what these schedulers started."),
    optional("branches", VALUES, "", "Only these branches; `None` in the list is sources without one."),
    moved("categories", "tags = …"),
];
const MODE: &[Param] = &[
    optional(
        "mode",
        TEXT_OR_TEXTS,
        "[\"failing\", \"passing\", \"warnings\"]",
        "Which ends are told: a name or several of `failing`, `passing`, `warnings`, `exception`, `cancelled`, `change` (another result than the build before), `problem` (a failure after a build that did not fail). `\"all\"` is the first five; `\"warnings\"` alone is `warnings` and `failing`.",
    ),
    optional(
        "per_branch",
        BOOL,
        "False",
        "For `change` and `problem`, the build before is that of the same branch; else the builder's, whatever the branch.",
    ),
];
const BLAME: &[Param] = &[
    optional(
        "blame",
        TEXT,
        "\"turn\"",
        "When those are told whose changes a build has: `\"turn\"`, only when a builder that was good on this branch turns bad, and then the authors since the last good build; `\"always\"`, at each message, as in Buildbot; `\"never\"`.",
    ),
    optional(
        "mute_flaky",
        COUNT,
        "",
        "Blames nobody while at least so many of the builder's last ten builds turned from good to bad or back.",
    ),
];
const ADDITIONS: &[Param] = &[
    optional(
        "add_logs",
        LOGS,
        "False",
        "Attaches logs, where mails are sent: `True` for all of failed steps, or a list of names such as `\"stdio\"` or `\"compile.stdio\"`.",
    ),
    optional("add_patch", BOOL, "False", "Attaches the patch of a try."),
    alias("addLogs", "add_logs"),
    alias("addPatch", "add_patch"),
];
const SUBJECT: Param = moved("subject", "message_formatter = reporters.MessageFormatter(subject = …)");
const MESSAGE: Param = optional(
    "message_formatter",
    FORMATTER,
    "",
    "In what words: `reporters.MessageFormatter…`. Without it, in those of the reporter.",
);

static BUILD: Spec = Spec {
    name: "reporters.BuildStatusGenerator",
    kind: Kind::Generator,
    params: &[
        MODE,
        FILTERS,
        ADDITIONS,
        &[
            optional("report_new", BOOL, "False", "Tells the beginning of a build too."),
            MESSAGE,
            SUBJECT,
            alias("messageFormatter", "message_formatter"),
        ],
        BLAME,
    ],
    positional: 1,
    doc: "A message when a build is over.",
    example: "reporters.BuildStatusGenerator(mode = [\"problem\", \"exception\"], tags = [\"release\"], branches = [\"main\"], mute_flaky = 4)",
};

static START_END: Spec = Spec {
    name: "reporters.BuildStartEndStatusGenerator",
    kind: Kind::Generator,
    params: &[
        FILTERS,
        ADDITIONS,
        &[
            optional("start_formatter", FORMATTER, "", "In what words a beginning is told."),
            optional("end_formatter", FORMATTER, "", "In what words an end is told."),
        ],
        BLAME,
    ],
    positional: 0,
    doc: "A message when a build begins, and one when it is over.",
    example: "reporters.BuildStartEndStatusGenerator(builders = [\"linux\"], start_formatter = reporters.MessageFormatterRenderable(\"Off we go.\"))",
};

static SET: Spec = Spec {
    name: "reporters.BuildSetStatusGenerator",
    kind: Kind::Generator,
    params: &[MODE, FILTERS, ADDITIONS, &[MESSAGE, SUBJECT, alias("messageFormatter", "message_formatter")], BLAME],
    positional: 1,
    doc: "When all builds of a buildset are over, a message for each that `mode` takes.",
    example: "reporters.BuildSetStatusGenerator(mode = \"failing\")",
};

static SET_COMBINED: Spec = Spec {
    name: "reporters.BuildSetCombinedStatusGenerator",
    kind: Kind::Generator,
    params: &[
        &[
            MESSAGE,
            optional(
                "mode",
                TEXT_OR_TEXTS,
                "",
                "Which results of the buildset are told, without `change` and `problem`; without it, each.",
            ),
        ],
        FILTERS,
        BLAME,
    ],
    positional: 1,
    doc: "When all builds of a buildset are over, one message about them all. Filters take it if they take one of its builds.",
    example: "reporters.BuildSetCombinedStatusGenerator(reporters.MessageFormatter(template = \"{% for b in builds %}{{ b.builder.name }}: {{ b.state_string }}\\n{% endfor %}\"))",
};

static REQUEST: Spec = Spec {
    name: "reporters.BuildRequestGenerator",
    kind: Kind::Generator,
    params: &[
        FILTERS,
        &[
            optional("formatter", FORMATTER, "", "In what words: `reporters.MessageFormatter…`."),
            optional("add_patch", BOOL, "False", "Attaches the patch of a try."),
        ],
    ],
    positional: 0,
    doc: "A message when a build is requested, and when a request is cancelled.",
    example: "reporters.BuildRequestGenerator(formatter = reporters.MessageFormatterRenderable(\"Build pending.\"))",
};

static MISSING: Spec = Spec {
    name: "reporters.WorkerMissingGenerator",
    kind: Kind::Generator,
    params: &[&[optional("workers", TEXT_OR_TEXTS, "\"all\"", "`\"all\"`, or a list of names."), MESSAGE]],
    positional: 1,
    doc: "A message when a worker has been away for its `missing_timeout`; to its `notify_on_missing`, and to those whom the \
          reporter always tells.",
    example: "reporters.WorkerMissingGenerator(workers = [\"w1\"])",
};

pub(super) const SPECS: &[&Spec] = &[&BUILD, &START_END, &SET, &SET_COMBINED, &REQUEST, &MISSING];
